#!/bin/sh
# Hands each reader so many inputs of libFuzzer's, on the stable compiler, and stops at the first that makes
# one panic, hang for 20 s or ask for more than 2 GB.
#
#   sh fuzz/run.sh [INPUTS] [READER...]
#
# INPUTS: 1000000 if not said. READER: those of src/outside/; all if none is named. A corpus of what reached
# new code grows in fuzz/corpus/, and what fails is kept in fuzz/artifacts/.
set -eu
cd "$(dirname "$0")"
inputs=${1:-1000000}
[ $# -eq 0 ] || shift
target=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-target}
args=-sanitizer-coverage
export CARGO_INCREMENTAL=0 CARGO_PROFILE_RELEASE_OPT_LEVEL=2
export CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true
export RUSTFLAGS="--cfg fuzzing -Ccodegen-units=4 -Cpasses=sancov-module -Cllvm-args=$args-level=4 \
-Cllvm-args=$args-inline-8bit-counters -Cllvm-args=$args-pc-table -Cllvm-args=$args-trace-compares"
# With --target the flags are not those of build scripts.
cargo build --release --bins --target "$target"
[ $# -gt 0 ] || set -- $(basename -s .rs fuzz_targets/*.rs)
for reader in "$@"; do
    mkdir -p "artifacts/$reader"
    echo "== $reader"
    DREAM_SEEDS=corpus/$reader "$folder/$target/release/$reader"
    "$folder/$target/release/$reader" "corpus/$reader" -runs="$inputs" -max_len=16384 -timeout=20 \
        -rss_limit_mb=2048 -artifact_prefix="artifacts/$reader/" -print_final_stats=1 \
        > "artifacts/$reader/log" 2>&1 || { tail -40 "artifacts/$reader/log"; exit 1; }
    grep -E 'number_of_executed_units|average_exec_per_sec|peak_rss_mb' "artifacts/$reader/log"
done
