#!/usr/bin/env bash
# Format, clippy and shellcheck; every warning is an error.
source "$(dirname "$0")/env.sh"

say "Checking format, clippy and shell scripts"
cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
shellcheck "${scripts[@]}"
