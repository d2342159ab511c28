#!/bin/sh
# Start an image of the service beside a replay exchange and ask it for a forecast: smoke.sh IMAGE [PLATFORM]
# Exit code 0 when it answers with a price, 1 with its log when it does not within three minutes.
set -eu
image=${1:?usage: smoke.sh IMAGE [PLATFORM]}
docker=${DOCKER:-docker}
name=crypto-rti-smoke-$$
clean() { "$docker" rm --force --volumes "$name-service" "$name-exchange" >/dev/null 2>&1 && "$docker" network rm "$name" >/dev/null; }
trap clean EXIT
trap 'exit 1' HUP INT TERM

start() { "$docker" run --detach --read-only --cap-drop ALL --security-opt no-new-privileges --network "$name" ${platform:+--platform "$platform"} "$@" >/dev/null; }
platform=${2:-}
"$docker" network create "$name" >/dev/null
start --name "$name-exchange" "$image" replay --host 0.0.0.0 --port 9000
# The exchange takes the name of the source that the models are of, or persistence would answer for them.
models=$("$docker" image inspect --format '{{index .Config.Labels "crypto-rti.models"}}' "$image")
first=${models%% *}
first=${first:-sim.BTC-USD:}
source=${first%%.*} coin=${first#*.} version=${first##*:}
coin=${coin%%:*}
start --name "$name-service" --env "CRYPTO_RTI_SOURCE=$source=http://$name-exchange:9000" --env "CRYPTO_RTI_PRODUCTS=$coin" "$image"

ask="import urllib.request as r; print(r.urlopen('http://127.0.0.1:8000/api/predict?coin=$coin', timeout=20).read().decode())"
tries=0
until answer=$("$docker" exec "$name-service" python3 -c "$ask" 2>/dev/null); do
    tries=$((tries + 1))
    if [ "$tries" -ge 90 ]; then
        "$docker" logs --tail 50 "$name-service"
        echo "smoke.sh: $image answers no forecast" >&2
        exit 1
    fi
    sleep 2
done
echo "$answer" | python3 -c '
import json, math, sys
coin, version = sys.argv[1:]
forecast = json.load(sys.stdin)["prediction"]
now, then = forecast["current_price"], forecast["predicted_price"]
assert forecast["coin"] == coin and forecast["model_version"] in (version, version or forecast["model_version"]), forecast
assert math.isfinite(then) and now / 2 < then < now * 2, forecast
digits = max(2, 4 - math.floor(math.log10(now)))
print("smoke.sh: {model} {model_version}: {0:,.{2}f} at {data_until}, {1:,.{2}f} at {predicted_for}".format(now, then, digits, **forecast))
' "$coin" "$version"
