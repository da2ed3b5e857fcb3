#!/usr/bin/env bash
# `fuzz/run.sh all 30` fuzzes every target for 30 seconds, two at a time for each processor, `fuzz/run.sh csv 3600` one for an hour; a table
# of executions and coverage follows. What is found is left in fuzz/inputs/TARGET, so that the tests of the workspace fail until it is mended.
# A third word is a seed: from an empty corpus, the same inputs are then tried in the same order, as far as the time reaches. Stable Rust will do.
# `fuzz/run.sh list` only compiles, beside the workspace's own programs, with which it shares the tools of the build, and prints the targets.
set -euo pipefail
cd "$(dirname "$0")"
[ $# -eq 2 ] || [ $# -eq 3 ] || [ "$*" = list ] || { echo "usage: fuzz/run.sh list | fuzz/run.sh 'TARGET...'|all SECONDS [SEED]" >&2; exit 2; }
seconds="${2:-}"
seed="${3:-}"
target_dir="$(realpath -m "${CARGO_TARGET_DIR:-../target}")"
host="$(rustc -vV | sed -n 's/^host: //p')"

# libFuzzer's own instrumentation: which edges were taken, and what was compared with what.
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
RUSTFLAGS="$flags" CARGO_TARGET_DIR="$target_dir" cargo build --locked --target "$host"
program="$target_dir/$host/debug/mfm-fuzz"
known="$(MFM_FUZZ=list "$program")"
[ -n "$known" ] || { echo "fuzz/run.sh: there are no targets" >&2; exit 1; }
[ "$1" = list ] && { echo "$known"; exit; }
logs="$target_dir/fuzz"
mkdir -p "$logs"

# Fuzzes one target; its words go to a log, and so does how it ended.
fuzz() {
  local corpus="$logs/corpus/$1" log="$logs/$1.log" status=0 seeded=()
  # What was compared is kept in a table whose order depends on addresses.
  [ -z "$seed" ] || { seeded=(-seed="$seed" -use_cmp=0) && rm -rf "$corpus"; }
  mkdir -p "$corpus" "inputs/$1"
  # libFuzzer's clock counts what other programs take; the limit of a second is on processor time, and this one is for what never ends.
  MFM_FUZZ="$1" "$program" "$corpus" "inputs/$1" -max_total_time="$seconds" -dict=dictionary.txt -max_len=32768 -timeout=60 \
    -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="inputs/$1/found-" "${seeded[@]}" >"$log" 2>&1 || status=$?
  echo "ended with $status" >>"$log"
}

# Files that a target makes, on the fastest disk there is.
[ -d /dev/shm ] && export TMPDIR=/dev/shm

read -ra targets <<<"$1"
[ "$1" = all ] && mapfile -t targets <<<"$known"
for target in "${targets[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge $((2 * $(nproc))) ]; do wait -n; done
  fuzz "$target" &
done
wait

failed=0
total=0
table=""
for target in "${targets[@]}"; do
  log="$logs/$target.log"
  outcome=ok
  [ "$(tail -1 "$log")" = "ended with 0" ] || { outcome=FAILED; failed=1; echo "$target:"; tail -40 "$log"; }
  executions="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)"
  coverage="$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)"
  total=$((total + ${executions:-0}))
  table+="$(printf '%-20s %12s executions %8s edges  %s' "$target" "${executions:-0}" "${coverage:-0}" "$outcome")"$'\n'
done
printf '%s%-20s %12s executions\n' "$table" total "$total"
exit $failed
