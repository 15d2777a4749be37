// SPDX-License-Identifier: MIT OR Apache-2.0
/* Polls until it is interrupted, and compares the host's own number with this C library's EINTR: as programs for the
 * public header do, whose wrapper changes nothing. */
#include "skep.h"
#include "skep/shared.h"
#include "check.h"

static const unsigned char object[] = {
#embed "maps.bpf.o"
};

static int never(void *ctx, void *data, size_t size)
{
	return 0;
}

int main(void)
{
	static char record[64];
	bpf_object_skel handle = wasm_load_bpf_object(object, sizeof(object));
	int ring = wasm_bpf_map_fd_by_name(handle, "ring"), err = 0;
	CHECK(handle && ring >= 0, "load");
	say_ready();
	while (!err)
		err = wasm_bpf_buffer_poll(handle, ring, (int32_t)(intptr_t)never, 0, record, sizeof(record), 100);
	printf("poll: %d\n", err == -EINTR);
	printf("wait: %d\n", skep_map_wait(ring, 100) == -EINTR);
	return 0;
}
