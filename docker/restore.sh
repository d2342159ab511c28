#!/bin/sh
# Put a backup back, in place of what is there: restore.sh FILE. Each database is replaced in one transaction, so a backup that
# does not fit leaves it as it was; service, trainer and MLflow are stopped meanwhile.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
file=${1:?usage: restore.sh FILE, one that backup.sh wrote}
compose() { "${DOCKER:-docker}" compose --file "$here/compose.yml" "$@"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
tar -C "$work" -xf "$file"
(cd "$work" && sha256sum --check --quiet --strict SHA256SUMS) || {
    echo "$file is damaged; nothing was changed" >&2
    exit 1
}
compose up --detach --wait database
compose stop service trainer mlflow
for name in ledger mlflow; do
    compose exec -T database pg_restore --username postgres --dbname "$name" --clean --if-exists --single-transaction --exit-on-error <"$work/$name.dump"
done
# A container of its own, with the volumes of the one it is named for.
# shellcheck disable=SC2016  # $1 is for the shell in the container
replace='set -eu; find "$1" -mindepth 1 -delete; tar -C /data -xf -'
compose run --rm --no-deps -T --entrypoint "" mlflow sh -c "$replace" sh /data/artifacts <"$work/artifacts.tar"
compose run --rm --no-deps -T --entrypoint "" trainer sh -c "$replace" sh /data/bundles <"$work/bundles.tar"
compose up --detach --wait
echo "restored from $file"
