// SPDX-License-Identifier: MIT OR Apache-2.0
/* map_operate as the public Rust and Go SDKs declare it, with pointers of 64 bits. */
#define wasm_bpf_map_operate narrow_map_operate /* the header's declaration, not called here */
#include "skep/imports.h"
#undef wasm_bpf_map_operate
#include "check.h"

SKEP_IMPORT("wasm_bpf", "wasm_bpf_map_operate")
int wide_map_operate(int map, int cmd, uint64_t key, uint64_t value, uint64_t next_key, uint64_t flags);

static const unsigned char object[] = {
#embed "maps.bpf.o"
};

#define AT(variable) ((uint64_t)(uintptr_t)&(variable))

int main(void)
{
	uint32_t key = 3, next = 0;
	uint64_t value = 42, out = 0;
	bpf_object_skel handle = wasm_load_bpf_object(object, sizeof(object));
	int hash = wasm_bpf_map_fd_by_name(handle, "hash");
	CHECK(handle && hash >= 0, "load");
	printf("update %d\n", wide_map_operate(hash, 2, AT(key), AT(value), 0, 0));
	int err = wide_map_operate(hash, 1, AT(key), AT(out), 0, 0);
	printf("lookup %d: %llu\n", err, (unsigned long long)out);
	err = wide_map_operate(hash, 4, 0, 0, AT(next), 0);
	printf("first key %d: %u\n", err, next);
	printf("key after the last %d\n", wide_map_operate(hash, 4, AT(key), 0, AT(next), 0));
	printf("delete %d\n", wide_map_operate(hash, 3, AT(key), 0, 0, 0));
	printf("lookup %d\n", wide_map_operate(hash, 1, AT(key), AT(out), 0, 0));
	/* Truncated to 32 bits, this would be a good pointer. */
	printf("beyond 4 GiB refused: %d\n", wide_map_operate(hash, 1, AT(key) + (1ull << 32), AT(out), 0, 0) < 0);
	return 0;
}
