// SPDX-License-Identifier: MIT OR Apache-2.0
/* The form of TinyGo's guests: poll without a function, the host calls the export go-callback. Takes one burst. */
#include "skep/imports.h"
#include "check.h"
#include "trigger.h"

SKEP_IMPORT("callback-wrapper", "wasm_bpf_buffer_poll")
int poll_buffer(uint64_t object, int map, uint32_t ctx, char *data, int max, int timeout_ms);

static const unsigned char object[] = {
#embed "burst.bpf.o"
};

static int taken, wrong;

__attribute__((export_name("go-callback"))) int go_callback(uint32_t ctx, uint32_t data, uint32_t size)
{
	const struct record *r = (const struct record *)(uintptr_t)data;
	wrong += ctx != 99 || size != sizeof(*r) || r->seq != (unsigned int)taken;
	taken++;
	return 0;
}

int main(void)
{
	static char record[64];
	uint64_t handle = wasm_load_bpf_object(object, sizeof(object));
	CHECK(handle && wasm_attach_bpf_program(handle, "on_getpgid", NULL) == 0, "load and attach");
	int rb = wasm_bpf_map_fd_by_name(handle, "rb");
	say_ready();
	while (taken < BURST)
		CHECK(poll_buffer(handle, rb, 99, record, sizeof(record), 100) == 0, "poll");
	printf("%d records, %d wrong\n", taken, wrong);
	return 0;
}
