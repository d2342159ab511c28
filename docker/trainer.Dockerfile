# The workbench without a screen: papermill retrains on a schedule, and the MLflow server keeps what it learned.
# `python3 docker/images.py build trainer` builds it; docker/compose.yml runs it as both.

ARG BASE=debian:bookworm-20260918-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251

FROM ${BASE}
# libgomp1: LightGBM's wheel leaves OpenMP to the system
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libgomp1 python3 python3-venv \
 && rm -rf /var/cache/apt/* /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 crypto-rti \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /data crypto-rti \
 && install -d -o crypto-rti -g crypto-rti -m 0750 /data /data/bundles /data/artifacts
WORKDIR /opt/crypto-rti
COPY .ci/environment.py .ci/
COPY requirements/train.txt requirements/uv.txt requirements/
# Secrets as in service.Dockerfile. The same installer as `make` uses: with --require-hashes, for uv as well.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && python3 .ci/environment.py install .venv requirements/train.txt \
 && rm -rf ~/.cache
COPY LICENSE README.md settings.ini setup.py ./
COPY crypto_rti crypto_rti
COPY nbs/pipelines nbs/pipelines
COPY docker/retrain.sh docker/
RUN .venv/bin/python -m pip install --no-cache-dir --no-deps --no-build-isolation --no-index --use-pep517 --editable . \
 && .venv/bin/python -m compileall -q crypto_rti
# The package stands in its checkout, beside the notebooks that papermill runs.
ENV PATH=/opt/crypto-rti/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    MPLBACKEND=Agg \
    CRYPTO_RTI_HOME=/data
USER 10001:10001
VOLUME /data
ENTRYPOINT []
CMD ["sh", "docker/retrain.sh"]
ARG REVISION=unknown
LABEL org.opencontainers.image.title="crypto_rti trainer" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}"
