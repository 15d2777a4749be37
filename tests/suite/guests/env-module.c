// SPDX-License-Identifier: MIT OR Apache-2.0
/* A guest of the older kind, whose imports come from module `env`. Takes one burst. */
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "trigger.h"

#define ENV(name) __attribute__((import_module("env"), import_name(name)))

ENV("wasm_load_bpf_object") uint64_t load(const void *buf, int len);
ENV("wasm_close_bpf_object") int close_object(uint64_t object);
ENV("wasm_attach_bpf_program") int attach(uint64_t object, const char *name, const char *target);
ENV("wasm_bpf_map_fd_by_name") int map_by_name(uint64_t object, const char *name);
ENV("wasm_bpf_buffer_poll")
int poll_buffer(uint64_t object, int map, int32_t fn, uint32_t ctx, char *data, int max, int timeout_ms);
ENV("wasm_bpf_map_operate") int operate(int map, int cmd, void *key, void *value, void *next_key, uint64_t flags);

static const unsigned char object[] = {
#embed "burst.bpf.o"
};

static int taken;

static int take(void *ctx, void *data, size_t size)
{
	taken++;
	return 0;
}

int main(void)
{
	static char record[64];
	uint64_t handle = load(object, sizeof(object)), count = 0;
	uint32_t key;
	CHECK(handle && attach(handle, "on_getpgid", NULL) == 0, "load and attach");
	int rb = map_by_name(handle, "rb"), calls = map_by_name(handle, "calls");
	say_ready();
	while (taken < BURST)
		CHECK(poll_buffer(handle, rb, (int32_t)(intptr_t)take, 0, record, sizeof(record), 100) == 0, "poll");
	CHECK(operate(calls, 4, NULL, NULL, &key, 0) == 0, "first key");
	CHECK(operate(calls, 1, &key, &count, NULL, 0) == 0, "lookup");
	printf("%d records, %llu call\n", taken, (unsigned long long)count);
	return close_object(handle);
}
