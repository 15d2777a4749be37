// SPDX-License-Identifier: MIT OR Apache-2.0
/* buffers [CALLS]: two ring and two perf buffers of one object; a quarter of each burst comes through each. */
#include "skep.h"
#include "check.h"
#include "trigger.h"

static const unsigned char object[] = {
#embed "buffers.bpf.o"
};

static int taken[4], misplaced;

static int take(void *ctx, void *data, size_t size)
{
	const struct record *r = data;
	unsigned int buffer = (uintptr_t)ctx;
	/* The kernel pads a perf record so that header and data together are a multiple of eight. */
	CHECK(size >= sizeof(*r) && size < sizeof(*r) + 8, "record of %zu bytes", size);
	misplaced += r->buffer != buffer || r->seq % 4 != buffer;
	taken[buffer]++;
	return 0;
}

int main(int argc, char **argv)
{
	static const char *const names[4] = { "ring_a", "ring_b", "perf_a", "perf_b" };
	static char record[64];
	int want = (argc > 1 ? atoi(argv[1]) : 1) * BURST, err = 0, maps[4];
	bpf_object_skel handle = wasm_load_bpf_object(object, sizeof(object));
	CHECK(handle, "load");
	for (int i = 0; i < 4; i++) {
		maps[i] = wasm_bpf_map_fd_by_name(handle, names[i]);
		CHECK(maps[i] >= 0, "map %s: %d", names[i], maps[i]);
	}
	CHECK(wasm_attach_bpf_program(handle, "on_getpgid", NULL) == 0, "attach");
	/* The test triggers from here on, before the first poll. */
	say_ready();
	for (int round = 0; !err && taken[0] + taken[1] + taken[2] + taken[3] < want; round++) {
		for (int i = 0; i < 4 && !err; i++)
			err = wasm_bpf_buffer_poll(handle, maps[i], (int32_t)(intptr_t)take, i, record,
						   sizeof(record), 20);
		/* From here on all four are open. */
		if (!round)
			puts("polled");
	}
	printf("%d %d %d %d records, %d misplaced, result %d\n", taken[0], taken[1], taken[2], taken[3], misplaced,
	       err);
	return 0;
}
