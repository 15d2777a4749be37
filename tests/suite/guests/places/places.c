// SPDX-License-Identifier: MIT OR Apache-2.0
/* places OBJECT PROGRAM[=TARGET|@FD]...: attaches programs (of `sample`: to count hits of the process $WANTED), to a target or
 * to a directory that it was lent, says "ready", waits for the end of its standard input, and says how often the programs
 * saw what they look for. Of iterators it prints what they print, twice over. */
#include "skep.h"
#include "skep/iter.h"
#include "../check.h"
#include "places.h"

static const unsigned char packets[] = {
#embed "packets.bpf.o"
};
static const unsigned char netfilter[] = {
#embed "netfilter.bpf.o"
};
static const unsigned char cgroups[] = {
#embed "cgroups.bpf.o"
};
static const unsigned char sockmap[] = {
#embed "sockmap.bpf.o"
};
static const unsigned char probes[] = {
#embed "probes.bpf.o"
};
static const unsigned char sample[] = {
#embed "sample.bpf.o"
};
static const unsigned char iterators[] = {
#embed "iterators.bpf.o"
};
static const unsigned char congestion[] = {
#embed "congestion.bpf.o"
};

static const struct {
	const char *name;
	const unsigned char *elf;
	size_t len;
} objects[] = {
	{ "packets", packets, sizeof(packets) },       { "netfilter", netfilter, sizeof(netfilter) },
	{ "cgroups", cgroups, sizeof(cgroups) },       { "sockmap", sockmap, sizeof(sockmap) },
	{ "probes", probes, sizeof(probes) },	       { "sample", sample, sizeof(sample) },
	{ "iterators", iterators, sizeof(iterators) }, { "congestion", congestion, sizeof(congestion) },
};

static bpf_object_skel load(const char *name)
{
	for (size_t i = 0; i < sizeof(objects) / sizeof(*objects); i++)
		if (!strcmp(objects[i].name, name))
			return wasm_load_bpf_object(objects[i].elf, objects[i].len);
	CHECK(0, "no object %s", name);
	return 0;
}

/* Prints what an iterator prints; a small buffer, so that it takes several reads. */
static void print_iterator(bpf_object_skel object, const char *program)
{
	char buf[512];
	int n;

	while ((n = skep_result(skep_iter_read(object, program, buf, sizeof(buf)))) > 0)
		fwrite(buf, 1, n, stdout);
	CHECK(n == 0, "reading %s: %d", program, n);
}

static void fill_squares(bpf_object_skel object)
{
	int map = wasm_bpf_map_fd_by_name(object, "squares");

	for (uint32_t i = 0; i < 3; i++) {
		uint64_t square = i * i;
		CHECK(bpf_map_update_elem(map, &i, &square, BPF_ANY) == 0, "squares");
	}
}

static void set_wanted(bpf_object_skel object)
{
	const char *pid = getenv("WANTED");
	uint64_t value = strtoul(pid ? pid : "0", NULL, 10);
	uint32_t zero = 0;

	CHECK(bpf_map_update_elem(wasm_bpf_map_fd_by_name(object, "wanted"), &zero, &value, BPF_ANY) == 0, "wanted");
}

/* Takes what is to be attached apart: its name is what stays. */
static int attach(bpf_object_skel object, char *program)
{
	char *place = program + strcspn(program, "=@");
	char kind = *place;

	if (kind)
		*place++ = '\0';
	if (kind == '@')
		return wasm_attach_bpf_program_fd(object, program, atoi(place));
	return wasm_attach_bpf_program(object, program, kind ? place : NULL);
}

int main(int argc, char **argv)
{
	CHECK(argc > 2, "places OBJECT PROGRAM[=TARGET]...");
	const char *object = argv[1];
	bpf_object_skel handle = load(object);
	CHECK(handle, "loading %s", object);
	if (!strcmp(object, "iterators"))
		fill_squares(handle);
	if (!strcmp(object, "sample"))
		set_wanted(handle);

	for (int i = 2; i < argc; i++) {
		int err = skep_result(attach(handle, argv[i]));
		CHECK(err == 0, "attaching %s: %s", argv[i], strerror(-err));
	}
	say_ready();
	while (getchar() != EOF)
		;

	if (!strcmp(object, "iterators")) {
		for (int i = 2; i < argc; i++) {
			print_iterator(handle, argv[i]);
			print_iterator(handle, argv[i]);
		}
		printf("none: %d\n", skep_iter_read(handle, "nobody", (char[8]){}, 8));
		printf("no room: %d\n", skep_iter_read(handle, argv[2], (char[8]){}, 0));
		printf("outside: %d\n", skep_iter_read(handle, argv[2], (void *)-8, 64));
		return 0;
	}
	struct seen seen = {};
	uint32_t zero = 0;
	CHECK(bpf_map_lookup_elem(wasm_bpf_map_fd_by_name(handle, "seen"), &zero, &seen) == 0, "lookup");
	printf("seen %llu, last %llu\n", seen.count, seen.detail);
	return 0;
}
