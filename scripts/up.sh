#!/usr/bin/env bash
# Starts the private cluster with the extension in it, and leaves the way there in .cluster/env.
source "$(dirname "$0")/env.sh"

sql() {
    scripts/cluster.sh psql main -qX -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' -c "$1"
}

scripts/install-tools.sh
scripts/build.sh
scripts/cluster.sh start main
scripts/cluster.sh env main >.cluster/env

# While a version is being written, its SQL changes under the same number, for which there is no
# upgrade step.
script=$("$PGBIN/pg_config" --sharedir)/extension/ff_engine--$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml).sql
built=$(grep -v '^--' "$script" | sort | cksum)
installed=$FF_HOME/clusters-$PG/main/installed
if [[ -f $installed && $(<"$installed") != "$built" ]]; then
    say "The extension's SQL has changed: it is created anew, what the private cluster held is gone"
    sql 'DROP EXTENSION IF EXISTS ff_engine CASCADE'
fi
sql 'CREATE EXTENSION IF NOT EXISTS ff_engine'
echo "$built" >"$installed"
say "PostgreSQL $PG with ff_engine runs. Connect with: make psql, or: . .cluster/env && psql"
