// SPDX-License-Identifier: MIT OR Apache-2.0
/* Three objects in one guest: their maps are their own, a handle serves its object only, and not after its close. */
#include "skep.h"
#include "check.h"

static const unsigned char maps_object[] = {
#embed "maps.bpf.o"
};
static const unsigned char burst_object[] = {
#embed "burst.bpf.o"
};

static int never(void *ctx, void *data, size_t size)
{
	CHECK(false, "a record from nowhere");
	return 0;
}

int main(void)
{
	static char record[64];
	uint32_t key = 7;
	uint64_t value;
	bpf_object_skel a = wasm_load_bpf_object(maps_object, sizeof(maps_object));
	bpf_object_skel b = wasm_load_bpf_object(maps_object, sizeof(maps_object));
	bpf_object_skel c = wasm_load_bpf_object(burst_object, sizeof(burst_object));
	CHECK(a && b && c && a != b && b != c && a != c, "handles");
	int hash_a = wasm_bpf_map_fd_by_name(a, "hash"), hash_b = wasm_bpf_map_fd_by_name(b, "hash");
	int rb = wasm_bpf_map_fd_by_name(c, "rb");
	CHECK(hash_a >= 0 && hash_b >= 0 && rb >= 0, "map handles");
	printf("same name, same handle: %d\n", wasm_bpf_map_fd_by_name(a, "hash") == hash_a);
	printf("two objects, two maps: %d\n", hash_a != hash_b);

	value = 1;
	CHECK(bpf_map_update_elem(hash_a, &key, &value, BPF_ANY) == 0, "update a");
	printf("the other map is empty: %d\n", bpf_map_lookup_elem(hash_b, &key, &value) == -ENOENT);
	int foreign = wasm_bpf_buffer_poll(a, rb, (int32_t)(intptr_t)never, 0, record, sizeof(record), 1);
	printf("poll with another object's map refused: %d\n", foreign < 0);
	printf("a program of another object: %d\n", wasm_attach_bpf_program(a, "on_getpgid", NULL) < 0);
	printf("a map of another object: %d\n", wasm_bpf_map_fd_by_name(a, "rb") < 0);

	CHECK(wasm_close_bpf_object(a) == 0, "close a");
	printf("a closed object's map is gone: %d\n", bpf_map_lookup_elem(hash_a, &key, &value) < 0);
	printf("its programs too: %d\n", wasm_attach_bpf_program(a, "unused", NULL) < 0);
	printf("the others stay: %d\n", bpf_map_update_elem(hash_b, &key, &value, BPF_ANY) == 0);
	printf("closing twice: %d\n", wasm_close_bpf_object(a));
	bpf_object_skel again = wasm_load_bpf_object(maps_object, sizeof(maps_object));
	printf("no handle is given out twice: %d\n", again && again != a);
	return 0;
}
