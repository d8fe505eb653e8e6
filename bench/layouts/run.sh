#!/usr/bin/env bash
# Compares three candidate layouts of the engine's tables, written in plain SQL with kept plans:
# A one row, B input + state + ready + timer (the one the engine is built on), C append-only.
#
#   bench/layouts/run.sh count    rows, index entries and WAL per operation, from the WAL itself
#   bench/layouts/run.sh backlog  CPU per create + claim + complete, 1 k and 1 M executions waiting
#   bench/layouts/run.sh held     CPU per claim + complete while a REPEATABLE READ snapshot is held
#
# Results are rows on standard output. LAYOUTS="a b" and ROUNDS=1 make it shorter. A cluster of its own is
# started and left running: `scripts/cluster.sh drop layouts` removes it. docs/design/storage.md has the
# numbers it gave and what follows from them.
source "$(dirname "$0")/../../scripts/env.sh"

here=$ROOT/bench/layouts
layouts=${LAYOUTS:-a b c}
rounds=${ROUNDS:-3}
clients=8

scripts/cluster.sh start layouts fsync=on synchronous_commit=on shared_buffers=512MB max_wal_size=8GB
eval "$(scripts/cluster.sh env layouts)"

# Plan shapes are pinned as the engine pins its own.
export PGOPTIONS="-c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan -c jit=off -c client_min_messages=warning"

