// SPDX-License-Identifier: MIT OR Apache-2.0
/* A program for the public libbpf-wasm.h with a skeleton of the form that is made for it: sets a constant, takes a
 * burst of that length, reads a map by libbpf's names. */
#include <stdbool.h>

#include "libbpf-wasm.h"
#include "check.h"
#include "trigger.h"

static unsigned char object[] = {
#embed "burst.bpf.o"
};

struct skeleton {
	struct bpf_object_skeleton *skeleton;
	struct {
		struct bpf_map *rb, *calls, *rodata;
	} maps;
	struct {
		struct bpf_program *on_getpgid;
	} progs;
	struct {
		unsigned int burst;
	} *rodata;
};

static struct skeleton *open_skeleton(void)
{
	struct skeleton *skel = calloc(1, sizeof(*skel));
	struct bpf_object_skeleton *s = calloc(1, sizeof(*s));
	skel->skeleton = s;
	s->sz = sizeof(*s);
	s->name = "burst";
	s->map_cnt = 3;
	s->map_skel_sz = sizeof(*s->maps);
	s->maps = calloc(s->map_cnt, s->map_skel_sz);
	s->maps[0] = (struct bpf_map_skeleton){ "rb", &skel->maps.rb };
	s->maps[1] = (struct bpf_map_skeleton){ "calls", &skel->maps.calls };
	s->maps[2] = (struct bpf_map_skeleton){ "burst.rodata", &skel->maps.rodata, (void **)&skel->rodata };
	s->prog_cnt = 1;
	s->prog_skel_sz = sizeof(*s->progs);
	s->progs = calloc(s->prog_cnt, s->prog_skel_sz);
	s->progs[0] = (struct bpf_prog_skeleton){ "on_getpgid", &skel->progs.on_getpgid };
	s->data = object;
	s->data_sz = sizeof(object);
	CHECK(bpf_object__open_skeleton(s, NULL) == 0, "open");
	return skel;
}

static int taken;

static int handle_event(void *ctx, void *data, size_t size)
{
	taken++;
	return 0;
}

int main(void)
{
	struct skeleton *skel = open_skeleton();
	printf("the constant's initial value: %u\n", skel->rodata->burst);
	skel->rodata->burst = 10;
	CHECK(bpf_object__load_skeleton(skel->skeleton) == 0, "load");
	CHECK(bpf_object__attach_skeleton(skel->skeleton) == 0, "attach");
	struct bpf_buffer *buffer = bpf_buffer__open(skel->maps.rb, handle_event, NULL);
	CHECK(buffer, "buffer");
	say_ready();
	while (taken < 10)
		CHECK(bpf_buffer__poll(buffer, 0) == 0, "poll");
	CHECK(bpf_buffer__poll(buffer, 1) == 0, "poll");
	uint32_t key = 0;
	uint64_t count = 0;
	int err = bpf_map_lookup_elem(bpf_map__fd(skel->maps.calls), &key, &count);
	printf("%d records, lookup %d: %llu call\n", taken, err, (unsigned long long)count);
	bpf_buffer__free(buffer);
	bpf_object__destroy_skeleton(skel->skeleton);
	free(skel);
	return 0;
}
