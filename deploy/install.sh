#!/bin/sh
# Install crypto_rti on a Raspberry Pi 5 (Debian arm64), or on any Debian or Ubuntu machine. `install.sh help` says how.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
home=/opt/crypto-rti
settings=/etc/crypto-rti
state=/var/lib/crypto-rti-webhook
systemd=/etc/systemd/system
user=crypto-rti
units="crypto-rti.service crypto-rti-webhook.service crypto-rti-tunnel.service"

usage() {
    cat <<'END'
install.sh install --repository NAMESPACE/NAME [option ...]
    Install, or bring an installation up to date: keys and settings that are there stay. Options:
      --repository NAMESPACE/NAME   the image's repository on Docker Hub; needed the first time
      --tag TAG                     its tag, by default latest
      --webhook FILE                the webhook server; by default the one for this machine's architecture beside this script
      --tunnel-token FILE           token of a tunnel that Cloudflare's dashboard manages
      --tunnel-credentials FILE     credentials of a tunnel that `cloudflared tunnel create` made, together with
      --hostname NAME               the name under which the world finds this machine
install.sh status                   what runs, since when, which image, and what happened before
install.sh rollback                 bring the image before the present one back up
install.sh uninstall [--purge]      stop and remove everything; --purge takes keys, settings, state and the ledger as well
END
}

say() { echo "install.sh: $*"; }
die() {
    echo "install.sh: $*" >&2
    exit 1
}
systemd_runs() { [ -d /run/systemd/system ]; }

# put MODE OWNER TARGET: standard input becomes TARGET in one step; one that is the same is left alone. True when it changed.
put() {
    new=$(mktemp "$(dirname "$3")/.new.XXXXXX")
    cat >"$new"
    if cmp -s "$new" "$3" && [ "$(stat -c '%a %U' "$3")" = "$1 ${2%%:*}" ]; then
        rm "$new"
        return 1
    fi
    chown "$2" "$new"
    chmod "$1" "$new"
    mv "$new" "$3"
    say "wrote $3"
}

candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^  Candidate: //p' | grep -v '(none)'; }

install_packages() {
    if ! command -v docker >/dev/null || ! docker compose version >/dev/null 2>&1; then
        if [ -n "$(candidate docker-compose-plugin)" ]; then
            packages="docker-ce docker-ce-cli containerd.io docker-compose-plugin"
        elif dpkg --compare-versions "$(candidate docker-compose || echo 0)" ge 2; then
            packages="docker.io docker-cli docker-compose"
            [ -n "$(candidate docker-cli)" ] || packages="docker.io docker-compose"
        else
            die "apt has no Docker Compose 2 here; add Docker's own repository (README.md, step 2) and run this again"
        fi
        # shellcheck disable=SC2086  # a list of words
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages
    fi
    if [ -e "$settings/tunnel-secret" ] && ! command -v cloudflared >/dev/null; then
        [ -n "$(candidate cloudflared)" ] || die "apt has no cloudflared here; add Cloudflare's repository (README.md, step 3) and run this again"
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends cloudflared
    fi
}

# The value of a setting in webhook.env, empty when there is none.
setting() { sed -n "s/^$1=//p" "$settings/webhook.env" 2>/dev/null || true; }

write_tunnel() {
    if [ -n "$token" ]; then
        [ -s "$token" ] || die "$token is empty or not there; write the tunnel's token into it"
        put 600 root:root "$settings/tunnel-secret" <"$token" || true
        echo "TUNNEL_TOKEN_FILE=/run/credentials/crypto-rti-tunnel.service/tunnel" | put 644 root:root "$settings/tunnel.env" || true
        echo "no-autoupdate: true" | put 644 root:root "$settings/tunnel.yml" || true
    elif [ -n "$credentials" ]; then
        [ -n "$hostname" ] || die "--tunnel-credentials needs --hostname, the name under which the world finds this machine"
        id=$(sed -n 's/.*"TunnelID" *: *"\([0-9a-fA-F-]*\)".*/\1/p' "$credentials")
        [ -n "$id" ] || die "$credentials holds no TunnelID; name the file that cloudflared tunnel create wrote"
        put 600 root:root "$settings/tunnel-secret" <"$credentials" || true
        echo "# The tunnel's credentials are named in tunnel.yml." | put 644 root:root "$settings/tunnel.env" || true
        put 644 root:root "$settings/tunnel.yml" <<END || true
no-autoupdate: true
tunnel: $id
credentials-file: /run/credentials/crypto-rti-tunnel.service/tunnel
ingress:
  - hostname: $hostname
    path: ^/infra/
    service: http://127.0.0.1:9000
  - hostname: $hostname
    service: http://127.0.0.1:8000
  - service: http_status:404
END
    fi
}

