# The service: candles in, forecasts out. It holds the runtime world (requirements/runtime.txt) and nothing of the workbench.
# `python3 docker/images.py build service` builds it; docker/README.md says more.

# A digest, so that a build means the same tomorrow; Dependabot proposes the next one.
ARG BASE=debian:bookworm-20260918-slim@sha256:3783cc01769c7b2b1b83a5c5ad96c815348e28ed7da68e2e3687004faa906251

FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 python3-pip python3-setuptools python3-venv python3-wheel \
 && rm -rf /var/cache/apt/* /var/lib/apt/lists/*
WORKDIR /build
COPY requirements/runtime.txt .
# Two secrets may be given and leave no trace: `pip` is a pip.conf (where packages come from), `ca` the certificates to believe.
# Every file must be a wheel with one of the lock's hashes, wherever it comes from. No pip stays behind, and no library's own tests (60 MB).
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && python3 -m venv --without-pip /opt/crypto-rti \
 && python3 -m pip --python /opt/crypto-rti/bin/python install --no-cache-dir --no-compile --no-deps --require-hashes --only-binary :all: --requirement runtime.txt \
 && rm -rf /opt/crypto-rti/lib/python3*/site-packages/pandas/tests \
 && find /opt/crypto-rti/lib/python3*/site-packages/numpy -type d -name tests -prune -exec rm -rf {} +
COPY LICENSE README.md settings.ini setup.py ./
COPY crypto_rti crypto_rti
# Modules are compiled here, since the file system cannot be written to where they run.
RUN python3 -m pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index --wheel-dir dist . \
 && python3 -m pip --python /opt/crypto-rti/bin/python install --no-cache-dir --no-compile --no-deps --no-index dist/*.whl \
 && /opt/crypto-rti/bin/python -m compileall -q -j 0 /opt/crypto-rti/lib
# The models: the champions of an export folder within the build context, or of a URL. `BUNDLES=` builds an image without any;
# mount some at /opt/crypto-rti/var/bundles. The page comes along where `make frontend` has built it.
ARG BUNDLES=
ARG ALIAS=champion
WORKDIR /context
RUN --mount=type=bind,target=/context --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi \
 && mkdir -p /opt/crypto-rti/var/bundles /opt/crypto-rti/frontend/out \
 && if [ -n "$BUNDLES" ]; then CRYPTO_RTI_HOME=/opt/crypto-rti/var /opt/crypto-rti/bin/crypto-rti pull "$BUNDLES" --alias "$ALIAS"; fi \
 && if [ -d frontend/out ]; then cp -R frontend/out/. /opt/crypto-rti/frontend/out/; fi

FROM ${BASE}
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates python3 tini \
 && rm -rf /var/cache/apt/* /var/lib/apt/lists/* \
 && groupadd --system --gid 10001 crypto-rti \
 && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /data crypto-rti \
 && install -d -o crypto-rti -g crypto-rti -m 0750 /data
COPY --from=build /opt/crypto-rti /opt/crypto-rti
# Models are read where they were built in; only /data is written to, and the ledger is what is written.
ENV PATH=/opt/crypto-rti/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    CRYPTO_RTI_HOME=/opt/crypto-rti/var \
    CRYPTO_RTI_LEDGER_URL=sqlite:////data/ledger.db \
    CRYPTO_RTI_HOST=0.0.0.0 \
    CRYPTO_RTI_PORT=8000
WORKDIR /opt/crypto-rti
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s --retries=3 \
    CMD ["/usr/bin/python3", "-I", "-S", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:%s/health/ready' % (os.environ.get('CRYPTO_RTI_PORT') or 8000), timeout=5)"]
# As process 1 the service would not end by a signal that it does not handle: the kernel keeps those from a container's first process,
# the alarm of a watchdog among them.
ENTRYPOINT ["tini", "--", "crypto-rti"]
CMD ["serve"]
ARG REVISION=unknown
ARG MODELS=
LABEL org.opencontainers.image.title="crypto_rti service" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      crypto-rti.models="${MODELS}"
