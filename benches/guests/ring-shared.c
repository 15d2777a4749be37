// SPDX-License-Identifier: MIT OR Apache-2.0
/* The same records read in place: the ring lies in the guest's memory. */
#include "ring.skel.h"
#include "skep/shared.h"
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
	struct skep_ring ring;
	struct ring_bpf *skel = ring_bpf__open_and_load();
	CHECK(skel && ring_bpf__attach(skel) == 0, "load and attach");
	CHECK(skep_ring__open(&ring, skel->maps.rb) == 0, "map the ring");
	printf("ready\n");
	while ((count = next_count())) {
		uint64_t asked = now_ns();
		taken = 0;
		while (taken < count)
			CHECK(skep_ring__consume(&ring, take, NULL) >= 0, "consume");
		print_records(taken, asked, first);
	}
	fprintf(stderr, "sum %llu\n", (unsigned long long)sum);
	return 0;
}
