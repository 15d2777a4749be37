// SPDX-License-Identifier: MIT OR Apache-2.0
/* Shows every process that starts and ends on this machine. */
#include <getopt.h>
#include <stdio.h>
#include <time.h>

#include "bootstrap.skel.h"
#include "bootstrap.h"

static const char usage[] = "Usage: bootstrap [-d MS] [-v]\n"
			    "\n"
			    "Shows every process that starts (EXEC) and ends (EXIT), until Ctrl-C.\n"
			    "\n"
			    "  -d, --duration MS   only exits of processes that lived at least MS milliseconds\n"
			    "  -v, --verbose       say what is done on standard error\n"
			    "  -h, --help          this text\n";

static bool verbose;

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

/* Reads the options; -1 to go on, or the exit status. */
static int options(int argc, char **argv, long *min_duration_ms)
{
	static const struct option known[] = {
		{ "duration", required_argument, NULL, 'd' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int option;

	while ((option = getopt_long(argc, argv, "d:vh", known, NULL)) != -1) {
		char *end;
		switch (option) {
		case 'd':
			*min_duration_ms = strtol(optarg, &end, 10);
			if (*end || end == optarg || *min_duration_ms <= 0) {
				fprintf(stderr, "bootstrap: -d takes a number of milliseconds, not \"%s\"\n", optarg);
				return 2;
			}
			break;
		case 'v':
			verbose = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "bootstrap: unknown argument \"%s\"\n%s", argv[optind], usage);
		return 2;
	}
	return -1;
}

int main(int argc, char **argv)
{
	long min_duration_ms = 0;
	int err = options(argc, argv, &min_duration_ms);
	if (err >= 0)
		return err;

	struct bootstrap_bpf *skel = bootstrap_bpf__open();
	if (!skel) {
		fprintf(stderr, "bootstrap: cannot open the object: %s\n", strerror(errno));
		return 1;
	}
	skel->rodata->min_duration_ns = min_duration_ms * 1000000ULL;
	struct bpf_buffer *events = NULL;
	err = bootstrap_bpf__load(skel);
	if (!err && verbose)
		fprintf(stderr, "bootstrap: loaded, attaching to sched_process_exec and sched_process_exit\n");
	if (!err)
		err = bootstrap_bpf__attach(skel);
	if (!err && !(events = bpf_buffer__open(skel->maps.rb, handle_event, NULL)))
		err = -errno;
	if (!err) {
		printf("%-8s %-5s %-16s %-7s %-7s %s\n", "TIME", "EVENT", "COMM", "PID", "PPID",
		       "FILENAME/EXIT CODE");
	}
	while (!err) {
		err = bpf_buffer__poll(events, 100);
		fflush(stdout);
	}
	if (err == -EINTR) /* Ctrl-C */
		err = 0;
	if (err)
		fprintf(stderr, "bootstrap: %s\n", strerror(-err));
	bpf_buffer__free(events);
	bootstrap_bpf__destroy(skel);
	return err ? 1 : 0;
}