install_all() {
    repository='' tag='' webhook='' token='' credentials='' hostname=''
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || die "$1 needs a value, or is not understood; install.sh help lists what there is"
        case $1 in
        --repository) repository=$2 ;;
        --tag) tag=$2 ;;
        --webhook) webhook=$2 ;;
        --tunnel-token) token=$2 ;;
        --tunnel-credentials) credentials=$2 ;;
        --hostname) hostname=$2 ;;
        *) die "$1 is not understood; install.sh help lists what there is" ;;
        esac
        shift 2
    done
    arch=$(dpkg --print-architecture)
    webhook=${webhook:-$here/crypto-rti-webhook-linux-$arch}
    repository=${repository:-$(setting WEBHOOK_REPOSITORY)}
    tag=${tag:-$(setting WEBHOOK_TAGS)}
    [ -n "$repository" ] || die "--repository is needed the first time: the image's repository on Docker Hub, such as someone/crypto-rti"
    [ -f "$webhook" ] || die "$webhook is not there; unpack a release for $arch, or name the server with --webhook"
    "$webhook" --version >/dev/null || die "$webhook does not run on this machine ($arch)"

    install -d -m 0755 "$settings" "$systemd"
    write_tunnel
    install_packages
    getent group docker >/dev/null || groupadd --system docker
    id "$user" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir "$state" --shell /usr/sbin/nologin "$user"
    usermod --append --groups docker "$user"
    install -d -m 0755 "$home"
    install -d -m 0700 -o "$user" -g "$user" "$state"

    changed='' compose_changed=''
    # An installation from before there was an admin key gets one here.
    for name in deploy-key admin-key; do
        if [ ! -s "$settings/$name" ]; then
            head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=' | put 600 root:root "$settings/$name" && changed=yes
        fi
    done
    [ -e "$home/.env" ] || put 600 "$user:$user" "$home/.env" <<'END'
# Settings of the service, one CRYPTO_RTI_… a line; `docker exec crypto-rti-service-1 crypto-rti settings` lists them all.
CRYPTO_RTI_SOURCE=coinbase
CRYPTO_RTI_PRODUCTS=BTC-USD ETH-USD
END
    chown "$user:$user" "$home/.env"
    chmod 600 "$home/.env"
    others=$(grep -v -e '^WEBHOOK_REPOSITORY=' -e '^WEBHOOK_TAGS=' "$settings/webhook.env" 2>/dev/null || echo "# Settings of the webhook server; crypto-rti-webhook --help lists them all.")
    printf '%s\nWEBHOOK_REPOSITORY=%s\nWEBHOOK_TAGS=%s\n' "$others" "$repository" "${tag:-latest}" | put 644 root:root "$settings/webhook.env" && changed=yes
    put 644 root:root "$home/compose.yml" <"$here/compose.yml" && compose_changed=yes
    put 755 root:root "$home/crypto-rti-webhook" <"$webhook" && changed=yes
    for unit in $units; do
        sed -e "s|/usr/bin/docker |$(command -v docker) |" -e "s|/usr/bin/cloudflared |$(command -v cloudflared || echo /usr/bin/cloudflared) |" "$here/systemd/$unit" |
            put 644 root:root "$systemd/$unit" && changed=yes
        # Before 254 systemd knows no growing pauses; there it tries again at the same pace. systemd counts restarts until
        # somebody stops the unit, so the longest pause is what comes after a crash a year later.
        if [ "$(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')" -ge 254 ]; then
            install -d "$systemd/$unit.d"
            printf '[Service]\nRestartSteps=6\nRestartMaxDelaySec=30s\n' | put 644 root:root "$systemd/$unit.d/backoff.conf" && changed=yes
        fi
    done

    enabled="crypto-rti.service crypto-rti-webhook.service"
    [ ! -e "$settings/tunnel-secret" ] || enabled="$enabled crypto-rti-tunnel.service"
    # shellcheck disable=SC2086  # a list of words
    systemctl --quiet enable $enabled
    if systemd_runs; then
        systemctl daemon-reload
        systemctl --quiet enable --now docker.service
        [ -z "$compose_changed" ] || systemctl try-restart crypto-rti.service
        [ -z "$changed" ] || systemctl try-restart crypto-rti-webhook.service
        # shellcheck disable=SC2086
        systemctl start $enabled
    else
        say "systemd does not run here; everything starts with the next boot"
    fi
    say "installed. Give Docker Hub this address under the repository's webhooks: https://${hostname:-YOUR.HOST}/infra/KEY"
    say "where KEY is what 'sudo cat $settings/deploy-key' prints. Whoever knows it can deploy the repository's images here, and nothing else."
    if [ -e /sys/fs/cgroup/cgroup.controllers ] && ! grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
        say "this kernel does not limit memory, so the limit in compose.yml has no effect; README.md, step 1, says how to switch it on"
    fi
}

