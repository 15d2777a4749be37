// SPDX-License-Identifier: MIT OR Apache-2.0
/* The sample bootstrap, native: for the time from its start to its first line, and its memory. */
#include <signal.h>
#include <stdbool.h>

#include "bootstrap.skel.h"
#include "../bench.h"
#include "../../examples/bootstrap/bootstrap.h"

static volatile sig_atomic_t ended;

static void end(int signal)
{
	ended = 1;
}

static int handle_event(void *ctx, void *data, size_t size)
{
	const struct event *e = data;
	char clock[16];
	time_t now = time(NULL);

	if (size < sizeof(*e))
		return 0;
	strftime(clock, sizeof(clock), "%H:%M:%S", gmtime(&now));
	printf("%-8s %-5s %-16s %-7d %-7d ", clock, e->is_exit ? "EXIT" : "EXEC", e->comm, e->pid, e->ppid);
	if (!e->is_exit)
		printf("%s\n", e->filename);
	else if (e->duration_ns)
		printf("[%u] (%llums)\n", e->exit_code, e->duration_ns / 1000000);
	else
		printf("[%u]\n", e->exit_code);
	return 0;
}

int main(void)
{
	signal(SIGINT, end);
	signal(SIGTERM, end);
	struct bootstrap_bpf *skel = bootstrap_bpf__open_and_load();
	CHECK(skel && bootstrap_bpf__attach(skel) == 0, "load and attach");
	struct ring_buffer *buffer = ring_buffer__new(bpf_map__fd(skel->maps.rb), handle_event, NULL, NULL);
	CHECK(buffer, "open the buffer");
	printf("%-8s %-5s %-16s %-7s %-7s %s\n", "TIME", "EVENT", "COMM", "PID", "PPID", "FILENAME/EXIT CODE");
	while (!ended) {
		fflush(stdout);
		ring_buffer__poll(buffer, 100);
	}
	ring_buffer__free(buffer);
	bootstrap_bpf__destroy(skel);
	return 0;
}
