#!/usr/bin/env bash
# Checks the ff_engine that is installed in a running server, in a database made for the purpose
# and dropped afterwards. libpq's variables (PGHOST, PGPORT, PGUSER) lead to the server; the role
# must be a superuser.
set -euo pipefail
cd "$(dirname "$0")/.."

database=ff_engine_installcheck
export PGOPTIONS='-c client_min_messages=warning'

psql -qX -d postgres -v ON_ERROR_STOP=1 -c "CREATE DATABASE $database"
trap 'psql -qX -d postgres -c "DROP DATABASE $database WITH (FORCE)"' EXIT
psql -qX -d "$database" -v ON_ERROR_STOP=1 -P footer=off -f scripts/installcheck.sql
echo "ff_engine works on this server."
