// SPDX-License-Identifier: MIT OR Apache-2.0
/* Maps in linear memory: what is written on one side is read on the other by plain loads; what is wrong is refused. */
#include "skep.h"
#include "skep/shared.h"
#include "check.h"
#include <unistd.h>
#include "trigger.h"

static const unsigned char maps_object[] = {
#embed "maps.bpf.o"
};
static const unsigned char burst_object[] = {
#embed "burst.bpf.o"
};

#define SAY(call) printf("%s: %d\n", #call, (int)(call))

static int next_seq;

static int take(void *ctx, void *data, size_t size)
{
	const struct record *r = data;
	CHECK(size == sizeof(*r) && r->seq == (unsigned int)next_seq % BURST, "record %u after %d", r->seq, next_seq);
	next_seq++;
	return 0;
}

static void arrays(void)
{
	bpf_object_skel h = wasm_load_bpf_object(maps_object, sizeof(maps_object));
	struct bpf_map map = { .obj_ptr = h, .name = "mmapable" };
	int fd = bpf_map__fd(&map), hash = wasm_bpf_map_fd_by_name(h, "hash");
	struct skep_map_info info;
	uint64_t value = 0x1122334455667788;
	uint32_t key = 1000;
	CHECK(h && fd >= 0 && skep_map_info(fd, &info) == 0, "load");
	printf("type %u, key %u, value %u, entries %u, mappable %u\n", info.type, info.key_size, info.value_size,
	       info.max_entries, info.mappable_low);

	volatile uint64_t *read = skep_array__open(&map, 0);
	volatile uint64_t *write = skep_array__open(&map, SKEP_SHARED_WRITE);
	CHECK(read && write && read != write, "map: %s", strerror(errno));
	CHECK(bpf_map_update_elem(fd, &key, &value, BPF_ANY) == 0, "update");
	SAY(read[1000] == value);
	write[5] = 99;
	key = 5;
	CHECK(bpf_map_lookup_elem(fd, &key, &value) == 0, "lookup");
	SAY(value == 99);
	SAY(read[5] == 99);

	char *spare = skep_pages_alloc(16384);
	SAY(skep_result(skep_map_mmap_at(fd, spare + 1, 4096, 0, 0)) == -EINVAL);
	SAY(skep_result(skep_map_mmap_at(fd, spare, 100, 0, 0)) == -EINVAL);
	SAY(skep_result(skep_map_mmap_at(fd, spare, 0, 0, 0)) == -EINVAL);
	SAY(skep_result(skep_map_mmap_at(fd, spare, 4096, 8, 0)) == -EINVAL);
	SAY(skep_result(skep_map_mmap_at(fd, spare, 4096, 1 << 20, 0)) == -EINVAL);
	SAY(skep_map_mmap_at(fd, (void *)read, 4096, 0, 0) < 0); /* overlaps */
	SAY(skep_map_mmap_at(hash, spare, 4096, 0, 0) < 0);	 /* a hash cannot be mapped */
	SAY(skep_map_munmap_at(spare, 4096) < 0);		 /* nothing lies there */
	/* The host itself must not write through a mapping for reading. */
	SAY(bpf_map_lookup_elem(fd, &key, (void *)read) < 0);

	SAY(skep_map_munmap((void *)read, info.mappable_low) == 0);
	SAY(read[5] == 0);
	SAY(write[5] == 99);
	CHECK(wasm_close_bpf_object(h) == 0, "close");
	SAY(write[5] == 0); /* closing ends the mappings of its maps */
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "wasi-write-read-only")) {
		/* The same through WASI: the host must not die of it, nor write there. */
		bpf_object_skel h = wasm_load_bpf_object(burst_object, sizeof(burst_object));
		struct bpf_map map = { .obj_ptr = h, .name = "rb" };
		struct skep_ring ring;
		CHECK(skep_ring__open(&ring, &map) == 0, "ring");
		say_ready();
		getentropy((void *)ring.data, 16);
		for (;;)
			;
	}
	if (argc > 1 && !strcmp(argv[1], "write-read-only")) {
		/* The kernel maps a ring buffer's data for reading only: a store must trap. */
		bpf_object_skel h = wasm_load_bpf_object(burst_object, sizeof(burst_object));
		struct bpf_map map = { .obj_ptr = h, .name = "rb" };
		struct skep_ring ring;
		CHECK(skep_ring__open(&ring, &map) == 0, "ring");
		say_ready();
		*(volatile char *)ring.data = 1;
		printf("written\n");
		return 1;
	}
	arrays();
	bpf_object_skel h = wasm_load_bpf_object(burst_object, sizeof(burst_object));
	struct bpf_map map = { .obj_ptr = h, .name = "rb" };
	struct skep_ring ring;
	CHECK(h && wasm_attach_bpf_program(h, "on_getpgid", NULL) == 0, "attach");
	int err = skep_ring__open(&ring, &map);
	CHECK(err == 0, "ring: %s", strerror(-err));
	SAY(skep_map_mmap(bpf_map__fd(&map), SKEP_PAGE, SKEP_PAGE, SKEP_SHARED_WRITE) == NULL); /* the producer's page */
	SAY(skep_ring__poll(&ring, take, NULL, 1) == 0);
	say_ready();
	int want = (argc > 1 ? atoi(argv[1]) : 1) * BURST;
	while (next_seq < want) {
		err = skep_ring__poll(&ring, take, NULL, 100);
		CHECK(err >= 0, "poll: %s", strerror(-err));
	}
	printf("%d records in place\n", next_seq);
	skep_ring__close(&ring);
	return 0;
}
