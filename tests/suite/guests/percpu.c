// SPDX-License-Identifier: MIT OR Apache-2.0
/* percpu CPUS: per-CPU maps, with as many possible CPUs as this machine has. */
#include "skep.h"
#include "check.h"

static const unsigned char object[] = {
#embed "maps.bpf.o"
};

struct odd {
	uint32_t a, b, c, padding; /* 12 bytes, rounded up to 16 */
};

int main(int argc, char **argv)
{
	enum { MOST = 1024 };
	static struct odd odd[MOST], odd_back[MOST];
	static uint64_t plain[MOST], plain_back[MOST];
	int cpus = argc > 1 ? atoi(argv[1]) : 0;
	CHECK(cpus > 0 && cpus <= MOST, "percpu CPUS");
	bpf_object_skel handle = wasm_load_bpf_object(object, sizeof(object));
	int array = wasm_bpf_map_fd_by_name(handle, "percpu_array");
	int hash = wasm_bpf_map_fd_by_name(handle, "percpu_hash");
	CHECK(handle && array >= 0 && hash >= 0, "load");
	uint32_t key = 1;

	for (int cpu = 0; cpu < cpus; cpu++) {
		odd[cpu] = (struct odd){ cpu + 1, cpu + 2, cpu + 3 };
		plain[cpu] = 1000 + cpu;
	}
	CHECK(bpf_map_update_elem(array, &key, odd, BPF_ANY) == 0, "update array");
	CHECK(bpf_map_update_elem(hash, &key, plain, BPF_ANY) == 0, "update hash");
	memset(odd_back, 0xff, sizeof(odd_back));
	memset(plain_back, 0xff, sizeof(plain_back));
	CHECK(bpf_map_lookup_elem(array, &key, odd_back) == 0, "lookup array");
	CHECK(bpf_map_lookup_elem(hash, &key, plain_back) == 0, "lookup hash");
	int same = 0;
	for (int cpu = 0; cpu < cpus; cpu++)
		same += odd_back[cpu].a == odd[cpu].a && odd_back[cpu].b == odd[cpu].b &&
			odd_back[cpu].c == odd[cpu].c && plain_back[cpu] == plain[cpu];
	printf("every CPU's value came back: %d\n", same == cpus);
	printf("nothing was written behind them: %d\n",
	       odd_back[cpus].a == 0xffffffff && plain_back[cpus] == UINT64_MAX);

	/* Room for one value at the end of memory, not for one a CPU. */
	char *end = (char *)(uintptr_t)(__builtin_wasm_memory_size(0) * 65536u);
	printf("a range that ends beyond memory refused: %d\n",
	       cpus < 2 || bpf_map_lookup_elem(hash, &key, end - sizeof(uint64_t)) == -EFAULT);
	printf("and one that just fits is not: %d\n",
	       bpf_map_lookup_elem(hash, &key, end - cpus * sizeof(uint64_t)) == 0);
	return 0;
}
