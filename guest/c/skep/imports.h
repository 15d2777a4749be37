/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The host's functions: module `wasm_bpf`. Their types stand in crates/abi/src/program.rs; a test compares. */
#ifndef SKEP_IMPORTS_H
#define SKEP_IMPORTS_H

#include <stdint.h>

#define SKEP_IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

/* A loaded object, positive; 0 is none. */
typedef uint64_t bpf_object_skel;

/* Opens and loads the ELF object of `len` bytes at `buf`; 0 on failure, the reason is on the host's standard error. */
SKEP_IMPORT("wasm_bpf", "wasm_load_bpf_object")
bpf_object_skel wasm_load_bpf_object(const void *buf, int len);

/* Detaches the object's programs and frees it; 0, or -1 for a handle that is not one. */
SKEP_IMPORT("wasm_bpf", "wasm_close_bpf_object")
int wasm_close_bpf_object(bpf_object_skel object);

/* Attaches one program, where its section says if `target` is NULL or empty. */
SKEP_IMPORT("wasm_bpf", "wasm_attach_bpf_program")
int wasm_attach_bpf_program(bpf_object_skel object, const char *name, const char *target);

/* The same with a preopened directory as the target: a cgroup. */
SKEP_IMPORT("wasm_bpf", "wasm_attach_bpf_program_fd")
int wasm_attach_bpf_program_fd(bpf_object_skel object, const char *name, int wasi_fd);

/* The handle of a map, or a negative errno. */
SKEP_IMPORT("wasm_bpf", "wasm_bpf_map_fd_by_name")
int wasm_bpf_map_fd_by_name(bpf_object_skel object, const char *name);

/* Waits up to `timeout_ms` for records of a ring or perf buffer and calls the function at table index `sample_fn` with
 * (ctx, data, size) for each; a record longer than `max` bytes is cut. */
SKEP_IMPORT("wasm_bpf", "wasm_bpf_buffer_poll")
int wasm_bpf_buffer_poll(bpf_object_skel object, int map, int32_t sample_fn, uint32_t ctx, char *data, int max,
			 int timeout_ms);

/* One of enum bpf_cmd on a map. */
SKEP_IMPORT("wasm_bpf", "wasm_bpf_map_operate")
int wasm_bpf_map_operate(int map, int cmd, void *key, void *value, void *next_key, uint64_t flags);

#endif /* SKEP_IMPORTS_H */
