#!/usr/bin/env bash
# Counts what the engine's own operations write: rows, index entries and WAL per execution, from the WAL itself.
#
#   bench/layouts/engine.sh
#
# The columns are those of `run.sh count`. Operations on a lease are measured together with the claim that gives
# it. A cluster of its own is started and removed.
source "$(dirname "$0")/../../scripts/env.sh"

n=400
trap 'scripts/cluster.sh drop enginecount' EXIT
scripts/cluster.sh start enginecount full_page_writes=off autovacuum=off
eval "$(scripts/cluster.sh env enginecount)"
work=$(mktemp -d)
query() { "$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 "$@"; }
query -c "CREATE EXTENSION ff_engine" -c "CREATE EXTENSION pg_walinspect" -c "ALTER DATABASE postgres SET client_min_messages = warning"
sleep 2

# Runs the statements once for every execution.
each() { "$PGBIN/pgbench" -n -M prepared -c 1 -t "$1" -f - <<<"$2" >/dev/null 2>"$work/err" || { cat "$work/err" >&2; exit 1; }; }

# report NAME COMMAND …: what the command leaves in the WAL, per execution
report() {
    local name=$1 from
    shift
    from=$(query -c "SELECT pg_current_wal_flush_lsn()")
    "$@"
    query -F $'\t' -v from="$from" -v name="$name" -v n="$n" <<'SQL'
SELECT :'name',
       round(coalesce(sum(count) FILTER (WHERE r IN ('Heap/INSERT', 'Heap/INSERT+INIT')), 0) / :n, 2),
       round(coalesce(sum(count) FILTER (WHERE r = 'Heap/HOT_UPDATE'), 0) / :n, 2),
       round(coalesce(sum(count) FILTER (WHERE r IN ('Heap/UPDATE', 'Heap/UPDATE+INIT')), 0) / :n, 2),
       round(coalesce(sum(count) FILTER (WHERE r = 'Heap/DELETE'), 0) / :n, 2),
       round(coalesce(sum(count) FILTER (WHERE r = 'Heap/LOCK'), 0) / :n, 2),
       round(coalesce(sum(count) FILTER (WHERE r IN ('Btree/INSERT_LEAF', 'Btree/INSERT_POST', 'Btree/SPLIT_L', 'Btree/SPLIT_R')), 0) / :n, 2),
       round(sum(record_size) / :n)
  FROM (SELECT "resource_manager/record_type" AS r, count, record_size
          FROM pg_get_wal_stats(:'from', pg_current_wal_flush_lsn(), true)) AS s;
SQL
}

create() { each "$n" "SELECT count(*) FROM ff_create_execution('$1', 'job', 'xxxxxxxxxx'${2:+, $2});"; }
claimed() { each "$n" "SELECT handle FROM ff_claim('$1', 'w', lease_ttl => '$2') \\gset
${3:-}"; }
retry() { echo "policy => '{\"retry_policy\": {\"backoff\": {\"type\": \"fixed\", \"delay_ms\": $1}}}'"; }
filled() { each 20 "SELECT count(*) FROM ff_create_many('$1', 'job', array_fill('x'::bytea, ARRAY[50])${2:+, $2});"; }

printf 'operation\trow_inserts\thot_updates\tother_updates\tdeletes\trow_locks\tindex_entries\twal_bytes\n'
each 50 "SELECT count(*) FROM ff_create_execution('warm', 'job');"
report "create" create a
report "create, delayed" create later "delay_until => now() + interval '1 day'"
report "create, with key" create keyed "idempotency_key => gen_random_uuid()::text"
filled b
report "claim" claimed b "1 hour"
report "claim, renew" claimed b "1 hour" "SELECT count(*) FROM ff_renew(:handle);"
filled c
report "claim, progress" claimed c "1 hour" "SELECT ff_progress(:handle, 50);"
report "claim, complete" claimed c "1 hour" "SELECT outcome FROM ff_complete(:handle);"
filled d "$(retry 1800000)"
report "claim, fail with retry" claimed d "1 hour" "SELECT outcome FROM ff_fail(:handle, 'no');"
report "claim, delay" claimed d "1 hour" "SELECT outcome FROM ff_delay(:handle, now() + interval '30 minutes');"
filled e "$(retry 6000)"
claimed e "1 hour" "SELECT outcome FROM ff_fail(:handle, 'no');"
report "end of a back-off" sleep 8
report "claim of a retry" claimed e "1 hour"
filled f
claimed f "6 s"
report "lease expiry" sleep 8
report "claim of a lost lease" claimed f "1 hour"
create g "retention => '7 s'"
claimed g "5 s" "SELECT outcome FROM ff_complete(:handle);"
report "end of a lease that was kept" sleep 7
report "retention" query -o /dev/null -c "SELECT ff_reconcile_retention()" -c "SELECT ff_reconcile_retention()"
