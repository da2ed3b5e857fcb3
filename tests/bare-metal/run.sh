#!/usr/bin/env bash
# Builds the check for a Cortex-M4 and for WebAssembly, and runs both: the one in QEMU, the other in Node.
#
# `core` and `alloc` for these targets are built from source, which takes a compiler and the source that belongs to it. Debian has both
# (rustc-web, cargo-web, rust-web-src); CARGO, RUSTC and LINKER name others.
set -euo pipefail
cd "$(dirname "$0")"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-../../target/bare-metal}"
export RUSTC="${RUSTC:-/usr/bin/rustc}" RUSTC_BOOTSTRAP=1
cargo="${CARGO:-/usr/bin/cargo}"
linker="${LINKER:-$(rustc --print target-libdir)/../bin/rust-lld}"
export CARGO_TARGET_THUMBV7EM_NONE_EABIHF_LINKER="$linker" CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="$linker"

build() { "$cargo" build --quiet --release --locked -Z build-std=core,alloc -Z build-std-features=optimize_for_size --target "$1" --bin "$2"; }

echo "Cortex-M4"
build thumbv7em-none-eabihf cortex_m4
# One instruction takes one nanosecond of the board's time, so its timer counts instructions.
qemu-system-arm -M mps2-an386 -nographic -icount shift=0 -semihosting-config enable=on,target=native \
  -kernel "$CARGO_TARGET_DIR/thumbv7em-none-eabihf/release/cortex_m4"

echo "WebAssembly"
build wasm32-unknown-unknown wasm
node wasm.mjs "$CARGO_TARGET_DIR/wasm32-unknown-unknown/release/wasm.wasm"
