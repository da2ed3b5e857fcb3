#!/usr/bin/env bash
# Every way in which a host takes the library, on one machine.
#
#   hosts.sh WORK [MFM [DRIVER]]
#
# Builds and tests from source in WORK (a folder, whose cargo/ is kept between runs), installs to WORK/tree, and takes that tree as outside projects do:
# compilers, generators, linkages, C flags by pkg-config, sanitizers, Valgrind. From source the tests are linked with either library; by clang, and for
# Valgrind, with the static one, under sanitizers with the shared one: a host's code is the same. MFM is the command, with which results are compared;
# DRIVER is the emulated CUDA driver.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
work=$(mkdir -p "$1" && cd "$1" && pwd)
command=${2:-}
driver=${3:-}
tree=$work/tree

say() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }
run() { "$@" > "$work/log" 2>&1 || { cat "$work/log"; return 1; }; }

# build NAME SOURCE CMAKE-ARGUMENT...: configures, builds and tests.
build() {
  local name=$1 source=$2
  shift 2
  say "$name"
  run cmake -S "$source" -B "$work/$name" "$@"
  run cmake --build "$work/$name" --parallel 2
  (cd "$work/$name" && ctest --output-on-failure --parallel 2 | tail -n "${TAIL:-60}")
}

TAIL=100 build source "$here" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=g++ -DCMAKE_C_COMPILER=gcc -DMFM_COMMAND="$command" -DMFM_EMULATED_DRIVER="$driver" \
  -DMFM_CARGO_TARGET_DIR="$work/cargo" -DCMAKE_CXX_FLAGS="-Wall -Wextra -Wpedantic -Werror" -DCMAKE_C_FLAGS="-Wall -Wextra -Wpedantic -Werror"
run cmake --install "$work/source" --prefix "$tree"
library=$(readlink -f "$tree"/lib*/libmfm.so || readlink -f "$tree"/lib/*/libmfm.so)
say "the shared library has $(stat -c %s "$library") bytes, and the name $(objdump -p "$library" | awk '/SONAME/ { print $2 }')"

say "no folder of this machine is in the libraries, and all of the shared one is bound and read-only once it is loaded"
archive=$(find "$tree" -name libmfm.a)
for folder in "${CARGO_HOME:-$HOME/.cargo}" "${HOME%/}/." "$(dirname "$here")" "$work"; do
  for file in "$library" "$archive"; do
    if grep -aF "$folder" "$file" >"$work/found"; then
      echo "$file tells of $folder:" $(strings -a "$work/found" | grep -F "$folder" | head -n 3)
      exit 1
    fi
  done
done
readelf -d "$library" | grep -w NOW
readelf -l "$library" | grep GNU_RELRO

say "a library that is built with mfm and installed with it"
run cmake -S "$here/tests/exported" -B "$work/exported" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=g++ -DMFM_CARGO_TARGET_DIR="$work/cargo"
run cmake --build "$work/exported"
run cmake --install "$work/exported" --prefix "$work/exported-tree"
run cmake -S "$here/tests/exported/consumer" -B "$work/consumer" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=g++ -DCMAKE_PREFIX_PATH="$work/exported-tree"
run cmake --build "$work/consumer"
"$work/consumer/consumer" "$here/examples/digits.mfm"

# The tree is found by its mfm.pc alone.
by_pkg_config() {
  local -x PKG_CONFIG_PATH
  PKG_CONFIG_PATH=$(dirname "$(find "$1" -name mfm.pc)")
  # shellcheck disable=SC2046
  gcc -std=c99 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Werror "$here/examples/c99.c" $(pkg-config --cflags --libs mfm) -o "$work/c99"
  LD_LIBRARY_PATH=$(dirname "$PKG_CONFIG_PATH") "$work/c99" "$here/examples/digits.mfm"
}

say "pkg-config"
by_pkg_config "$tree"
for folders in "$work/placed/own/lib $work/placed/own/include" "deep/lib deep/include"; do
  read -r lib include <<<"$folders"
  say "pkg-config, with $lib and $include"
  rm -rf "$work/placed" "$work/moved"
  run cmake "$work/exported" -DCMAKE_INSTALL_LIBDIR="$lib" -DCMAKE_INSTALL_INCLUDEDIR="$include"
  run cmake --install "$work/exported" --prefix "$work/placed"
  [ "${lib:0:1}" = / ] || mv "$work/placed" "$work/moved"
  by_pkg_config "$(readlink -e "$work/placed" || readlink -e "$work/moved")"
done

say "outside project, from source"
run cmake -S "$here/tests/outside" -B "$work/fetched" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER=g++ -DFETCHCONTENT_SOURCE_DIR_MFM="$(dirname "$here")" \
  -DMFM_CARGO_TARGET_DIR="$work/cargo"
# Flags of the environment are the host's; the shim, which they would break, is not built anew.
CXXFLAGS=-fno-exceptions CFLAGS=-fno-exceptions run cmake --build "$work/fetched"
"$work/fetched/outside" "$here/examples/digits.mfm"
"$work/fetched/outside"

outside=(-DCMAKE_PREFIX_PATH="$tree" -DCMAKE_BUILD_TYPE=Release)
build gcc-make-shared "$here/examples" -G "Unix Makefiles" "${outside[@]}" -Dmfm_USE_SHARED=ON -DCMAKE_CXX_COMPILER=g++ -DCMAKE_C_COMPILER=gcc
build clang-ninja-static "$here/examples" -G Ninja "${outside[@]}" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang
build clang-make-tests "$here/tests" -G "Unix Makefiles" "${outside[@]}" -DMFM_LINKAGES=static -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_FLAGS="-Wall -Wextra -Wpedantic -Werror"

for shared in OFF ON; do
  say "a project in C alone, shared $shared"
  run cmake -S "$here/tests/plain_c" -B "$work/plain-c-$shared" -G Ninja "${outside[@]}" -Dmfm_USE_SHARED=$shared
  run cmake --build "$work/plain-c-$shared"
  "$work/plain-c-$shared/plain_c" "$here/examples/digits.mfm"
done

sanitized=(-DCMAKE_PREFIX_PATH="$tree" -DMFM_LINKAGES=shared -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_C_COMPILER=clang)
for suite in tests examples; do
  # Parts without types at run time share handles with others, so types are not compared.
  flags="-fsanitize=address,undefined -fno-sanitize=vptr -fno-sanitize-recover=all -fno-omit-frame-pointer"
  build "address-and-undefined-$suite" "$here/$suite" "${sanitized[@]}" -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_C_FLAGS="$flags"
  TSAN_OPTIONS=suppressions=$here/tests/thread.supp:allocator_may_return_null=1 \
    build "thread-$suite" "$here/$suite" "${sanitized[@]}" -Dmfm_USE_SHARED=ON -DCMAKE_CXX_FLAGS=-fsanitize=thread -DCMAKE_C_FLAGS=-fsanitize=thread
done

say Valgrind
for program in "clang-make-tests/errors_static" "clang-make-tests/dlpack_static" "clang-ninja-static/example_threads $here/examples/digits.mfm" \
  "clang-ninja-static/example_c99 $here/examples/digits.mfm"; do
  # shellcheck disable=SC2086
  (cd "$work" && run valgrind --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite ./$program && grep "ERROR SUMMARY" "$work/log")
done
say "all hosts are served"
