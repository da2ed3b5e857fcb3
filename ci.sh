#!/usr/bin/env bash
# What CI runs, on one machine with Rust and a C compiler. `./ci.sh` runs every job, `./ci.sh NAME...` some of them.
set -u
cd "$(dirname "$0")" || exit 1

jobs=(format clippy docs tests no-std cpp)

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
