#!/usr/bin/env bash
# What required capabilities cost a claim: claims of one execution out of a backlog of 100 000, most of which the
# worker cannot run, beside claims out of a backlog without requirements.
#
#   bench/capabilities.sh [claims] [rounds] [backlog]
#
# In every round so many claims with four connections come from each backlog in turn. Columns: medians of the claims per
# second and of the server's processor time per claim, and the latter as a multiple of the plain claim's. A cluster of
# its own is started and removed.
source "$(dirname "$0")/../scripts/env.sh"

claims=${1:-4000}
rounds=${2:-5}
backlog=${3:-100000}
trap 'scripts/cluster.sh drop capabilities' EXIT
scripts/cluster.sh start capabilities shared_buffers=512MB max_wal_size=8GB autovacuum=off
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
}

# drain LANE CAPABILITIES: a line with the claims per second and the microseconds of a claim
drain() {
    local before rate
    before=$(spent)
    rate=$("$PGBIN/pgbench" -n -M prepared -c 4 -j 2 -t $((claims / 4)) -f - <<<"SELECT handle FROM ff_claim('$1', 'w', capabilities => '$2') \\gset" |
        awk '/^tps/ { print $3 }')
    awk -v rate="$rate" -v t=$(($(spent) - before)) -v hz="$ticks" -v n="$claims" 'BEGIN { print rate, t / hz / n * 1e6 }'
}

# Numbers START to START + COUNT - 1 as capabilities.
tokens() { echo "{$(seq -f 'c%g' -s, "$1" $(($1 + $2 - 1)))}"; }

median() { sort -n | awk '{ line[NR] = $1 } END { print line[int((NR + 1) / 2)] }'; }

work=$(mktemp -d)
trap 'scripts/cluster.sh drop capabilities; rm -r "$work"' EXIT
sets=(0 10 100 1000)
for n in "${sets[@]}"; do fill "lane$n" "$n"; done
query -c "VACUUM ANALYZE" -c CHECKPOINT
for ((round = 0; round < rounds; round++)); do
    for n in "${sets[@]}"; do
        drain "lane$n" "$(tokens 0 $((n / 10)))" >>"$work/$n"
    done
done
printf '%-44s %10s %10s %10s\n' "requirement sets, and how many match" "claims/s" "µs/claim" "ratio"
plain=$(cut -d' ' -f2 "$work/0" | median)
for n in "${sets[@]}"; do
    awk -v name="$n, $((n / 10))" -v rate="$(cut -d' ' -f1 "$work/$n" | median)" \
        -v cpu="$(cut -d' ' -f2 "$work/$n" | median)" -v plain="$plain" \
        'BEGIN { printf "%-44s %10.0f %10.0f %10.2f\n", name, rate, cpu, cpu / plain }'
done
