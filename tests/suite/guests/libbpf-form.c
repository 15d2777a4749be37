// SPDX-License-Identifier: MIT OR Apache-2.0
/* The skeleton of an unmodified bpftool, with variables of the kernel's types, and libbpf's names: two rings of one
 * ring_buffer, .bss set before the load. */
#include "libbpf-form.skel.h"
#include "check.h"
#include "trigger.h"

static int taken[2];

static int take(void *ctx, void *data, size_t size)
{
	const struct record *r = data;
	CHECK(size == sizeof(*r), "record of %zu bytes", size);
	taken[(uintptr_t)ctx]++;
	return r->call == 9 ? -EPIPE : 0; /* breaks off */
}

int main(void)
{
	struct libbpf_form_bpf *skel = libbpf_form_bpf__open();
	CHECK(skel, "open");
	printf("initial values: %u %u %lld\n", skel->rodata->constant, skel->data->variable, (long long)skel->bss->zero);
	skel->rodata->wanted = true;
	skel->rodata->constant = 3;
	skel->data->variable = 4;
	skel->bss->zero = 5;
	CHECK(libbpf_form_bpf__load(skel) == 0, "load");
	CHECK(libbpf_form_bpf__attach(skel) == 0, "attach");
	struct ring_buffer *rings = ring_buffer__new(bpf_map__fd(skel->maps.ring_a), take, (void *)0, NULL);
	CHECK(rings, "new");
	CHECK(ring_buffer__add(rings, bpf_map__fd(skel->maps.ring_b), take, (void *)1) == 0, "add");
	say_ready();
	int total = 0, err = 0;
	while (total < 12 && err >= 0) {
		err = ring_buffer__poll(rings, 100);
		total += err;
	}
	printf("%d and %d records, %d in all\n", taken[0], taken[1], total);
	while ((err = ring_buffer__poll(rings, 100)) >= 0)
		;
	printf("a callback's error ends the poll: %d\n", err == -EPIPE);
	uint32_t key = 0;
	uint64_t seen = 0;
	err = bpf_map__lookup_elem(skel->maps.seen, &key, sizeof(key), &seen, sizeof(seen), 0);
	printf("lookup %d: constant, variable and zero were %llu\n", err, (unsigned long long)seen);
	ring_buffer__free(rings);
	libbpf_form_bpf__destroy(skel);
	return 0;
}
