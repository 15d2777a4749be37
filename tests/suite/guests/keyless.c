// SPDX-License-Identifier: MIT OR Apache-2.0
/* Queues, stacks and bloom filters, which are asked without a key. */
#include "skep.h"
#include "check.h"

static const unsigned char object[] = {
#embed "keyless.bpf.o"
};

int main(void)
{
	bpf_object_skel handle = wasm_load_bpf_object(object, sizeof(object));
	CHECK(handle, "load");
	int queue = wasm_bpf_map_fd_by_name(handle, "queue");
	int stack = wasm_bpf_map_fd_by_name(handle, "stack");
	int bloom = wasm_bpf_map_fd_by_name(handle, "bloom");
	CHECK(queue >= 0 && stack >= 0 && bloom >= 0, "maps");
	uint64_t first = 7, second = 8, back = 0;

	printf("an empty queue has nothing: %d\n", bpf_map_lookup_elem(queue, NULL, &back) == -ENOENT);
	for (int i = 0; i < 2; i++) {
		int map = i ? stack : queue;
		CHECK(bpf_map_update_elem(map, NULL, &first, BPF_ANY) == 0, "push");
		CHECK(bpf_map_update_elem(map, NULL, &second, BPF_ANY) == 0, "push");
	}
	printf("a queue shows the first: %d\n", bpf_map_lookup_elem(queue, NULL, &back) == 0 && back == 7);
	printf("a stack shows the last: %d\n", bpf_map_lookup_elem(stack, NULL, &back) == 0 && back == 8);
	CHECK(bpf_map_update_elem(bloom, NULL, &first, BPF_ANY) == 0, "add");
	printf("a bloom filter knows what was added: %d\n", bpf_map_lookup_elem(bloom, NULL, &first) == 0);
	printf("and nothing else: %d\n", bpf_map_lookup_elem(bloom, NULL, &second) == -ENOENT);
	return 0;
}
