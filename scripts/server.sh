#!/usr/bin/env bash
# Makes or refreshes the private server installation of this checkout, so that installing the
# extension writes nothing into the system's directories. A program found under another prefix
# looks for its files there: the copy's pg_config reports the copy's paths.
source "$(dirname "$0")/env.sh"

make_home
if [[ $PG != 15 ]]; then
    exec scripts/other-majors.sh
fi

[[ -x /usr/lib/postgresql/15/bin/postgres ]] ||
    fail "PostgreSQL 15 is not installed; type: scripts/install-tools.sh"
mkdir -p "$SERVER/lib/postgresql" "$SERVER/share/postgresql"
cp -a --update --remove-destination /usr/lib/postgresql/15 "$SERVER/lib/postgresql/"
cp -a --update --remove-destination /usr/share/postgresql/15 "$SERVER/share/postgresql/"
ln -sfn /usr/include "$SERVER/include"
