#!/usr/bin/env bash
# Installs what a bare Debian 12 with Rust lacks for building and running ff_engine.
#
#   install-tools.sh         to build and run it
#   install-tools.sh test    and to lint and test it
#
# PG=16 or PG=18 in the environment adds what fetching those needs.
# What is there already is left alone, so running it again costs a fraction of a second.
source "$(dirname "$0")/env.sh"

packages=(build-essential pkg-config libssl-dev clang-14 libclang-14-dev
    postgresql-15 postgresql-contrib postgresql-server-dev-15)
if [[ ${1:-} == test ]]; then
    packages+=(postgresql-15-cron python3-psycopg shellcheck)
    command -v node >/dev/null || packages+=(nodejs)
    command -v npm >/dev/null || packages+=(npm)
fi
if [[ $PG != 15 ]]; then
    packages+=(python3-pip)
fi
cargo_pgrx=$(sed -n 's/^pgrx = "=\(.*\)"$/\1/p' Cargo.toml)

missing_packages() {
    local package
    for package in "${packages[@]}"; do
        dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
            echo "$package"
    done
}

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# Debian starts a cluster of its own when the server is first installed; nobody asked for one.
apt_install() {
    local no_cluster=/etc/postgresql-common/createcluster.d/ff_engine.conf
    as_root mkdir -p "${no_cluster%/*}"
    as_root tee "$no_cluster" >/dev/null <<<'create_main_cluster = false'
    # shellcheck disable=SC2064 # the path is wanted now, the function's variable is gone at exit
    trap "as_root rm -f $no_cluster; as_root rmdir --ignore-fail-on-non-empty ${no_cluster%/*}" EXIT
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

command -v cargo >/dev/null || fail "Rust is missing: install it from https://rustup.rs, then run this again"

mapfile -t missing < <(missing_packages)
if ((${#missing[@]} > 0)); then
    command -v apt-get >/dev/null ||
        fail "this script knows Debian's apt-get only; install by hand the equivalents of: ${missing[*]}"
    if ((EUID != 0)) && ! command -v sudo >/dev/null; then
        fail "Debian packages are missing; as root, type: apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "Installing Debian packages: ${missing[*]}"
    apt_install "${missing[@]}"
fi

if [[ $(cargo pgrx --version 2>/dev/null) != "cargo-pgrx $cargo_pgrx" ]]; then
    say "Building cargo-pgrx $cargo_pgrx (about four minutes on two cores, once per machine)"
    cargo install --locked "cargo-pgrx@$cargo_pgrx"
fi

# Written only when it must be: a newer file makes cargo build pgrx-pg-sys again.
pgrx_config=${PGRX_HOME:-$HOME/.pgrx}/config.toml
pg_config=/usr/lib/postgresql/15/bin/pg_config
if [[ ! -f $pgrx_config ]] || ! grep -q '^pg15 *=' "$pgrx_config"; then
    say "Telling pgrx about $pg_config"
    mkdir -p "${pgrx_config%/*}"
    cargo pgrx init --no-run --pg15 "$pg_config"
fi

if [[ ${1:-} == test && ! examples/node_modules/.package-lock.json -nt examples/package-lock.json ]]; then
    say "Installing the PostgreSQL driver of the example in Node"
    npm ci --prefix examples --no-audit --no-fund
fi
