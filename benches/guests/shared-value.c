// SPDX-License-Identifier: MIT OR Apache-2.0
/* Values of an mmapable array read by plain loads. Reads how many; reads them. */
#include "lookup.skel.h"
#include "skep/shared.h"
#include "../bench.h"

enum { VALUES = 4096 };

int main(void)
{
	unsigned long count;
	struct lookup_bpf *skel = lookup_bpf__open_and_load();
	CHECK(skel, "load");
	int fd = bpf_map__fd(skel->maps.array);
	uint64_t expected = 0;
	for (uint32_t key = 0; key < VALUES; key++) {
		uint64_t value = key * 3ull;
		CHECK(bpf_map_update_elem(fd, &key, &value, BPF_ANY) == 0, "update");
		expected += value;
	}
	const volatile uint64_t *values = skep_array__open(skel->maps.array, 0);
	CHECK(values, "map the array");
	printf("ready\n");
	while ((count = next_count())) {
		unsigned long rounds = (count + VALUES - 1) / VALUES;
		uint64_t sum = 0, start = now_ns();
		for (unsigned long round = 0; round < rounds; round++)
			for (int i = 0; i < VALUES; i++)
				sum += values[i]; /* volatile: each is a load */
		uint64_t ns = now_ns() - start;
		CHECK(sum == expected * rounds, "the values read are those written");
		print_result("values", rounds * VALUES, ns);
	}
	return 0;
}
