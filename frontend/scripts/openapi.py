"""Print the service's OpenAPI document. No network is asked and nothing is served."""

import json
import tempfile
from pathlib import Path

from crypto_rti.data.sources import Source
from crypto_rti.service.server import make_app
from crypto_rti.settings import load_settings

with tempfile.TemporaryDirectory() as home:
    app = make_app(load_settings(home=Path(home), source="sim"), Source("sim", "http", "http://127.0.0.1:9"))
    print(json.dumps(app.openapi()))
