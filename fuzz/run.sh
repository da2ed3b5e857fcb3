#!/usr/bin/env bash
# `fuzz/run.sh all 30` fuzzes every target for 30 seconds, `fuzz/run.sh csv 3600` one for an hour; a table of executions and coverage follows.
# What is found is left in fuzz/inputs/TARGET, so that the tests of the workspace fail until it is mended. Stable Rust will do.
set -euo pipefail
cd "$(dirname "$0")"
[ $# -eq 2 ] || { echo "usage: fuzz/run.sh TARGET|all SECONDS" >&2; exit 2; }
target_dir="$(realpath -m "${CARGO_TARGET_DIR:-../target/fuzz}")"
host="$(rustc -vV | sed -n 's/^host: //p')"

# libFuzzer's own instrumentation: which edges were taken, and what was compared with what.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
RUSTFLAGS="$flags" CARGO_TARGET_DIR="$target_dir" cargo build --release --locked --target "$host"
program="$target_dir/$host/release/mfm-fuzz"

targets=("$1")
[ "$1" = all ] && mapfile -t targets < <(sed -n 's/^    ("\([a-z-]*\)", .*/\1/p' src/targets/mod.rs)
failed=0
table=""
total=0
for target in "${targets[@]}"; do
  corpus="$target_dir/corpus/$target"
  log="$target_dir/$target.log"
  mkdir -p "$corpus" "inputs/$target"
  # libFuzzer's clock counts what other programs take; the limit of a second is on processor time, and this one is for what never ends.
  outcome=ok
  MFM_FUZZ="$target" "$program" "$corpus" "inputs/$target" -max_total_time="$2" -dict=dictionary.txt -max_len=32768 -timeout=60 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="inputs/$target/found-" >"$log" 2>&1 || { outcome=FAILED; failed=1; tail -40 "$log"; }
  executions="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)"
  coverage="$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)"
  total=$((total + ${executions:-0}))
  table+="$(printf '%-20s %12s executions %8s edges  %s' "$target" "${executions:-0}" "${coverage:-0}" "$outcome")"$'\n'
done
printf '%s%-20s %12s executions\n' "$table" total "$total"
exit $failed
