#!/bin/bash
# Tests of install.sh, to be run as root in a throw-away Debian: docker/test_images.py starts it in a container of a debootstrap root,
# with a release in /release. Docker and cloudflared are stand-ins that write down how they are called; systemd is real but does not run.
set -euo pipefail
trap 'echo "FAILED in line $LINENO: $BASH_COMMAND" >&2' ERR
ok() { echo "ok: $*"; }
refused() { # refused TEXT command …: fails, and says TEXT
    local text=$1 said
    shift
    if said=$("$@" 2>&1); then
        echo "FAILED: accepted: $*" >&2
        exit 1
    fi
    [[ $said == *"$text"* ]] || { echo "FAILED: $* said: $said" >&2 && exit 1; }
}
files() { find /opt/crypto-rti /etc/crypto-rti /etc/systemd/system /var/lib/crypto-rti-webhook \( -type f -printf '%p %m %u %T@ %s\n' -o -type l -printf '%p\n' \) | sort; }
mode() { [ "$(stat -c '%a %U' "$2")" = "$1" ]; }

# shellcheck disable=SC2016  # $* is the stand-in's
printf '#!/bin/sh\necho "docker $*" >>/tmp/docker.calls\n' >/usr/bin/docker
printf '#!/bin/sh\n' >/usr/bin/cloudflared
chmod +x /usr/bin/docker /usr/bin/cloudflared
printf '[Service]\nExecStart=/usr/bin/docker\n' >/lib/systemd/system/docker.service
work=$(mktemp -d)
tar -xzf /release/crypto-rti-deploy-*.tar.gz -C "$work"
cd "$work"/crypto-rti-deploy-*

refused "--repository is needed" ./install.sh install
refused "not understood" ./install.sh install --colour red
refused "needs a value" ./install.sh install --repository
refused "nothing is installed" ./install.sh status
refused "is not there" ./install.sh install --repository someone/crypto-rti --webhook /nowhere
[ ! -e /opt/crypto-rti ]
ok "what cannot work is refused, and nothing is touched"

umask 000 # the worst that a shell can come with
echo token >"$work/token"
./install.sh install --repository someone/crypto-rti --tunnel-token "$work/token" >/dev/null
mode "600 root" /etc/crypto-rti/deploy-key && mode "600 root" /etc/crypto-rti/admin-key && mode "600 root" /etc/crypto-rti/tunnel-secret && mode "600 crypto-rti" /opt/crypto-rti/.env
mode "700 crypto-rti" /var/lib/crypto-rti-webhook && mode "755 root" /opt/crypto-rti/crypto-rti-webhook && mode "755 root" /opt/crypto-rti
[[ $(cat /etc/crypto-rti/deploy-key) =~ ^[A-Za-z0-9_-]{43}$ ]] && [[ $(cat /etc/crypto-rti/admin-key) =~ ^[A-Za-z0-9_-]{43}$ ]]
if cmp -s /etc/crypto-rti/deploy-key /etc/crypto-rti/admin-key; then exit 1; fi
id --name --groups crypto-rti | grep -qw docker
for unit in crypto-rti crypto-rti-webhook crypto-rti-tunnel; do [ "$(systemctl is-enabled $unit)" = enabled ]; done
ok "a fresh machine: secrets are closed, units are enabled"

systemd-analyze verify /etc/systemd/system/crypto-rti*.service
for unit in /etc/systemd/system/crypto-rti*.service; do systemd-analyze security --offline=true --threshold=30 --no-pager "$unit" >/dev/null; done
ok "systemd knows every line of the units, and finds them hardened"

files >/tmp/before
./install.sh install >/dev/null
files | cmp - /tmp/before
ok "a second installation changes nothing"

