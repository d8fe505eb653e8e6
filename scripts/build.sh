#!/usr/bin/env bash
# Builds the release library and installs it into the private server. Clusters of this checkout
# that run with the previous library are restarted: a preloaded library is not seen otherwise.
source "$(dirname "$0")/env.sh"

scripts/server.sh
pg_config=$PGBIN/pg_config
library=$("$pg_config" --pkglibdir)/ff_engine.so

fingerprint() {
    if [[ -f $library ]]; then cksum <"$library"; else echo none; fi
}

# pgrx reads the headers of Debian's 15 from its configuration; the others are known only here.
if [[ $PG != 15 ]]; then
    export PGRX_PG_CONFIG_PATH=$pg_config
fi

before=$(fingerprint)
say "Building ff_engine for PostgreSQL $PG (a first build takes about two minutes on two cores)"
cargo pgrx install --release --no-default-features --features "pg$PG" --pg-config "$pg_config" >/dev/null
if [[ $(fingerprint) != "$before" ]]; then
    for name in $(scripts/cluster.sh list running); do
        scripts/cluster.sh restart "$name"
    done
fi
