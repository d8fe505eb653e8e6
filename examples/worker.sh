#!/usr/bin/env bash
# A worker in bash and psql: claims executions of a lane, works, completes them, waits for more.
#
#   worker.sh LANE [LEASE]      LEASE in whole seconds, 30 by default
#
# libpq's variables (PGHOST, PGDATABASE, …) lead to the database. SIGTERM lets the work in hand end.
# Every statement is a connection of its own: good for work of seconds, too dear for milliseconds.
set -euo pipefail

lane=$1 lease=${2:-30}
instance=$(hostname)-$$
stopping=

# Yours, from payload on standard input to result on standard output. Status and last words on
# standard error fail the attempt.
work() {
    case $kind in
        shout) tr '[:lower:]' '[:upper:]' ;;
        sleep) sleep "$(cat)" && printf slept ;;
        *) echo "no idea how to $kind" >&2 && return 1 ;;
    esac
}

sql() {
    psql -qXAt -F $'\t' -v ON_ERROR_STOP=1 -v lane="$lane" -v instance="$instance" \
        -v lease="$lease s" -v handle="${handle:-}" "$@"
}

renew() {
    while sleep "$((lease / 3))"; do
        sql <<<"SELECT ff_renew(:'handle');"
    done
}

# Renewing ends by itself when the server refuses it; psql has said why.
end_renewal() {
    kill "$renewal" 2>/dev/null || echo "the lease of $kind was not renewed to the end" >&2
}

# psql's status is 3 when the server refuses a statement, here because the lease has been lost.
perform() {
    local result renewal words
    words=$(mktemp)
    renew >/dev/null &
    renewal=$!
    if result=$(base64 -d <<<"$payload" | work 2>"$words" | base64 -w 0); then
        end_renewal
        # Writes of your own, between BEGIN and COMMIT, commit together with the completion.
        sql -v result="$result" >/dev/null <<<"SELECT ff_complete(:'handle', decode(:'result', 'base64'));" ||
            (($? == 3))
    else
        end_renewal
        sql -v words="$(<"$words")" >/dev/null <<<"SELECT ff_fail(:'handle', :'words');" || (($? == 3))
    fi
    rm "$words"
}

trap 'stopping=yes' TERM
while [[ ! $stopping ]]; do
    job=$(sql <<'SQL'
SELECT handle, kind, translate(encode(payload, 'base64'), E'\n', '')
  FROM ff_claim(:'lane', 'example', :'instance', lease_ttl => :'lease');
SQL
    )
    if [[ $job ]]; then
        IFS=$'\t' read -r handle kind payload <<<"$job"
        perform
    else
        # A trap has to wait for the running command, so the wait is short.
        sql >/dev/null <<<"CALL ff_wait_for_work(:'lane', '5 s');"
    fi
done
