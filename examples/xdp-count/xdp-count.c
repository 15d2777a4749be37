// SPDX-License-Identifier: MIT OR Apache-2.0
/* Counts an interface's incoming packets by protocol. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "xdp-count.skel.h"
#include "xdp-count.h"

static const char usage[] = "Usage: xdp-count INTERFACE [INTERVAL [COUNT]]\n"
			    "\n"
			    "Counts the packets that arrive at an interface by protocol, with XDP; every packet passes.\n"
			    "A table every INTERVAL seconds (1 by default), COUNT times (until Ctrl-C by default).\n"
			    "\n"
			    "  -h, --help   this text\n";

static const char *const names[PROTOCOLS] = { "arp", "icmp", "tcp", "udp", "icmp6", "tcp6", "udp6", "other" };

static bool number(const char *text, int *out)
{
	char *end;
	long value = strtol(text, &end, 10);
	*out = (int)value;
	return !*end && end != text && value > 0 && value <= INT_MAX;
}

/* Prints what came since the last time, per second; 0 or a negative errno. */
static int print_counts(int map, int interval)
{
	static struct count seen[PROTOCOLS];
	char clock[16];
	time_t now = time(NULL);

	strftime(clock, sizeof(clock), "%H:%M:%S", gmtime(&now));
	for (uint32_t key = 0; key < PROTOCOLS; key++) {
		struct count count;
		int err = bpf_map_lookup_elem(map, &key, &count);
		if (err)
			return err;
		unsigned long long packets = count.packets - seen[key].packets;
		if (packets)
			printf("%-8s %-6s %12llu %12llu %14llu\n", clock, names[key], count.packets,
			       packets / interval, (count.bytes - seen[key].bytes) / interval);
		seen[key] = count;
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
	int interval = 1, count = INT_MAX;
	bool help = argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"));
	bool good = argc >= 2 && argc <= 4 && (argc < 3 || number(argv[2], &interval)) &&
		    (argc < 4 || number(argv[3], &count));
	if (help || !good) {
		fputs(usage, help ? stdout : stderr);
		return help ? 0 : 2;
	}
	struct xdp_count_bpf *skel = xdp_count_bpf__open_and_load();
	if (!skel) {
		fprintf(stderr, "xdp-count: cannot load the object: %s\n", strerror(errno));
		return 1;
	}
	bpf_set_prog_attach_target(skel->progs.count_packet, argv[1]);
	int err = xdp_count_bpf__attach(skel);
	if (!err)
		printf("%-8s %-6s %12s %12s %14s\n", "TIME", "PROTO", "PACKETS", "PACKETS/S", "BYTES/S");
	while (!err && count-- > 0) {
		fflush(stdout);
		if (!sleep_whole(interval))
			break; /* rates of a part would be wrong */
		err = print_counts(bpf_map__fd(skel->maps.counts), interval);
	}
	if (err)
		fprintf(stderr, "xdp-count: %s: %s\n", argv[1], strerror(-err));
	xdp_count_bpf__destroy(skel);
	return err ? 1 : 0;
}
