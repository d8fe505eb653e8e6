#!/usr/bin/env bash
# Runs the black-box tests in tests/ against the release build, in private clusters of this run.
# Arguments go to the test program, for example a part of a test's name.
#
# The tests find a running server through PGHOST, PGPORT, PGUSER and PGDATABASE, and get more
# clusters from "$FF_CLUSTER_SCRIPT" start|stop|restart|drop|env NAME.
source "$(dirname "$0")/env.sh"

scripts/install-tools.sh test
scripts/build.sh

drop_run() {
    local name
    for name in $(FF_CLUSTERS=$1 scripts/cluster.sh list); do
        FF_CLUSTERS=$1 scripts/cluster.sh drop "$name"
    done
    rm -rf "$1"
}

stop_run() {
    local name
    for name in $(scripts/cluster.sh list running); do
        scripts/cluster.sh stop "$name" immediate
    done
}

# A run that failed leaves its clusters, stopped, for a look at their logs until the next run.
for run in "$FF_HOME/run-$PG"-*; do
    if [[ -d $run && ! -d /proc/${run##*-} ]]; then
        drop_run "$run"
    fi
done

export FF_CLUSTERS=$FF_HOME/run-$PG-$$
trap stop_run EXIT
scripts/cluster.sh start test max_prepared_transactions=20
eval "$(scripts/cluster.sh env test)"
export FF_CLUSTER_SCRIPT=$ROOT/scripts/cluster.sh FF_PG_BINDIR=$PGBIN FF_PG_MAJOR=$PG

# Most tests wait for the server most of the time.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-8}

say "Running the tests against PostgreSQL $PG"
if ! cargo test -p ff_engine_tests -- "$@"; then
    say "Logs of the servers: $FF_CLUSTERS/*/log"
    exit 1
fi
drop_run "$FF_CLUSTERS"
