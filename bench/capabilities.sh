#!/usr/bin/env bash
# What required capabilities cost a claim: claims of one execution out of a backlog of 100 000, most of which the
# worker cannot run, beside claims out of a backlog without requirements.
#
#   bench/capabilities.sh [claims] [backlog]
#
# Each backlog is drained by some thousand claims with four connections. Columns: claims per second, microseconds of
# the server's processor time per claim, and the latter as a multiple of the plain claim's. A cluster of its own is
# started and removed.
source "$(dirname "$0")/../scripts/env.sh"

claims=${1:-8000}
backlog=${2:-100000}
trap 'scripts/cluster.sh drop capabilities' EXIT
scripts/cluster.sh start capabilities shared_buffers=512MB max_wal_size=8GB
eval "$(scripts/cluster.sh env capabilities)"
query() { "$PGBIN/psql" -qAtX -v ON_ERROR_STOP=1 "$@"; }
query -c "CREATE EXTENSION ff_engine"
server=$(head -1 "$(query -c 'SHOW data_directory')/postmaster.pid")
ticks=$(getconf CLK_TCK)

# Processor time of the server's living and dead processes, in ticks.
spent() {
    local pid sum
    sum=$(awk '{ print $14 + $15 + $16 + $17 }' "/proc/$server/stat")
    for pid in $(pgrep -P "$server"); do
        sum=$((sum + $(awk '{ print $14 + $15 }' "/proc/$pid/stat" 2>/dev/null || echo 0)))
    done
    echo "$sum"
}

# fill LANE SETS: a backlog whose executions each require one of so many sets, spread evenly; 0 for no requirement.
fill() {
    query -v lane="$1" -v sets="$2" -v n="$backlog" -o /dev/null <<'SQL'
SELECT count(*) FROM generate_series(1, :n / 1000) AS b
  CROSS JOIN LATERAL ff_create_executions((
       SELECT jsonb_agg(jsonb_build_object('lane', :'lane', 'kind', 'job', 'payload_text', 'x') || CASE WHEN :sets = 0 THEN '{}'
              ELSE jsonb_build_object('policy', jsonb_build_object('routing_requirements',
                     jsonb_build_object('required_capabilities', jsonb_build_array('c' || i % nullif(:sets, 0))))) END)
         FROM generate_series(1, 1000) AS i WHERE b > 0)) AS c;
SQL
    query -c "VACUUM ANALYZE" -c CHECKPOINT
}

# drain NAME LANE CAPABILITIES [SETTLE]: what a claim costs
plain=
drain() {
    local name=$1 before after rate cpu
    before=$(spent)
    rate=$("$PGBIN/pgbench" -n -M prepared -c 4 -j 2 -t $((claims / 4)) -f - <<<"SELECT handle FROM ff_claim('$2', 'w', capabilities => '$3') \\gset" |
        awk '/^tps/ { print $3 }')
    after=$(spent)
    cpu=$(awk -v t=$((after - before)) -v hz="$ticks" -v n="$claims" 'BEGIN { printf "%.0f", t / hz / n * 1e6 }')
    plain=${plain:-$cpu}
    awk -v name="$name" -v rate="$rate" -v cpu="$cpu" -v plain="$plain" \
        'BEGIN { printf "%-44s %10.0f %10.0f %10.2f\n", name, rate, cpu, cpu / plain }'
}

# Numbers START to START + COUNT - 1 as capabilities.
tokens() { echo "{$(seq -f 'c%g' -s, "$1" $(($1 + $2 - 1)))}"; }

fill warm 0
drain warm-up warm '{}' >/dev/null
plain=
printf '%-44s %10s %10s %10s\n' "backlog and worker" "claims/s" "µs/claim" "ratio"
fill plain 0
drain "no requirement" plain '{}'
fill ten 10
drain "10 requirements, worker covers 1" ten "$(tokens 3 1)"
fill hundred 100
drain "100 requirements, worker covers 10" hundred "$(tokens 20 10)"
fill thousand 1000
drain "1000 requirements, worker covers 100" thousand "$(tokens 200 100)"
