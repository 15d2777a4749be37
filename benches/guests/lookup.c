// SPDX-License-Identifier: MIT OR Apache-2.0
/* Lookups in a hash map of 1024 keys. Reads how many; makes them. The same source is the guest and the baseline. */
#include "lookup.skel.h"
#ifndef __wasm__
#include <bpf/bpf.h>
#endif
#include "../bench.h"

enum { KEYS = 1024 };

int main(void)
{
	unsigned long count;
	struct lookup_bpf *skel = lookup_bpf__open_and_load();
	CHECK(skel, "load");
	int hash = bpf_map__fd(skel->maps.hash);
	for (uint32_t key = 0; key < KEYS; key++) {
		uint64_t value = key;
		CHECK(bpf_map_update_elem(hash, &key, &value, BPF_ANY) == 0, "update");
	}
	printf("ready\n");
	while ((count = next_count())) {
		uint64_t sum = 0, value, start = now_ns();
		for (uint32_t i = 0; i < count; i++) {
			uint32_t key = i % KEYS;
			CHECK(bpf_map_lookup_elem(hash, &key, &value) == 0, "lookup");
			sum += value;
		}
		print_result("lookups", count, now_ns() - start);
		fprintf(stderr, "sum %llu\n", (unsigned long long)sum);
	}
	return 0;
}
