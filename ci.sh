#!/usr/bin/env bash
# What CI runs, on one machine with Rust and a C compiler. `./ci.sh` runs every job, `./ci.sh NAME...` some of them.
set -u
cd "$(dirname "$0")" || exit 1

jobs=(format clippy docs tests no-std cpp kernels)

format() { cargo fmt --all --check && cargo fmt --manifest-path tests/no-std/Cargo.toml --check; }

# incompatible_msrv: no use of a standard library newer than the rust-version that Cargo.toml states.
clippy() { cargo clippy --workspace --all-targets --locked -- -D warnings -D clippy::incompatible_msrv; }

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked; }

tests() { cargo test --workspace --locked; }

# The program links only if nothing below it needs the standard library, and checks a few numbers when run.
no_std() {
  cargo build -p mfm-core -p mfm-nn --no-default-features --locked &&
    cargo run --quiet --manifest-path tests/no-std/Cargo.toml --target-dir target/no-std --locked
}

# The C++ library as its hosts take it; what that needs beside a compiler is installed where it is missing.
cpp() {
  for tool in cmake ninja make g++ clang++ valgrind pkg-config; do
    if ! command -v "$tool" > /dev/null; then
      apt-get update -qq && apt-get install -y -qq cmake ninja-build make g++ clang valgrind pkg-config > /dev/null || return 1
      break
    fi
  done
  cargo build -p mfm-cli --locked && ffi/tests/hosts.sh target/cpp "$PWD/target/debug/mfm"
}

# The CUDA kernels without a GPU: judged on the host, and under AddressSanitizer and UBSan, in several orders of threads; the judge itself judged by broken
# kernels; all compiled by NVRTC, without spills to local memory, to what is in the repository.
kernels() {
  local dir=target/kernels here=gpu-cuda/kernels
  mkdir -p $dir
  if [ ! -x $dir/python/bin/python ]; then
    python3 -m venv $dir/python || { apt-get update -qq && apt-get install -y -qq g++ python3-venv > /dev/null && python3 -m venv --clear $dir/python; } || return 1
  fi
  $dir/python/bin/pip install --quiet nvidia-cuda-nvrtc==13.0.88 || return 1
  python3 $here/host/build.py judge $dir/judge && python3 $here/host/build.py judge $dir/judge-sanitized --sanitize --narrow || return 1
  { $dir/judge --schedule 1 && $dir/judge-sanitized --schedule 7; } &
  local judge=$!
  python3 $here/host/mutants.py quick && wait $judge && $dir/python/bin/python $here/compile.py check > $dir/compile.log
  local result=$?
  tail -n 1 $dir/compile.log
  return $result
}

chosen=("$@")
[ $# -eq 0 ] && chosen=("${jobs[@]}")
summary=()
failed=0
for job in "${chosen[@]}"; do
  [[ " ${jobs[*]} " == *" $job "* ]] || { echo "ci.sh: there is no job '$job'; the jobs are: ${jobs[*]}" >&2; exit 2; }
  echo "== $job"
  start=$SECONDS
  if "${job//-/_}"; then result=passed; else result=FAILED; failed=1; fi
  summary+=("$(printf '%-8s %s in %d s' "$job" "$result" $((SECONDS - start)))")
done
echo "== summary"
printf '%s\n' "${summary[@]}"
exit $failed
