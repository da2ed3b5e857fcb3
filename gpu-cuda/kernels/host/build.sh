#!/usr/bin/env bash
# Builds the kernels for the host with the machine that runs them. build.sh judge|library OUT [--sanitize] [--source FILE=REPLACEMENT] [SUBJECT...]
# CXX chooses the compiler. Only the named subjects are built, or all.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
kernels=$(dirname "$here")
what=$1 out=$2
shift 2
flags=(-std=c++17 -Wall -Wextra -Werror -Wno-unknown-pragmas -fPIC -fno-strict-aliasing -I "$kernels" -I "$here")
optimise=-O2
declare -A replaced=()
subjects=()
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) flags+=(-g1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer) optimise=-O1 ;;
    --source) shift; replaced[${1%%=*}]=${1#*=} ;;
    *) subjects+=("$1") ;;
  esac
  shift
done
if [ ${#subjects[@]} -eq 0 ]; then
  for file in "$kernels"/*.cu; do subjects+=("$(basename "$file" .cu)"); done
fi
objects=$(mktemp -d)
trap 'rm -rf "$objects"' EXIT
compile() { "${CXX:-g++}" "${flags[@]}" $optimise -c "$@"; }
jobs=()
wait_for_two() { while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done; }
for subject in "${subjects[@]}"; do
  wait_for_two
  compile -include emulator.hpp -x c++ "${replaced[$subject.cu]:-$kernels/$subject.cu}" -o "$objects/$subject.kernel.o" & jobs+=($!)
done
wait_for_two
compile "$here/machine.cc" -o "$objects/machine.o" & jobs+=($!)
if [ "$what" = judge ]; then
  for name in judge "${subjects[@]}"; do
    wait_for_two
    compile "$here/judge/$name.cc" -o "$objects/$name.judge.o" & jobs+=($!)
  done
fi
for job in "${jobs[@]}"; do wait "$job"; done
kind=()
[ "$what" = library ] && kind=(-shared)
"${CXX:-g++}" "${flags[@]}" "${kind[@]}" "$objects"/*.o -o "$out"
