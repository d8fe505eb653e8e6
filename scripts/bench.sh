#!/usr/bin/env bash
# Measures the engine beside a bare update, a hand-written queue and its peers: one table, and
# target/bench/latest.json. bench/README.md says what the figures mean.
#
#   bench.sh [quick] [option …]      options: bench.sh --help
source "$(dirname "$0")/env.sh"

export FFBENCH_TARGET=$ROOT/target/bench
venv=$FFBENCH_TARGET/venv
requirements=$ROOT/bench/requirements.txt

# Debian ships Python's venv without the part that fills it.
install_python_packages() {
    cmp -s "$requirements" "$venv/installed" && return
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        ((EUID == 0)) || fail "python3-venv is missing; as root, type: apt-get install python3-venv"
        apt-get update -q && apt-get install -y -q --no-install-recommends python3-venv
    fi
    say "Installing the benchmark's Python packages"
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$venv/installed"
}

# The same for all systems: durable, and no checkpoint in the middle of a short run.
start_cluster() {
    scripts/cluster.sh drop bench
    scripts/cluster.sh start bench shared_buffers=1GB max_wal_size=16GB checkpoint_timeout=30min \
        max_connections=200 autovacuum=on fsync=on synchronous_commit=on
    eval "$(scripts/cluster.sh env bench)"
    trap 'scripts/cluster.sh drop bench' EXIT
}

scripts/install-tools.sh
scripts/build.sh
install_python_packages
start_cluster
PATH=$PGBIN:$PATH PYTHONPATH=$ROOT/bench PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" -m ffbench "$@"
