// SPDX-License-Identifier: MIT OR Apache-2.0
/* burst [RECORDS]: takes that many records (100) of bursts, each numbered from 0, and says whether all came in order. */
#include "skep.h"
#include "check.h"
#include "trigger.h"

static const unsigned char object[] = {
#embed "burst.bpf.o"
};

static int taken, disordered;
static unsigned int expected;

static int take(void *ctx, void *data, size_t size)
{
	const struct record *r = data;
	CHECK(size == sizeof(*r), "record of %zu bytes", size);
	CHECK(ctx == &taken, "context lost");
	disordered += r->seq != expected;
	expected = (r->seq + 1) % BURST;
	taken++;
	return 0;
}

int main(int argc, char **argv)
{
	static char record[64];
	int want = argc > 1 ? atoi(argv[1]) : BURST, err = 0;
	bpf_object_skel handle = wasm_load_bpf_object(object, sizeof(object));
	CHECK(handle, "load");
	CHECK(wasm_attach_bpf_program(handle, "on_getpgid", "") == 0, "attach");
	int rb = wasm_bpf_map_fd_by_name(handle, "rb");
	CHECK(rb >= 0, "map %d", rb);
	say_ready();
	while (taken < want && !err)
		err = wasm_bpf_buffer_poll(handle, rb, (int32_t)(intptr_t)take, (uint32_t)(uintptr_t)&taken, record,
					   sizeof(record), 0);
	printf("%d records, %d out of order, result %d\n", taken, disordered, err);
	CHECK(wasm_close_bpf_object(handle) == 0, "close");
	return 0;
}
