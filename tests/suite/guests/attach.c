// SPDX-License-Identifier: MIT OR Apache-2.0
/* attach FAMILY DIRECTORY [TARGET]: attaches the programs of a family to the making of directories, the third to TARGET, makes
 * one, and says how often each program ran. DIRECTORY must not exist; it is removed again. */
#include <sys/stat.h>
#include <unistd.h>

#include "skep.h"
#include "attach.h"
#include "check.h"

static const unsigned char kprobe[] = {
#embed "kprobe.bpf.o"
};

static const unsigned char fentry[] = {
#embed "fentry.bpf.o"
};

static const unsigned char multi[] = {
#embed "multi.bpf.o"
};

static const unsigned char lsm_cgroup[] = {
#embed "lsm-cgroup.bpf.o"
};

/* A family's programs stand at the counter that each adds to. */
static const struct family {
	const char *name;
	const unsigned char *elf;
	size_t len;
	const char *programs[PROGRAMS];
} families[] = {
	{ "kprobe", kprobe, sizeof(kprobe), { "on_entry", "on_return", "on_syscall", "on_result" } },
	{ "fentry", fentry, sizeof(fentry), { "on_entry", "on_return", "on_permission" } },
	{ "multi", multi, sizeof(multi), { "on_pattern", "on_return", "on_names" } },
	{ "lsm_cgroup", lsm_cgroup, sizeof(lsm_cgroup), { [EXTRA] = "on_permission" } },
};

static const struct family *family_of(const char *name)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
		if (!strcmp(families[i].name, name))
			return &families[i];
	CHECK(0, "no family %s", name);
	return NULL;
}

int main(int argc, char **argv)
{
	CHECK(argc == 3 || argc == 4, "attach FAMILY DIRECTORY [TARGET]");
	const struct family *family = family_of(argv[1]);
	bpf_object_skel handle = wasm_load_bpf_object(family->elf, family->len);
	CHECK(handle, "load");
	for (int i = 0; i < PROGRAMS; i++) {
		if (!family->programs[i])
			continue;
		int err = wasm_attach_bpf_program(handle, family->programs[i], i == EXTRA && argc == 4 ? argv[3] : "");
		CHECK(err == 0, "attach %s: %d", family->programs[i], err);
	}
	int counts = wasm_bpf_map_fd_by_name(handle, "counts");
	CHECK(counts >= 0, "map %d", counts);
	CHECK(mkdir(argv[2], 0700) == 0, "mkdir %s: %s", argv[2], strerror(errno));
	CHECK(rmdir(argv[2]) == 0, "rmdir %s", argv[2]);
	for (uint32_t i = 0; i < PROGRAMS; i++) {
		uint64_t ran = 0;
		if (!family->programs[i])
			continue;
		CHECK(bpf_map_lookup_elem(counts, &i, &ran) == 0, "lookup");
		printf("%s %llu\n", family->programs[i], (unsigned long long)ran);
	}
	return 0;
}
