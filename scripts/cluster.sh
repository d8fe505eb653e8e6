#!/usr/bin/env bash
# Private clusters of this checkout, each with its own data directory, socket and port. They are
# reached through the socket only, whose directory belongs to the server's user.
#
#   cluster.sh start NAME [setting=value …]   made when missing; returns when it answers
#   cluster.sh standby NAME OF [setting=value …]   a physical standby of OF, which runs
#   cluster.sh restart NAME [setting=value …]
#   cluster.sh stop NAME [fast|smart|immediate]
#   cluster.sh drop NAME                      stopped at once, files removed
#   cluster.sh env NAME                       shell exports that lead a client to it
#   cluster.sh psql NAME [argument …]
#   cluster.sh list [running]
#
# The part of NAME before the first '-' is its kind: 'nopreload' preloads nothing, 'cron' preloads
# pg_cron, any other preloads ff_engine. 'main' and 'bench' are durable; the rest are for tests
# and skip fsync. Settings given at a start stay with the cluster. FF_CLUSTERS names another folder
# to keep the clusters in.
source "$(dirname "$0")/env.sh"

make_home
clusters=${FF_CLUSTERS:-$FF_HOME/clusters-$PG}

use() {
    name=${1:?"the name of a cluster is missing"}
    [[ $name =~ ^[a-z0-9][a-z0-9_-]{0,23}$ ]] ||
        fail "'$name' is no name for a cluster: up to 24 of a-z, 0-9, '_' and '-'"
    kind=${name%%-*}
    directory=$clusters/$name
    data=$directory/data
    log=$directory/log
    # Unlike the default port, one of its own never leads to a server of the user's by mistake.
    port=$((20000 + $(cksum <<<"$directory" | cut -d' ' -f1) % 20000))
}

# initdb takes a second, copying what it made a fifth of that.
template() {
    local made=$clusters/.template fresh
    if [[ ! -d $made ]]; then
        fresh=$(as_server mktemp -d "$clusters/.template.XXXXXX")
        as_server "$PGBIN/initdb" -D "$fresh" -U postgres -A trust -E UTF8 --locale=C.UTF-8 \
            --no-sync >/dev/null
        as_server mv -T "$fresh" "$made" 2>/dev/null || as_server rm -rf "$fresh"
    fi
    echo "$made"
}

create() {
    if ((EUID == 0)); then
        install -d -o postgres -g postgres "$clusters"
    else
        mkdir -p "$clusters"
    fi
    as_server mkdir -m 700 "$directory"
    as_server cp -a "$(template)" "$data"
    set_up "listen_addresses=" "port=$port" "unix_socket_directories=$directory" \
        "max_connections=200" "max_worker_processes=32" "log_line_prefix=%m [%p] %q%a "
    case $kind in
        nopreload) ;;
        cron) set_up "shared_preload_libraries=pg_cron" "cron.database_name=postgres" "cron.host=$directory" ;;
        *) set_up "shared_preload_libraries=ff_engine" ;;
    esac
    case $kind in
        main | bench) ;;
        *) set_up "fsync=off" ;;
    esac
}

# The last line for a setting counts.
set_up() {
    local setting
    (($# > 0)) || return 0
    for setting in "$@"; do
        printf "%s = '%s'\n" "${setting%%=*}" "${setting#*=}"
    done | as_server tee -a "$data/postgresql.conf" >/dev/null
}

answers() { "$PGBIN/pg_isready" -q -h "$directory" -p "$port"; }

# The process that the lock file names may be dead and uncollected, or by now a stranger.
alive() {
    local pid
    pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) &&
        as_server test "/proc/$pid/cwd" -ef "$data"
}

# After a crash the lock file or the shared memory may be in use for a moment longer.
start() {
    local until=$((SECONDS + 30))
    [[ -d $data ]] || create
    set_up "$@"
    until answers; do
        if as_server "$PGBIN/pg_ctl" start -w -s -D "$data" -l "$log" >/dev/null 2>&1; then
            return
        fi
        if ((SECONDS > until)) || ! tail -n 5 "$log" | grep -qE 'lock file .* already exists|pre-existing shared memory'; then
            tail -n 20 "$log" >&2
            fail "cluster '$name' does not start; its log is $log"
        fi
        sleep 0.2
    done
}

# A copy of a running cluster that goes on replaying what that one writes.
standby() {
    local source_directory source_port
    use "$1"
    source_directory=$directory source_port=$port
    use "$2"
    shift 2
    as_server mkdir -m 700 "$directory"
    as_server "$PGBIN/pg_basebackup" -D "$data" -R -X stream -c fast --no-sync \
        -h "$source_directory" -p "$source_port" -U postgres
    set_up "port=$port" "unix_socket_directories=$directory"
    start "$@"
}

stop() {
    if alive; then
        as_server "$PGBIN/pg_ctl" stop -w -s -D "$data" -m "${1:-fast}"
    fi
}

list() {
    local each
    for each in "$clusters"/*/; do
        [[ -d $each ]] || continue
        use "$(basename "$each")"
        if [[ ${1:-} != running ]] || alive; then
            echo "$name"
        fi
    done
}

command=${1:?"a command is missing; the head of this script lists them"}
shift
if [[ $command == list ]]; then
    list "$@"
    exit
fi
if [[ $command == standby ]]; then
    copy=${1:?"the name of a cluster is missing"}
    standby "${2:?"the cluster to copy is missing"}" "$copy" "${@:3}"
    exit
fi
use "$@"
shift
case $command in
    start) start "$@" ;;
    restart)
        stop
        start "$@"
        ;;
    stop) stop "$@" ;;
    drop)
        stop immediate
        rm -rf "$directory"
        ;;
    env)
        printf 'export PGHOST=%q PGPORT=%q PGUSER=postgres PGDATABASE=postgres\n' "$directory" "$port"
        printf 'export FF_PGDATA=%q FF_PGLOG=%q\n' "$data" "$log"
        ;;
    psql) exec "$PGBIN/psql" -h "$directory" -p "$port" -U postgres -d postgres "$@" ;;
    *) fail "cluster.sh has no command '$command'" ;;
esac
