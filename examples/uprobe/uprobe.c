// SPDX-License-Identifier: MIT OR Apache-2.0
/* Shows the calls of one function of a program or library. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "uprobe.skel.h"
#include "uprobe.h"

static const char usage[] = "Usage: uprobe PATH:SYMBOL[+OFFSET]\n"
			    "\n"
			    "Shows every call of a function of a program or library, until Ctrl-C: its first three\n"
			    "arguments as the registers held them, its result, and how long it took.\n"
			    "\n"
			    "  -h, --help   this text\n"
			    "\n"
			    "  uprobe /usr/lib/x86_64-linux-gnu/libc.so.6:getaddrinfo\n";

static int handle_event(void *ctx, void *data, size_t size)
{
	const struct event *e = data;
	char clock[16];
	time_t now = time(NULL);

	if (size < sizeof(*e))
		return 0;
	strftime(clock, sizeof(clock), "%H:%M:%S", gmtime(&now));
	printf("%-8s %-7d %-7d %-16s %18llx %18llx %18llx %12lld %9llu.%03llu\n", clock, e->pid, e->tid, e->comm,
	       e->arguments[0], e->arguments[1], e->arguments[2], e->result, e->duration_ns / 1000,
	       e->duration_ns % 1000);
	return 0;
}

int main(int argc, char **argv)
{
	bool help = argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"));
	if (help || argc != 2 || !strchr(argv[1], ':')) {
		fputs(usage, help ? stdout : stderr);
		return help ? 0 : 2;
	}
	struct uprobe_bpf *skel = uprobe_bpf__open_and_load();
	if (!skel) {
		fprintf(stderr, "uprobe: cannot load the object: %s\n", strerror(errno));
		return 1;
	}
	bpf_set_prog_attach_target(skel->progs.enter, argv[1]);
	bpf_set_prog_attach_target(skel->progs.leave, argv[1]);
	struct bpf_buffer *events = NULL;
	int err = uprobe_bpf__attach(skel);
	if (!err && !(events = bpf_buffer__open(skel->maps.rb, handle_event, NULL)))
		err = -errno;
	if (!err)
		printf("%-8s %-7s %-7s %-16s %18s %18s %18s %12s %13s\n", "TIME", "PID", "TID", "COMM", "ARG1 (HEX)",
		       "ARG2 (HEX)", "ARG3 (HEX)", "RESULT", "MICROSECONDS");
	while (!err) {
		err = bpf_buffer__poll(events, 100);
		fflush(stdout);
	}
	if (err == -EINTR) /* Ctrl-C */
		err = 0;
	if (err)
		fprintf(stderr, "uprobe: %s: %s\n", argv[1], strerror(-err));
	bpf_buffer__free(events);
	uprobe_bpf__destroy(skel);
	return err ? 1 : 0;
}
