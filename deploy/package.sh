#!/bin/sh
# Make the release of deploy/: package.sh VERSION [FOLDER], by default dist/. One archive with installer, units and the webhook
# server for amd64 and arm64, each server by itself as well, and the checksums of all three.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=${1:?usage: package.sh VERSION [FOLDER]; name the version, like v0.1.0}
# It becomes a file name and a linker flag.
if ! printf %s "$version" | LC_ALL=C awk 'NR > 1 || !/^[0-9A-Za-z][0-9A-Za-z.+-]*$/ || length > 64 { exit 1 }'; then
    echo "package.sh: the version must be a word like v0.1.0 or v1.2.0-rc.1" >&2
    exit 2
fi
mkdir -p "${2:-$here/../dist}"
out=$(cd "${2:-$here/../dist}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
name=crypto-rti-deploy-$version

mkdir "$work/$name"
cp -R "$here/install.sh" "$here/compose.yml" "$here/README.md" "$here/systemd" "$work/$name/"
for arch in amd64 arm64; do
    binary=crypto-rti-webhook-linux-$arch
    (cd "$here/webhook" && CGO_ENABLED=0 GOOS=linux GOARCH=$arch "${GO:-go}" build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$version" -o "$out/$binary" .)
    cp "$out/$binary" "$work/$name/"
done
# The same files give the same archive: no owner, no clock.
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -czf "$out/$name.tar.gz" "$name"
(cd "$out" && sha256sum "$name.tar.gz" crypto-rti-webhook-linux-amd64 crypto-rti-webhook-linux-arm64 >SHA256SUMS)
ls -l "$out/$name.tar.gz"
