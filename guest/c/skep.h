/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The C SDK of world `program`: a WASI command that carries its eBPF object, loads it, attaches and polls.
 *
 * Source-compatible with programs written for wasm-bpf's libbpf-wasm.h (which is here too and includes this file), and,
 * where the skeleton comes from an unmodified `bpftool gen skeleton`, with the part of libbpf's own interface that a
 * small tool needs. Build with
 *
 *     clang --target=wasm32-wasi -Os -I guest/c -Wl,--export-table -Wl,--stack-first tool.c -o tool.wasm
 *
 *   skep/imports.h   the host's functions
 *   skep/errno.h     the kernel's error numbers as this C library's
 *   skep/uapi.h      numbers of the kernel's interface
 *   skep/map.h       lookup, update, delete, walk
 *   skep/object.h    objects, programs, skeletons
 *   skep/buffer.h    ring and perf buffers through a callback
 *   skep/shared.h    maps in this module's own memory (Skep only; include it by name)
 *   skep/iter.h      what iterators print (Skep only; include it by name)
 *
 * Every function that can fail returns a negative errno or NULL, as in libbpf; none prints.
 */
#ifndef SKEP_H
#define SKEP_H

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "skep/imports.h"
#include "skep/uapi.h"
#include "skep/map.h"
#include "skep/object.h"
#include "skep/buffer.h"

#endif /* SKEP_H */