query() { "$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 "$@"; }
setting() {
    query -c "ALTER SYSTEM SET $1" -c "SELECT pg_reload_conf()" >/dev/null
    sleep 0.2
}
cpu() {
    PYTHONPATH=$ROOT/bench python3 -c 'import sys; from ffbench.cpu import cluster_cpu_seconds as cpu; print(cpu(int(sys.argv[1])))' \
        "$(head -n 1 "$FF_PGDATA/postmaster.pid")"
}

work=$(mktemp -d)
holder=

# Ends the session that holds the snapshot, whose client fails then. One that is gone has held nothing.
let_go() {
    local ended
    ended=$(query -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'layouts holder'")
    if wait "$holder" 2>/dev/null || [[ $ended != t ]]; then
        holder=
        fail "the session that holds the snapshot has ended too early"
    fi
    holder=
}
cleanup() {
    rm -rf "$work"
    if [[ -n $holder ]]; then let_go; fi
}
trap cleanup EXIT

script_for() {
    local l=$1
    echo "SELECT $l.make(1, 10);" >"$work/$l.create"
    cat >"$work/$l.claim" <<SQL
SELECT execution_id AS id, lease_id AS lease, lease_epoch AS epoch FROM $l.claim(:client_id) \gset
SQL
    echo "SELECT $l.complete(:id, :lease, :epoch);" >"$work/$l.complete"
    cat "$work/$l.claim" - >"$work/$l.renewed" <<<"SELECT $l.renew(:id, :lease, :epoch);"
    cat "$work/$l.claim" "$work/$l.complete" >"$work/$l.pair"
    cat "$work/$l.create" "$work/$l.pair" >"$work/$l.life"
}

# A database for each layout, so that the rounds can alternate.
on() { export PGDATABASE=layout_$1; }

# fresh LAYOUT EXECUTIONS BYTES
fresh() {
    PGDATABASE=postgres query -c "DROP DATABASE IF EXISTS layout_$1" -c "CREATE DATABASE layout_$1"
    on "$1"
    query -f "$here/common.sql" -f "$here/$1.sql"
    script_for "$1"
    local left=$2
    while ((left > 0)); do
        query -c "SELECT $1.make($((left < 50000 ? left : 50000)), $3)" >/dev/null
        left=$((left - 50000))
    done
    query -c "VACUUM ANALYZE" -c "CHECKPOINT"
}

# bench LAYOUT SCRIPT CLIENTS TRANSACTIONS [SETTING …]: pgbench's transactions per second
bench() {
    local script=$work/$1.$2 c=$3 t=$4
    shift 4
    PGOPTIONS="$PGOPTIONS $*" "$PGBIN/pgbench" -n -M prepared -c "$c" -j 1 -t "$t" -f "$script" 2>"$work/err" |
        awk '/^tps/ { print int($3) }' || { cat "$work/err" >&2; exit 1; }
}

# measured LAYOUT SCRIPT TRANSACTIONS [SETTING …]: CPU microseconds per transaction, and tps
measured() {
    local before after tps t=$3
    before=$(cpu)
    tps=$(bench "$1" "$2" "$clients" $((t / clients)) "${@:4}")
    after=$(cpu)
    awk -v b="$before" -v a="$after" -v n="$t" -v s="$tps" 'BEGIN { printf "%d\t%d\n", (a - b) * 1e6 / n, s }'
}

# Rows and index entries are the records that the operations leave in the WAL.
count() {
    local l op from bytes
    setting "full_page_writes = off"
    setting "autovacuum = off"
    printf 'layout\tpayload\toperation\trow_inserts\thot_updates\tother_updates\tdeletes\trow_locks\tindex_entries\twal_bytes\n'
    for l in $layouts; do
        for bytes in 10 1500; do
            fresh "$l" 3000 "$bytes"
            query -c "CREATE EXTENSION pg_walinspect"
            sed -i "s/make(1, .*)/make(1, $bytes)/" "$work/$l.create"
            for op in create claim renewed pair; do
                bench "$l" "$op" 1 200 >/dev/null
                from=$(query -c "SELECT pg_current_wal_flush_lsn()")
                bench "$l" "$op" 1 400 >/dev/null
                per_record "$l" "$bytes" "$op" "$from"
            done
        done
    done
    setting "full_page_writes = on"
    setting "autovacuum = on"
}

per_record() {
    query -F $'\t' -c "
        SELECT '$1', $2, '$3',
               round(sum(count) FILTER (WHERE r IN ('Heap/INSERT', 'Heap/INSERT+INIT')) / 400.0, 2),
               round(sum(count) FILTER (WHERE r = 'Heap/HOT_UPDATE') / 400.0, 2),
               round(sum(count) FILTER (WHERE r IN ('Heap/UPDATE', 'Heap/UPDATE+INIT')) / 400.0, 2),
               round(sum(count) FILTER (WHERE r = 'Heap/DELETE') / 400.0, 2),
               round(sum(count) FILTER (WHERE r = 'Heap/LOCK') / 400.0, 2),
               round(sum(count) FILTER (WHERE r IN ('Btree/INSERT_LEAF', 'Btree/INSERT_POST', 'Btree/SPLIT_L', 'Btree/SPLIT_R')) / 400.0, 2),
               round(sum(record_size) / 400.0)
          FROM (SELECT \"resource_manager/record_type\" AS r, count, record_size
                  FROM pg_get_wal_stats('$4', pg_current_wal_flush_lsn(), true)) AS s"
}

backlog() {
    local round l waiting
    printf 'layout\tround\twaiting\tcpu_us_per_life\tlives_per_s\n'
    for waiting in 1000 1000000; do
        for ((round = 1; round <= rounds; round++)); do
            for l in $layouts; do
                # A million is loaded once; each round adds as much as it takes away.
                if ((waiting == 1000 || round == 1)); then
                    fresh "$l" "$waiting" 10
                fi
                on "$l"
                bench "$l" life "$clients" 100 >/dev/null
                printf '%s\t%d\t%d\t%s\n' "$l" "$round" "$waiting" "$(measured "$l" life 4800)"
            done
        done
    done
}

hold() {
    PGAPPNAME="layouts holder" query -c "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM common.event; SELECT pg_sleep(600)" >/dev/null 2>&1 &
    holder=$!
    sleep 0.5
}

held() {
    local round l remember part
    printf 'layout\tround\tstart\tpart\tcpu_us_per_pair\tpairs_per_s\n'
    for ((round = 1; round <= rounds; round++)); do
        for l in $layouts; do
            for remember in off on; do
                fresh "$l" 20000 10
                hold
                for part in 1 2 3; do
                    printf '%s\t%d\t%s\t%d\t%s\n' "$l" "$round" "$([[ $remember == on ]] && echo mark || echo head)" "$part" \
                        "$(measured "$l" pair 4000 -c "layouts.remember=$remember")"
                done
                let_go
            done
        done
    done
}

case ${1:-} in
    count | backlog | held) "$1" ;;
    *) fail "name what to measure: count, backlog or held" ;;
esac
