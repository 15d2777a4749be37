// SPDX-License-Identifier: MIT OR Apache-2.0
/* attach kprobe|fentry DIRECTORY: attaches three programs to the making of directories, makes one, and says how often each
 * program ran. DIRECTORY must not exist; it is removed again. */
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

static const char *const programs[][PROGRAMS] = {
	{ "on_entry", "on_return", "on_syscall" },
	{ "on_entry", "on_return", "on_permission" },
};

int main(int argc, char **argv)
{
	CHECK(argc == 3, "attach kprobe|fentry DIRECTORY");
	int family = !strcmp(argv[1], "fentry");
	bpf_object_skel handle = family ? wasm_load_bpf_object(fentry, sizeof(fentry)) :
					  wasm_load_bpf_object(kprobe, sizeof(kprobe));
	CHECK(handle, "load");
	for (int i = 0; i < PROGRAMS; i++) {
		int err = wasm_attach_bpf_program(handle, programs[family][i], "");
		CHECK(err == 0, "attach %s: %d", programs[family][i], err);
	}
	int counts = wasm_bpf_map_fd_by_name(handle, "counts");
	CHECK(counts >= 0, "map %d", counts);
	CHECK(mkdir(argv[2], 0700) == 0, "mkdir %s: %s", argv[2], strerror(errno));
	CHECK(rmdir(argv[2]) == 0, "rmdir %s", argv[2]);
	for (uint32_t i = 0; i < PROGRAMS; i++) {
		uint64_t ran = 0;
		CHECK(bpf_map_lookup_elem(counts, &i, &ran) == 0, "lookup");
		printf("%s %llu\n", programs[family][i], (unsigned long long)ran);
	}
	return 0;
}
