#!/usr/bin/env bash
# All tests, on a machine that may have nothing but Rust. With PG=16 or PG=18 only those that
# need a server.
source "$(dirname "$0")/env.sh"

scripts/install-tools.sh test
if [[ $PG == 15 ]]; then
    scripts/lint.sh
fi

unit() {
    [[ $PG == 15 ]] || return 0
    say "Running the unit tests"
    cargo test --lib
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=yes
{ unit && scripts/regress.sh && scripts/it.sh; } 2>&1 | tee "$log" || passed=no

# The last word is the sum over the test programs.
awk '/^test result:/ { good += $4; bad += $6; ignored += $8 }
     /^[# ]*All [0-9]+ tests passed/ { sub(/^[# ]*/, ""); good += $2 }
     /^[# ]*[0-9]+ of [0-9]+ tests failed/ { sub(/^[# ]*/, ""); bad += $1; good += $3 - $1 }
     END { printf "\n%d passed, %d failed, %d skipped\n", good, bad, ignored }' "$log"
[[ $passed == yes ]]
