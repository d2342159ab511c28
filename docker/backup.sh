#!/bin/sh
# Write both databases, the models' artifacts and the exported bundles into one file: backup.sh [FOLDER], by default docker/backups.
# Everything goes on running meanwhile; each database is dumped as of one moment, and before the artifacts that it speaks of.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/backups}
compose() { "${DOCKER:-docker}" compose --file "$here/compose.yml" "$@"; }

umask 077
mkdir -p "$folder"
work=$(mktemp -d "$folder/.backup.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
for name in ledger mlflow; do
    compose exec -T database pg_dump --username postgres --format custom "$name" >"$work/$name.dump"
done
compose exec -T mlflow tar -C /data -cf - artifacts >"$work/artifacts.tar"
compose exec -T trainer tar -C /data -cf - bundles >"$work/bundles.tar"
(cd "$work" && sha256sum ./*.dump ./*.tar >SHA256SUMS)
name=crypto-rti-$(date -u +%Y%m%dT%H%M%SZ).tar
tar -C "$work" -cf "$folder/.$name" SHA256SUMS ledger.dump mlflow.dump artifacts.tar bundles.tar
mv "$folder/.$name" "$folder/$name"
echo "$folder/$name"
