// SPDX-License-Identifier: MIT OR Apache-2.0
/* Walks over keys: whole, from NULL, from a key that is not there, and of an array. */
#include "skep.h"
#include "check.h"

static const unsigned char object[] = {
#embed "maps.bpf.o"
};

enum { KEYS = 1500 };

int main(void)
{
	static unsigned char seen[KEYS];
	bpf_object_skel handle = wasm_load_bpf_object(object, sizeof(object));
	int hash = wasm_bpf_map_fd_by_name(handle, "hash"), array = wasm_bpf_map_fd_by_name(handle, "array");
	CHECK(handle && hash >= 0 && array >= 0, "load");
	uint32_t key, next, absent = 999999;
	uint64_t value;

	printf("an empty map has no first key: %d\n", bpf_map_get_next_key(hash, NULL, &next) == -ENOENT);
	for (key = 0; key < KEYS; key++) {
		value = key * 3;
		CHECK(bpf_map_update_elem(hash, &key, &value, BPF_NOEXIST) == 0, "update %u", key);
	}
	key = 5;
	printf("BPF_NOEXIST on a key that is there: %d\n", bpf_map_update_elem(hash, &key, &value, BPF_NOEXIST) == -EEXIST);
	printf("BPF_EXIST on one that is not: %d\n", bpf_map_update_elem(hash, &absent, &value, BPF_EXIST) == -ENOENT);
	int count = 0, twice = 0, wrong = 0;
	for (int err = bpf_map_get_next_key(hash, NULL, &next); !err; err = bpf_map_get_next_key(hash, &key, &next)) {
		key = next;
		CHECK(key < KEYS, "key %u", key);
		twice += seen[key]++;
		CHECK(bpf_map_lookup_elem(hash, &key, &value) == 0, "lookup %u", key);
		wrong += value != key * 3;
		count++;
	}
	printf("%d keys, %d twice, %d with a wrong value\n", count, twice, wrong);
	printf("from a key that is not there, the first: %d\n", bpf_map_get_next_key(hash, &absent, &next) == 0);
	/* One range for both pointers, as some guests do. */
	count = 0;
	for (int err = bpf_map_get_next_key(array, NULL, &key); !err; err = bpf_map_get_next_key(array, &key, &key))
		count++;
	printf("%d keys in the array\n", count);
	count = 0;
	while (bpf_map_get_next_key(hash, NULL, &key) == 0) {
		CHECK(bpf_map_delete_elem(hash, &key) == 0, "delete %u", key);
		count++;
	}
	printf("%d deleted\n", count);
	return 0;
}
