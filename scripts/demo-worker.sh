#!/usr/bin/env bash
# One worker of the demo. It has nothing but psql: it claims, works, reports, and waits for more.
#
#   demo-worker.sh NAME LANE [START]     START is the EPOCHREALTIME that the shown times count from
set -euo pipefail

name=$1 lane=$2 start=${3:-$EPOCHREALTIME}

sql() {
    psql -qXAt -F '|' -v ON_ERROR_STOP=1 -v lane="$lane" -v worker="$name" -v handle="${handle:-}" "$@"
}

tell() {
    local tenths=$(((${EPOCHREALTIME/[.,]/} - ${start/[.,]/}) / 100000))
    printf '%5d.%d s  %-5s %s\n' $((tenths / 10)) $((tenths % 10)) "$name" "$*"
}

claim() {
    sql <<'SQL'
SELECT handle, kind, convert_from(payload, 'UTF8'), attempt_index, attempt_type
  FROM ff_claim(:'lane', :'worker', lease_ttl => '3 s');
SQL
}

# The lease is shorter than the film, so it is renewed on the way.
make_film() {
    local percent
    for percent in 25 50 75; do
        sleep 0.6
        sql -v percent="$percent" >/dev/null <<'SQL'
SELECT ff_progress(:'handle', :percent);
SELECT ff_renew(:'handle');
SQL
        tell "film '$payload' is at $percent %"
    done
}

fail() {
    local delay
    delay=$(sql <<'SQL'
SELECT round(extract(epoch FROM delay_until - clock_timestamp())::numeric, 1)
  FROM ff_fail(:'handle', 'the mail server is busy');
SQL
    )
    tell "mail '$payload' fails: the mail server is busy. It is tried again in $delay s"
}

complete() {
    sql -v result="$kind $payload by $name" >/dev/null <<'SQL'
SELECT ff_complete(:'handle', convert_to(:'result', 'UTF8'));
SQL
    tell "completes $kind '$payload'"
}

while true; do
    if ! IFS='|' read -r handle kind payload attempt type < <(claim); then
        sql >/dev/null <<<"CALL ff_wait_for_work(:'lane', '5 s');"
        continue
    fi
    tell "claims $kind '$payload' (attempt $attempt, $type)"
    case $kind in
        photo) sleep 0.4 ;;
        film) make_film ;;
        mail)
            sleep 0.2
            if ((attempt < 2)); then
                fail
                continue
            fi
            ;;
    esac
    complete
done
