// SPDX-License-Identifier: MIT OR Apache-2.0
/* misuse CASE: what a guest must not do. Each line gives a call's result; the process must live through all of them. */
#include "skep.h"
#include "skep/shared.h"
#include "check.h"

static const unsigned char object[] = {
#embed "maps.bpf.o"
};

static int never(void *ctx, void *data, size_t size)
{
	CHECK(false, "a record from nowhere");
	return 0;
}

#define SAY(call) printf("%s = %lld\n", #call, (long long)(call))

static bpf_object_skel load(void)
{
	bpf_object_skel handle = wasm_load_bpf_object(object, sizeof(object));
	CHECK(handle, "load");
	return handle;
}

/* An address in the last page of the address space: never part of this memory. */
#define FAR ((void *)0xfffff000u)
#define FN ((int32_t)(intptr_t)never)

static void pointers(void)
{
	bpf_object_skel h = load();
	int hash = wasm_bpf_map_fd_by_name(h, "hash"), ring = wasm_bpf_map_fd_by_name(h, "ring");
	uint32_t key = 1;
	uint64_t value = 2;
	char record[64];

	CHECK(bpf_map_update_elem(hash, &key, &value, BPF_ANY) == 0, "update");
	SAY(wasm_load_bpf_object(FAR, 4096));
	SAY(wasm_load_bpf_object(FAR, 8192));
	SAY(wasm_attach_bpf_program(h, FAR, NULL));
	SAY(wasm_attach_bpf_program(h, "unused", FAR));
	SAY(wasm_attach_bpf_program_fd(h, FAR, -1));
	SAY(wasm_bpf_map_fd_by_name(h, FAR));
	SAY(wasm_bpf_map_operate(hash, 1, FAR, &value, NULL, 0));
	SAY(wasm_bpf_map_operate(hash, 1, &key, FAR, NULL, 0));
	SAY(wasm_bpf_map_operate(hash, 2, FAR, &value, NULL, 0));
	SAY(wasm_bpf_map_operate(hash, 2, &key, FAR, NULL, 0));
	SAY(wasm_bpf_map_operate(hash, 3, FAR, NULL, NULL, 0));
	SAY(wasm_bpf_map_operate(hash, 4, FAR, NULL, &key, 0));
	SAY(wasm_bpf_map_operate(hash, 4, &key, NULL, FAR, 0));
	SAY(wasm_bpf_buffer_poll(h, ring, FN, 0, FAR, 64, 1));
	SAY(wasm_bpf_buffer_poll(h, ring, 0x7fffffff, 0, record, sizeof(record), 1));
	SAY(wasm_bpf_buffer_poll(h, ring, 0, 0, record, sizeof(record), 1));
	SAY(skep_map_mmap_at(hash, FAR, 4096, 0, 0));
	SAY(skep_map_munmap_at(FAR, 4096));
	SAY(skep_map_info(hash, FAR));
	SAY(skep_load_object_at(FAR, 4096, NULL));
}

static void handles(void)
{
	static const int foreign[] = { -1, 0, 1, 2, 3, 1000, 0x7fffffff };
	bpf_object_skel h = load();
	int hash = wasm_bpf_map_fd_by_name(h, "hash");
	uint32_t key = 1;
	uint64_t value = 2;
	char record[64];

	/* Descriptors of the host must not be reached by their numbers: only what map_fd_by_name gave is a map. */
	for (size_t i = 0; i < sizeof(foreign) / sizeof(*foreign); i++) {
		if (foreign[i] == hash)
			continue;
		int err = wasm_bpf_map_operate(foreign[i], 1, &key, &value, NULL, 0);
		CHECK(err < 0, "map handle %d: %d", foreign[i], err);
		CHECK(wasm_bpf_buffer_poll(h, foreign[i], FN, 0, record, sizeof(record), 1) < 0, "poll %d", foreign[i]);
		CHECK(skep_map_info(foreign[i], (struct skep_map_info *)record) < 0, "info %d", foreign[i]);
	}
	printf("foreign map handles refused\n");
	SAY(wasm_close_bpf_object(0));
	SAY(wasm_close_bpf_object(h + 1000));
	SAY(wasm_close_bpf_object(~0ull));
	SAY(wasm_attach_bpf_program(h + 1000, "unused", NULL));
	SAY(wasm_bpf_map_fd_by_name(0, "hash"));
	SAY(wasm_bpf_map_fd_by_name(h, "no such map"));
	SAY(wasm_attach_bpf_program(h, "unusde", NULL));
	SAY(wasm_bpf_map_operate(hash, 99, &key, &value, NULL, 0));
}

static void lengths(void)
{
	bpf_object_skel h = load();
	int ring = wasm_bpf_map_fd_by_name(h, "ring");
	char record[64];

	SAY(wasm_load_bpf_object(object, 0x7fffffff));
	SAY(wasm_load_bpf_object(object, -1));
	SAY(wasm_load_bpf_object(object, 0));
	SAY(wasm_load_bpf_object(object, 100));
	SAY(wasm_load_bpf_object("garbage that is no ELF object", 29));
	SAY(wasm_bpf_buffer_poll(h, ring, FN, 0, record, 0x7fffffff, 1));
	SAY(wasm_bpf_buffer_poll(h, ring, FN, 0, record, -1, 1));
	SAY(skep_map_mmap_at(ring, (void *)0, 0xfffff000u, 0, 0));
}

static void close_twice(void)
{
	bpf_object_skel h = load();
	SAY(wasm_close_bpf_object(h));
	SAY(wasm_close_bpf_object(h));
}

static void poll_hash(void)
{
	bpf_object_skel h = load();
	int hash = wasm_bpf_map_fd_by_name(h, "hash");
	char record[64];
	SAY(wasm_bpf_buffer_poll(h, hash, FN, 0, record, sizeof(record), 1));
}

static volatile int sink;

/* Reads its own frame after the call, so that it cannot become a loop. */
__attribute__((noinline)) static int recurse(int depth)
{
	volatile char frame[128];
	frame[depth & 127] = (char)depth;
	return sink < 0 ? 0 : recurse(depth + 1) + frame[depth & 127]; /* sink is 0 */
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "pointers"))
		pointers();
	else if (!strcmp(what, "handles"))
		handles();
	else if (!strcmp(what, "lengths"))
		lengths();
	else if (!strcmp(what, "close-twice"))
		close_twice();
	else if (!strcmp(what, "poll-hash"))
		poll_hash();
	else if (!strcmp(what, "loop") || !strcmp(what, "trap") || !strcmp(what, "recursion")) {
		/* Attached, so that a test sees whether the end of the guest detaches. */
		CHECK(wasm_attach_bpf_program(load(), "unused", NULL) == 0, "attach");
		say_ready();
		while (!strcmp(what, "loop"))
			sink++;
		if (!strcmp(what, "recursion"))
			sink = recurse(0);
		__builtin_trap();
	} else if (!strcmp(what, "exit255"))
		exit(255);
	else
		CHECK(false, "unknown case \"%s\"", what);
	printf("survived\n");
	return 0;
}
