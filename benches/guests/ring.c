// SPDX-License-Identifier: MIT OR Apache-2.0
/* Ring-buffer records into the guest's callback. Reads how many records wait in the ring; takes them. */
#include "ring.skel.h"
#include "../bench.h"
#include "ring.h"

static uint64_t taken, sum, first;

static int take(void *ctx, void *data, size_t size)
{
	const struct record *r = data;
	if (!taken++)
		first = now_ns();
	sum += r->seq ^ r->payload[6];
	return 0;
}

int main(void)
{
	unsigned long count;
	struct ring_bpf *skel = ring_bpf__open_and_load();
	CHECK(skel && ring_bpf__attach(skel) == 0, "load and attach");
	struct bpf_buffer *buffer = bpf_buffer__open(skel->maps.rb, take, NULL);
	/* The first poll opens the buffer: not what is measured. */
	CHECK(buffer && bpf_buffer__poll(buffer, 1) == 0, "open the buffer");
	printf("ready\n");
	while ((count = next_count())) {
		uint64_t asked = now_ns();
		taken = 0;
		while (taken < count)
			CHECK(bpf_buffer__poll(buffer, 100) == 0, "poll");
		print_records(taken, asked, first);
	}
	fprintf(stderr, "sum %llu\n", (unsigned long long)sum);
	return 0;
}
