#!/bin/sh
# Builds the programs in Rust. With rustup: `rustup target add wasm32-unknown-unknown`; without, Debian's rustc-web,
# rust-web-src and lld-19. The results are committed; the bytes differ from one compiler to the next, the checksums do
# not.
set -e
cd "$(dirname "$0")"
target=wasm32-unknown-unknown
unset CARGO_TARGET_DIR RUSTUP_TOOLCHAIN
export RUSTFLAGS="-Clink-arg=-zstack-size=16384 --remap-path-prefix=$PWD=."
out=${OUT:-../../../target/kernel-programs}
if [ -d "$(rustc --print target-libdir --target $target 2>/dev/null)" ]; then
	cargo build --release --examples --target $target --target-dir "$out"
else
	RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19 \
		cargo build --release --examples --target $target --target-dir "$out" -Zbuild-std=core
fi
for source in examples/*.rs; do
	name=$(basename "$source" .rs)
	cp "$out/$target/release/examples/$name.wasm" "../programs/rust-$name.wasm"
done
