#!/usr/bin/env bash
# Stops the private clusters of every major and removes them, the private servers and the build.
source "$(dirname "$0")/env.sh"

shopt -s nullglob
for folder in "$FF_HOME"/clusters-* "$FF_HOME"/run-*; do
    PG=$(basename "$folder" | cut -d- -f2)
    for name in $(FF_CLUSTERS=$folder scripts/cluster.sh list); do
        FF_CLUSTERS=$folder scripts/cluster.sh drop "$name"
    done
done
rm -rf "$FF_HOME" .cluster examples/node_modules
cargo clean
