#!/bin/sh
# Builds the programs for WebAssembly: clang 19 and lld 19. The results are committed; the bytes differ from one
# compiler to the next, the checksums do not.
set -e
cd "$(dirname "$0")"
for source in *.c; do
	clang-19 --target=wasm32 -O2 -nostdlib -ffreestanding -mbulk-memory -Wl,--no-entry -Wl,--strip-all \
		-Wl,-z,stack-size=4096 -Wl,--export=run -o "${source%.c}.wasm" "$source"
done
