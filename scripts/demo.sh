#!/usr/bin/env bash
# The main job, live: executions are created, claimed, retried and recovered by workers that are
# nothing but psql. It brings its own server and may be run as often as one likes.
source "$(dirname "$0")/env.sh"

scripts/up.sh
eval "$(scripts/cluster.sh env main)"
PATH=$PGBIN:$PATH
lane=demo-$(date +%Y%m%d-%H%M%S)

sql() { psql -qX -v ON_ERROR_STOP=1 -v lane="$lane" -P footer=off "$@"; }
ask() { sql -At -v film="${film:-}" <<<"$1"; }

# A process group of its own, so that a worker dies with everything it runs.
declare -A workers
hire() {
    setsid scripts/demo-worker.sh "$1" "$lane" "$start" &
    workers[$1]=$!
    disown
}

dismiss() {
    kill -s "$2" -- "-${workers[$1]}"
    unset "workers[$1]"
}

dismiss_all() {
    local name
    for name in "${!workers[@]}"; do
        dismiss "$name" TERM
    done
}

# Asks until the answer is 't'.
until_true() {
    local patience=$((SECONDS + 30))
    until [[ $(ask "$1") == t ]]; do
        ((SECONDS < patience)) || fail "the demo waits in vain for: $1; the log of the server is $FF_PGLOG"
        sleep 0.1
    done
}

say "One execution by hand"
sql -a -f scripts/demo.sql

say "A film, a mail and six photos for three workers. A mail that fails is tried again after 0.8 s,
    then 1.6 s. Leases last 3 s."
film=$(ask "SELECT execution_id FROM ff_create_execution(:'lane', 'film', 'holiday', priority => 10)")
sql >/dev/null <<'SQL'
SELECT ff_create_execution(:'lane', 'mail', 'invitation', priority => 5, policy =>
    '{"retry_policy": {"max_retries": 3, "backoff": {"type": "exponential", "initial_delay_ms": 800}}}');
SELECT ff_create_many(:'lane', 'photo', '{harbour,sunrise,market,bridge,garden,night}');
SQL

trap dismiss_all EXIT
start=$EPOCHREALTIME
hire anna
until_true "SELECT worker = 'anna' FROM ff_describe_execution(:'film')"
hire bo
hire cleo
until_true "SELECT progress_pct >= 50 FROM ff_describe_execution(:'film')"
dismiss anna KILL
say "anna is killed (kill -9) in the middle of the film. Her lease runs out, the background worker
    notices, and somebody else takes over"
until_true "SELECT bool_and(public_state = 'completed') FROM ff_list_executions(lane => :'lane')"
dismiss_all

say "A refund needs an approval. Its worker asks, gives the lease back, and nothing runs meanwhile"
ask "SELECT format('key k1: %s', outcome) FROM ff_seed_waitpoint_secret('k1')"
refund=$(ask "SELECT execution_id FROM ff_create_execution(:'lane', 'refund', '42 euros')")
IFS='|' read -r point token < <(ask "SELECT s.waitpoint_id, s.waitpoint_token
    FROM ff_claim(:'lane', 'dora') AS c
   CROSS JOIN LATERAL ff_suspend(c.handle, ff_cond_signal('manager', 'approved', 'rejected'),
                                 reason => 'waiting_for_approval', timeout => '3 days') AS s")
sql -v refund="$refund" <<'SQL'
SELECT e.public_state, e.blocking_reason, w.waitpoint_key, w.required_signal_names, w.token_fingerprint, w.expires_at
  FROM ff_describe_execution(:'refund') AS e CROSS JOIN LATERAL ff_list_pending_waitpoints(e.execution_id) AS w;
SQL
say "Somebody without the token tries to approve it"
sql -v ON_ERROR_STOP=0 -v point="$point" <<'SQL'
SELECT ff_deliver_signal(:'point', 'k1:' || repeat('0', 64), 'approved');
SQL
say "The manager has the token: another client, another connection, a signed signal"
sql -v point="$point" -v token="$token" <<'SQL'
SELECT outcome, effect, resumed, public_state
  FROM ff_deliver_signal(:'point', :'token', 'approved', '"with pleasure"', source_type => 'person',
                         source_identity => 'the manager', idempotency_key => 'click-1');
SQL
say "Any worker goes on with the same attempt, and sees who answered what"
sql <<'SQL'
SELECT handle, handle_kind, attempt_index, lease_epoch FROM ff_claim(:'lane', 'emil') \gset
\echo emil holds a :handle_kind attempt :attempt_index under lease epoch :lease_epoch
SELECT signal_name, source_identity, convert_from(payload, 'UTF8') AS payload, closer FROM ff_observe_signals(:'handle');
SELECT outcome FROM ff_complete(:'handle', 'paid back');
SQL

say "What the engine remembers of the film's leases"
sql -v film="$film" <<'SQL'
SELECT to_char(occurred_at, 'HH24:MI:SS.MS') AS at, event, worker, reason, lease_epoch, attempt_index
  FROM ff_lease_history(:'film') ORDER BY event_id;
SQL

say "All executions of this run"
sql <<'SQL'
SELECT d.kind, d.public_state, d.total_attempt_count AS attempts, d.retry_count AS retries,
       d.lease_reclaim_count AS recoveries, convert_from(r.result, 'UTF8') AS result
  FROM ff_list_executions(lane => :'lane') AS l
  CROSS JOIN LATERAL ff_describe_execution(l.execution_id) AS d
  CROSS JOIN LATERAL ff_get_execution_result(l.execution_id) AS r
 ORDER BY d.created_at;
SELECT count(*) AS violated_invariants FROM ff_check_invariants();
SQL

cat <<TEXT
Every worker was a shell loop around psql: scripts/demo-worker.sh.
The server keeps running. Now you:

  make psql                                   a session in it (or: . .cluster/env && psql)
    SELECT * FROM ff_list_executions();       what there is
    SELECT * FROM ff_read_events('start');    what happened
    \\df ff_*                                  everything that can be called

  . .cluster/env                              a worker of your own, to be given work with
  scripts/demo-worker.sh me my-lane           SELECT ff_create_execution('my-lane', 'photo', 'you')

  make down                                   stop the server
TEXT
