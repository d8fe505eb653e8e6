#!/usr/bin/env bash
# Builds ff_engine for a server of the user's own and installs it there.
#
#   PG_CONFIG=/path/to/pg_config install.sh
source "$(dirname "$0")/env.sh"

pg_config=$(command -v "${PG_CONFIG:-pg_config}") ||
    fail "there is no ${PG_CONFIG:-pg_config}; type: make install PG_CONFIG=/path/to/pg_config"
major=$("$pg_config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
[[ -f $("$pg_config" --includedir-server)/postgres.h ]] ||
    fail "the server headers of PostgreSQL $major are missing; on Debian, as root: apt-get install postgresql-server-dev-$major"

# Only the copying is done as root.
sudo=()
if [[ ! -w $("$pg_config" --pkglibdir) ]]; then
    command -v sudo >/dev/null ||
        fail "this user may not write to $("$pg_config" --pkglibdir); run the same command as root"
    sudo=(--sudo)
fi

scripts/install-tools.sh
export PGRX_PG_CONFIG_PATH=$pg_config
cargo pgrx install "${sudo[@]}" --release --no-default-features --features "pg$major" \
    --pg-config "$pg_config" >/dev/null
cat <<TEXT

ff_engine is installed for $("$pg_config" --version). To use it:
  1. in postgresql.conf:    shared_preload_libraries = 'ff_engine'
  2. restart the server
  3. in your database:      CREATE EXTENSION ff_engine;
Then check it with: make installcheck   (PGHOST, PGPORT, PGUSER lead to the server)
TEXT
