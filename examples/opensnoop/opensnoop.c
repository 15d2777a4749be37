// SPDX-License-Identifier: MIT OR Apache-2.0
/* Shows files being opened. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

#include "opensnoop.skel.h"
#include "opensnoop.h"

static const char usage[] = "Usage: opensnoop [-x] [-T] [-U] [-e] [-p PID] [-n NAME] [-d SECONDS]\n"
			    "\n"
			    "Shows every file that is opened, until Ctrl-C.\n"
			    "\n"
			    "  -x, --failed          failed opens only\n"
			    "  -T, --timestamp       show the time\n"
			    "  -U, --print-uid       show the user's number\n"
			    "  -e, --extended        show the flags, in octal\n"
			    "  -p, --pid PID         this process only\n"
			    "  -n, --name NAME       processes whose name contains NAME\n"
			    "  -d, --duration SECS   stop after that many seconds\n"
			    "  -h, --help            this text\n";

static struct {
	bool failed, timestamp, uid, extended;
	int pid, duration;
	const char *name;
} env;

static int handle_event(void *ctx, void *data, size_t size)
{
	const struct event *e = data;

	if (size < sizeof(*e) || (env.name && !strstr(e->comm, env.name)))
		return 0;
	if (env.timestamp) {
		char clock[16];
		time_t now = time(NULL);
		strftime(clock, sizeof(clock), "%H:%M:%S", gmtime(&now));
		printf("%-8s ", clock);
	}
	if (env.uid)
		printf("%-7u ", e->uid);
	printf("%-7d %-16s %3d %3d ", e->pid, e->comm, e->ret < 0 ? -1 : e->ret, e->ret < 0 ? -e->ret : 0);
	if (env.extended)
		printf("%08o ", e->flags);
	printf("%s\n", e->path);
	return 0;
}

static bool number(const char *text, int *out)
{
	char *end;
	long value = strtol(text, &end, 10);
	*out = (int)value;
	return !*end && end != text && value > 0 && value <= INT_MAX;
}

/* Reads the command line; -1 to go on, or the exit status. */
static int options(int argc, char **argv)
{
	static const struct option known[] = {
		{ "failed", no_argument, NULL, 'x' },	    { "timestamp", no_argument, NULL, 'T' },
		{ "print-uid", no_argument, NULL, 'U' },    { "extended", no_argument, NULL, 'e' },
		{ "pid", required_argument, NULL, 'p' },    { "name", required_argument, NULL, 'n' },
		{ "duration", required_argument, NULL, 'd' }, { "help", no_argument, NULL, 'h' },
		{},
	};
	int option;
	bool good = true;

	while (good && (option = getopt_long(argc, argv, "xTUep:n:d:h", known, NULL)) != -1) {
		switch (option) {
		case 'x': env.failed = true; break;
		case 'T': env.timestamp = true; break;
		case 'U': env.uid = true; break;
		case 'e': env.extended = true; break;
		case 'n': env.name = optarg; break;
		case 'p': good = number(optarg, &env.pid); break;
		case 'd': good = number(optarg, &env.duration); break;
		case 'h': fputs(usage, stdout); return 0;
		default: good = false;
		}
	}
	if (good && optind == argc)
		return -1;
	fputs(usage, stderr);
	return 2;
}

static void print_header(void)
{
	if (env.timestamp)
		printf("%-8s ", "TIME");
	if (env.uid)
		printf("%-7s ", "UID");
	printf("%-7s %-16s %3s %3s ", "PID", "COMM", "FD", "ERR");
	if (env.extended)
		printf("%-8s ", "FLAGS");
	printf("PATH\n");
}

int main(int argc, char **argv)
{
	int err = options(argc, argv);
	if (err >= 0)
		return err;

	struct opensnoop_bpf *skel = opensnoop_bpf__open();
	if (!skel) {
		fprintf(stderr, "opensnoop: cannot open the object: %s\n", strerror(errno));
		return 1;
	}
	skel->rodata->target_pid = env.pid;
	skel->rodata->failed_only = env.failed;
	struct bpf_buffer *events = NULL;
	err = opensnoop_bpf__load(skel);
	if (!err)
		err = opensnoop_bpf__attach(skel);
	if (!err && !(events = bpf_buffer__open(skel->maps.events, handle_event, NULL)))
		err = -errno;
	if (!err)
		print_header();
	time_t end = time(NULL) + env.duration;
	while (!err && (!env.duration || time(NULL) < end)) {
		err = bpf_buffer__poll(events, 100);
		fflush(stdout);
	}
	if (err == -EINTR) /* Ctrl-C */
		err = 0;
	if (err)
		fprintf(stderr, "opensnoop: %s\n", strerror(-err));
	bpf_buffer__free(events);
	opensnoop_bpf__destroy(skel);
	return err ? 1 : 0;
}