# Ask the running webhook server something, with its own settings.
ask_webhook() {
    [ -x "$home/crypto-rti-webhook" ] || die "nothing is installed here"
    # shellcheck disable=SC2046  # one word a line: no setting holds a blank
    env -i PATH="$PATH" $(grep '^WEBHOOK_' "$settings/webhook.env") WEBHOOK_DEPLOY_KEY_FILE="$settings/deploy-key" WEBHOOK_ADMIN_KEY_FILE="$settings/admin-key" \
        WEBHOOK_COMPOSE_FILE="$home/compose.yml" \
        WEBHOOK_IMAGE_ENV_FILE="$state/image.env" WEBHOOK_STATE_DIR="$state" "$home/crypto-rti-webhook" "$1"
}

show_status() {
    for unit in $units; do
        printf '%-28s %s, %s\n' "$unit" "$(systemctl is-enabled "$unit" 2>/dev/null || true)" "$(systemctl is-active "$unit" 2>/dev/null || true)"
    done
    ask_webhook --status
}

compose() {
    set -- --project-name crypto-rti --file "$home/compose.yml" --env-file "$home/.env" "$@"
    if [ -e "$state/image.env" ]; then docker compose --env-file "$state/image.env" "$@"; else CRYPTO_RTI_IMAGE=none docker compose "$@"; fi
}

uninstall() {
    case ${1:-} in
    '' | --purge) ;;
    *) die "$1 is not understood; install.sh help lists what there is" ;;
    esac
    for unit in $units; do
        if systemd_runs; then systemctl --quiet stop "$unit" 2>/dev/null || true; fi
        systemctl --quiet disable "$unit" 2>/dev/null || true
        rm -rf "${systemd:?}/$unit" "${systemd:?}/$unit.d"
    done
    if systemd_runs; then systemctl daemon-reload; fi
    if [ -e "$home/compose.yml" ] && docker info >/dev/null 2>&1; then
        if [ "${1:-}" = --purge ]; then compose down --volumes; else compose down; fi
    fi
    if [ "${1:-}" = --purge ]; then
        rm -rf "$home" "$settings" "$state"
        userdel "$user" 2>/dev/null || true
        say "removed, with keys, settings, state and ledger; Docker and cloudflared stay"
    else
        rm -f "$home/compose.yml" "$home/crypto-rti-webhook"
        say "removed; keys and settings in $settings and $home/.env, the state in $state and the ledger stay (--purge takes them too)"
    fi
}

verb=${1:-help}
[ $# -eq 0 ] || shift
case $verb in
install | status | rollback | uninstall) [ "$(id -u)" = 0 ] || die "$verb needs root; run it with sudo" ;;
esac
case $verb in
install) install_all "$@" ;;
status) show_status ;;
rollback) ask_webhook --rollback ;;
uninstall) uninstall "$@" ;;
help | --help | -h) usage ;;
*) die "$verb is not understood; install.sh help lists what there is" ;;
esac
