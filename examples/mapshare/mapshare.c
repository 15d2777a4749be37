// SPDX-License-Identifier: MIT OR Apache-2.0
/* Reads an mmapable array, a ring buffer and an arena by plain loads: the kernel writes into this module's memory. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "arena.skel.h"
#include "mapshare.skel.h"
#include "skep/shared.h"
#include "mapshare.h"

static const char usage[] = "Usage: mapshare [COUNT]\n"
			    "\n"
			    "Once a second, COUNT times (until Ctrl-C by default): how many system calls this machine\n"
			    "made, the busiest three by number, and the commands begun. All of it is read from maps that\n"
			    "lie in this module's own memory, without a call to the host.\n"
			    "\n"
			    "  -h, --help   this text\n";

static struct {
	const volatile uint64_t *calls;
	struct skep_ring execs;
	const volatile struct recent *recent; /* NULL without arena */
	unsigned int printed;		      /* of recent->total */
} shared;

/* Loads and attaches the arena's program with its page in our memory; false where the kernel has no arenas. It is an
 * object of its own so that the rest works without. */
static bool open_arena(struct arena_bpf *skel)
{
	struct recent *page = skep_pages_alloc(SKEP_PAGE);
	if (!skel || !page)
		return false;
	skel->rodata->arena_at = (uint32_t)(uintptr_t)page;
	if (skep_object__load_skeleton_at(skel->skeleton, page))
		return false;
	page->total = 0; /* the first touch allocates the arena's page: a program cannot */
	if (arena_bpf__attach(skel))
		return false;
	shared.recent = page;
	return true;
}

static int handle_exec(void *ctx, void *data, size_t size)
{
	const struct exec *e = data;
	if (size >= sizeof(*e))
		printf("         ring   exec %-7d %s\n", e->pid, e->comm);
	return 0;
}

static void print_recent(void)
{
	unsigned int total = shared.recent->total;
	unsigned int from = total - shared.printed > RECENT ? total - RECENT : shared.printed;
	for (; from < total; from++) {
		const volatile struct exec *e = &shared.recent->commands[from % RECENT];
		char comm[sizeof(e->comm) + 1] = {};
		for (size_t i = 0; i < sizeof(e->comm); i++)
			comm[i] = e->comm[i];
		printf("         arena  exec %-7d %s\n", e->pid, comm);
	}
	shared.printed = total;
}

static void print_calls(void)
{
	static uint64_t seen[SYSCALLS];
	uint64_t total = 0, most[3] = {};
	int number[3] = { -1, -1, -1 };
	char clock[16];
	time_t now = time(NULL);

	for (int i = 0; i < SYSCALLS; i++) {
		uint64_t count = shared.calls[i], since = count - seen[i];
		seen[i] = count;
		total += since;
		for (int place = 0; place < 3; place++) {
			if (since <= most[place])
				continue;
			memmove(most + place + 1, most + place, (2 - place) * sizeof(*most));
			memmove(number + place + 1, number + place, (2 - place) * sizeof(*number));
			most[place] = since;
			number[place] = i;
			break;
		}
	}
	strftime(clock, sizeof(clock), "%H:%M:%S", gmtime(&now));
	printf("%-8s array  %" PRIu64 " system calls", clock, total);
	for (int place = 0; place < 3 && number[place] >= 0; place++)
		printf("%s %d: %" PRIu64, place ? "," : "; most:", number[place], most[place]);
	printf("\n");
}

static int run(struct mapshare_bpf *skel, struct arena_bpf *arena, long count)
{
	int err = mapshare_bpf__attach(skel);
	if (err)
		return err;
	shared.calls = skep_array__open(skel->maps.calls, 0);
	if (!shared.calls)
		return -errno;
	err = skep_ring__open(&shared.execs, skel->maps.execs);
	if (err)
		return err;
	if (!open_arena(arena))
		fprintf(stderr, "mapshare: no arena on this kernel (6.9 has them); going on without\n");
	while (count-- > 0) {
		time_t end = time(NULL) + 1;
		do {
			err = skep_ring__poll(&shared.execs, handle_exec, NULL, 100);
			if (err < 0)
				return err;
		} while (time(NULL) < end);
		if (shared.recent)
			print_recent();
		print_calls();
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	bool help = argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"));
	char *end = "";
	long count = argc > 1 ? strtol(argv[1], &end, 10) : LONG_MAX;
	if (help || argc > 2 || *end || count <= 0) {
		fputs(usage, help ? stdout : stderr);
		return help ? 0 : 2;
	}
	struct mapshare_bpf *skel = mapshare_bpf__open_and_load();
	if (!skel) {
		fprintf(stderr, "mapshare: cannot load the object: %s\n", strerror(errno));
		return 1;
	}
	struct arena_bpf *arena = arena_bpf__open();
	int err = run(skel, arena, count);
	if (err == -EINTR) /* Ctrl-C */
		err = 0;
	if (err < 0)
		fprintf(stderr, "mapshare: %s\n", strerror(-err));
	skep_ring__close(&shared.execs);
	arena_bpf__destroy(arena);
	mapshare_bpf__destroy(skel);
	return err < 0 ? 1 : 0;
}
