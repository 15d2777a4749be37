// SPDX-License-Identifier: MIT OR Apache-2.0
/* Run queue latency as a histogram. */
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "runqlat.skel.h"
#include "runqlat.h"

static const char usage[] = "Usage: runqlat [-m] [-T] [-p PID] [INTERVAL [COUNT]]\n"
			    "\n"
			    "Shows how long runnable threads wait for a CPU: a histogram every INTERVAL seconds\n"
			    "(1 by default), COUNT times (until Ctrl-C by default).\n"
			    "\n"
			    "  -m, --milliseconds   count in milliseconds, not microseconds\n"
			    "  -T, --timestamp      print the time before each histogram\n"
			    "  -p, --pid PID        threads of this process only\n"
			    "  -h, --help           this text\n"
			    "\n"
			    "  runqlat 5            five seconds at a time\n"
			    "  runqlat 1 10         ten histograms of one second each\n";

static struct {
	bool milliseconds, timestamp;
	int pid, interval, count;
} env = { .interval = 1, .count = INT_MAX };

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
		{ "milliseconds", no_argument, NULL, 'm' },
		{ "timestamp", no_argument, NULL, 'T' },
		{ "pid", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{},
	};
	int option;

	while ((option = getopt_long(argc, argv, "mTp:h", known, NULL)) != -1) {
		if (option == 'm')
			env.milliseconds = true;
		else if (option == 'T')
			env.timestamp = true;
		else if (option == 'h') {
			fputs(usage, stdout);
			return 0;
		} else if (option != 'p' || !number(optarg, &env.pid)) {
			fputs(usage, stderr);
			return 2;
		}
	}
	bool good = argc - optind <= 2;
	if (good && optind < argc)
		good = number(argv[optind], &env.interval);
	if (good && optind + 1 < argc)
		good = number(argv[optind + 1], &env.count);
	if (!good) {
		fprintf(stderr, "runqlat: INTERVAL and COUNT are positive numbers\n%s", usage);
		return 2;
	}
	return -1;
}

static void print_histogram(const uint64_t *counts, const char *unit)
{
	enum { BAR = 40 };
	int last = -1;
	uint64_t most = 0;

	for (int i = 0; i < SLOTS; i++) {
		if (counts[i])
			last = i;
		if (counts[i] > most)
			most = counts[i];
	}
	if (last < 0) {
		printf("  nothing waited\n");
		return;
	}
	printf("%10s %-2s %-10s : %-8s %s\n", "", unit, "", "count", "distribution");
	for (int i = 0; i <= last; i++) {
		uint64_t low = i ? 1ull << i : 0, high = (2ull << i) - 1;
		char bar[BAR + 1];
		int stars = (int)(counts[i] * BAR / most);
		memset(bar, ' ', BAR);
		memset(bar, '*', stars);
		bar[BAR] = '\0';
		printf("%10" PRIu64 " -> %-10" PRIu64 " : %-8" PRIu64 " |%s|\n", low, high, counts[i], bar);
	}
}

/* Takes what was counted since the last time; 0 or a negative errno. */
static int take(int map, uint64_t *counts)
{
	static uint64_t seen[SLOTS];
	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		uint64_t now;
		int err = bpf_map_lookup_elem(map, &slot, &now);
		if (err)
			return err;
		counts[slot] = now - seen[slot];
		seen[slot] = now;
	}
	return 0;
}

/* Sleeps; false where the sleep was cut short: after Ctrl-C the host ends one sleep early. */
static bool sleep_whole(int seconds)
{
	struct timespec before, after;
	clock_gettime(CLOCK_MONOTONIC, &before);
	sleep(seconds);
	clock_gettime(CLOCK_MONOTONIC, &after);
	double slept = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
	return slept > seconds - 0.001;
}

int main(int argc, char **argv)
{
	int err = options(argc, argv);
	if (err >= 0)
		return err;

	struct runqlat_bpf *skel = runqlat_bpf__open();
	if (!skel) {
		fprintf(stderr, "runqlat: cannot open the object: %s\n", strerror(errno));
		return 1;
	}
	skel->rodata->target_tgid = env.pid;
	skel->rodata->in_milliseconds = env.milliseconds;
	err = runqlat_bpf__load(skel);
	if (!err)
		err = runqlat_bpf__attach(skel);
	if (!err)
		printf("Tracing run queue latency... Hit Ctrl-C to end.\n");
	bool interrupted = false;
	for (int i = 0; !err && !interrupted && i < env.count; i++) {
		uint64_t counts[SLOTS];
		fflush(stdout);
		interrupted = !sleep_whole(env.interval);
		err = take(bpf_map__fd(skel->maps.slots), counts);
		if (err)
			break;
		printf("\n");
		if (env.timestamp) {
			char clock[16];
			time_t now = time(NULL);
			strftime(clock, sizeof(clock), "%H:%M:%S", gmtime(&now));
			printf("%s\n", clock);
		}
		print_histogram(counts, env.milliseconds ? "ms" : "us");
	}
	if (err)
		fprintf(stderr, "runqlat: %s\n", strerror(-err));
	runqlat_bpf__destroy(skel);
	return err ? 1 : 0;
}
