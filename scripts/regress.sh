#!/usr/bin/env bash
# Compares the printed contract and the races of pg_test/ with what is expected, in a private
# cluster of this run. Names of tests may follow.
#
#   regress.sh [NAME …]      run all, or those of pg_test/sql and pg_test/isolation/specs
#   regress.sh accept        make the output of this run the expected one; read it in git diff
source "$(dirname "$0")/env.sh"

scripts/install-tools.sh
scripts/build.sh

cluster=regress-$$
output=$ROOT/target/regress-$PG
pgxs=$(dirname "$("$PGBIN/pg_config" --pgxs)")
scripts/cluster.sh start "$cluster"
trap 'scripts/cluster.sh drop "$cluster"' EXIT
eval "$(scripts/cluster.sh env "$cluster")"

accept=no
if [[ ${1:-} == accept ]]; then
    accept=yes
    shift
fi

# The tests of a folder that were asked for, or all.
chosen() {
    local file name
    for file in "$1"/*; do
        name=$(basename "${file%.*}")
        if (($# == 1)) || [[ " ${*:2} " == *" $name "* ]]; then
            echo "$name"
        fi
    done
}

# compare PROGRAM FOLDER DATABASE NAME … — the database is made for it.
compare() {
    local program=$1 folder=$2 database=$3
    shift 3
    (($# > 0)) || return 0
    "$PGBIN/psql" -qX -c "CREATE DATABASE $database"
    "$PGBIN/psql" -qX -v ON_ERROR_STOP=1 -d "$database" -c 'CREATE EXTENSION ff_engine'
    if [[ -f $folder/shared.sql ]]; then
        "$PGBIN/psql" -qX -v ON_ERROR_STOP=1 -d "$database" -f "$folder/shared.sql"
    fi
    mkdir -p "$output/$database"
    # A new test has nothing yet to be compared with.
    local name
    for name in "$@"; do
        [[ $accept == no || -f $folder/expected/$name.out ]] || : >"$folder/expected/$name.out"
    done
    env -u RUST_BACKTRACE "$pgxs/../test/$program" --use-existing --dbname="$database" --host="$PGHOST" \
        --port="$PGPORT" --user="$PGUSER" --bindir="$PGBIN" --inputdir="$folder" \
        --outputdir="$output/$database" "$@"
}

failed=no
rm -rf "$output"
mapfile -t sql < <(chosen pg_test/sql "$@")
mapfile -t specs < <(chosen pg_test/isolation/specs "$@")
say "Comparing the printed contract and the races, PostgreSQL $PG"
compare regress/pg_regress pg_test contract "${sql[@]}" || failed=yes
compare isolation/pg_isolation_regress pg_test/isolation races "${specs[@]}" || failed=yes

if [[ $accept == yes ]]; then
    for name in "${sql[@]}"; do
        cp "$output/contract/results/$name.out" pg_test/expected/
    done
    for name in "${specs[@]}"; do
        cp "$output/races/results/$name.out" pg_test/isolation/expected/
    done
elif [[ $failed == yes ]]; then
    cat "$output"/*/regression.diffs
    fail "the output differs; what it was is in $output"
fi