key=$(cat /etc/crypto-rti/deploy-key)
echo "WEBHOOK_SMOKE_COINS=ETH-USD" >>/etc/crypto-rti/webhook.env
echo "CRYPTO_RTI_PRODUCTS=ETH-USD" >>/opt/crypto-rti/.env
./install.sh install --tag next >/dev/null
[ "$(cat /etc/crypto-rti/deploy-key)" = "$key" ]
grep -qx CRYPTO_RTI_PRODUCTS=ETH-USD /opt/crypto-rti/.env
[ "$(grep -c ^WEBHOOK_ /etc/crypto-rti/webhook.env)" = 3 ] && grep -qx WEBHOOK_SMOKE_COINS=ETH-USD /etc/crypto-rti/webhook.env && grep -qx WEBHOOK_TAGS=next /etc/crypto-rti/webhook.env
ok "an upgrade keeps key and settings"

# As a release before the admin key left it: no such key, and a unit that does not name one.
rm /etc/crypto-rti/admin-key
sed -i /admin-key/d /etc/systemd/system/crypto-rti-webhook.service
./install.sh install >/dev/null
mode "600 root" /etc/crypto-rti/admin-key && [ "$(cat /etc/crypto-rti/deploy-key)" = "$key" ]
grep -qx LoadCredential=admin-key:/etc/crypto-rti/admin-key /etc/systemd/system/crypto-rti-webhook.service
ok "an installation with one key gets the other"

echo '{"AccountTag":"a","TunnelSecret":"s","TunnelID":"11111111-2222-3333-4444-555555555555"}' >"$work/credentials.json"
refused "needs --hostname" ./install.sh install --tunnel-credentials "$work/credentials.json"
./install.sh install --tunnel-credentials "$work/credentials.json" --hostname rti.example.org >/dev/null
grep -q "tunnel: 11111111-2222-3333-4444-555555555555" /etc/crypto-rti/tunnel.yml && cmp "$work/credentials.json" /etc/crypto-rti/tunnel-secret
if grep -q TOKEN /etc/crypto-rti/tunnel.env; then exit 1; fi
ok "a tunnel by credentials takes the token's place"

# The settings that the unit gives, tried by the server itself.
for name in deploy admin; do cp /etc/crypto-rti/$name-key /run/$name-key && chown crypto-rti /run/$name-key; done
mapfile -t environment < <(sed -n 's/^Environment=\(WEBHOOK_.*\)/\1/p' /etc/systemd/system/crypto-rti-webhook.service | sed 's|%d/|/run/|')
mapfile -t -O "${#environment[@]}" environment < <(grep ^WEBHOOK_ /etc/crypto-rti/webhook.env)
su -s /bin/bash crypto-rti -c 'exec env "$@" /opt/crypto-rti/crypto-rti-webhook --check' -- check "${environment[@]}" >/tmp/check
grep -q "The configuration is usable" /tmp/check
if grep -q Warning /tmp/check; then exit 1; fi
ok "the webhook server accepts what was installed"

refused "connect" ./install.sh status
refused "connect" ./install.sh rollback
ok "status and rollback ask the server, and say when there is none"

./install.sh uninstall >/dev/null
[ ! -e /etc/systemd/system/crypto-rti.service ] && [ ! -e /opt/crypto-rti/crypto-rti-webhook ]
[ -e /etc/crypto-rti/deploy-key ] && [ -e /opt/crypto-rti/.env ]
grep -q "compose .* down$" /tmp/docker.calls && ! grep -q "down --volumes" /tmp/docker.calls
./install.sh install >/dev/null
[ "$(cat /etc/crypto-rti/deploy-key)" = "$key" ]
./install.sh uninstall --purge >/dev/null
[ ! -e /opt/crypto-rti ] && [ ! -e /etc/crypto-rti ] && [ ! -e /var/lib/crypto-rti-webhook ] && ! id crypto-rti 2>/dev/null
[ -z "$(find /etc/systemd/system -name '*crypto-rti*')" ]
./install.sh uninstall --purge >/dev/null
ok "uninstall keeps what is yours, --purge takes it, and both work twice"
echo "install.sh: all passed"
