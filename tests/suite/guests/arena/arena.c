// SPDX-License-Identifier: MIT OR Apache-2.0
/* An arena with global variables in this module's own memory: they have their initial values, and the program's additions
 * are seen by plain loads. */
#include "skep.h"
#include "skep/shared.h"
#include "../check.h"

static const unsigned char object[] = {
#embed "globals.bpf.o"
};

#define PAGES 4

int main(void)
{
	volatile uint64_t *arena = skep_pages_alloc(PAGES * SKEP_PAGE);
	bpf_object_skel handle = skep_load_object_at(object, sizeof(object), (void *)arena);
	CHECK(handle, "load");
	CHECK(wasm_attach_bpf_program(handle, "add", NULL) == 0, "attach");
	/* They lie in its first page or its last, as libbpf and the kernel would have it. */
	volatile uint64_t *total = NULL;
	for (size_t i = 0; i < PAGES * SKEP_PAGE / 8; i++)
		if (arena[i] == 0x5ce95ce95ce95ce9)
			total = arena[i + 1] == 1000 ? &arena[i + 1] : &arena[i - 1];
	CHECK(total, "no magic number in the arena");
	printf("at first %llu\n", (unsigned long long)*total);
	say_ready();
	while (*total == 1000)
		;
	printf("then %llu\n", (unsigned long long)*total);
	return 0;
}
