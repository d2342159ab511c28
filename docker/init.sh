#!/bin/sh
# Write docker/.env with fresh passwords, unless it is there. The database takes them over when its volume is made.
set -eu
cd "$(dirname "$0")"
if [ -e .env ]; then
    echo "docker/.env is there and stays as it is"
    exit 0
fi
secret() { head -c 24 /dev/urandom | base64 | tr '+/' '-_'; }
umask 077
new=$(mktemp .env.XXXXXX)
for name in POSTGRES LEDGER MLFLOW; do
    echo "${name}_PASSWORD=$(secret)"
done >"$new"
mv "$new" .env
echo "docker/.env written: keep it, the database's volume cannot be opened by MLflow and the ledger without it"
