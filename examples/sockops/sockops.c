// SPDX-License-Identifier: MIT OR Apache-2.0
/* Shows the TCP connections of a cgroup. */
#include <stdio.h>
#include <string.h>

#include "sockops.skel.h"
#include "sockops.h"

static const char usage[] = "Usage: sockops CGROUP\n"
			    "\n"
			    "Shows the IPv4 TCP connections that processes in a cgroup make, until Ctrl-C. CGROUP is the\n"
			    "path of its directory, /sys/fs/cgroup for all.\n"
			    "\n"
			    "  -h, --help   this text\n";

static const char *const names[] = { "CONNECT", "ACCEPT", "RETRANS", "CLOSE" };

static const char *endpoint(char *text, size_t size, unsigned int address, unsigned int port)
{
	const unsigned char *byte = (const unsigned char *)&address;
	snprintf(text, size, "%u.%u.%u.%u:%u", byte[0], byte[1], byte[2], byte[3], port);
	return text;
}

static int handle_event(void *ctx, void *data, size_t size)
{
	const struct event *e = data;
	char local[32], remote[32];

	if (size < sizeof(*e) || e->what > CLOSED)
		return 0;
	printf("%-8s %-21s %-21s %8u %10llu %10llu\n", names[e->what],
	       endpoint(local, sizeof(local), e->local_address, e->local_port),
	       endpoint(remote, sizeof(remote), e->remote_address, e->remote_port), e->rtt_us, e->bytes_acked,
	       e->bytes_received);
	return 0;
}

int main(int argc, char **argv)
{
	bool help = argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"));
	if (help || argc != 2) {
		fputs(usage, help ? stdout : stderr);
		return help ? 0 : 2;
	}
	struct sockops_bpf *skel = sockops_bpf__open_and_load();
	if (!skel) {
		fprintf(stderr, "sockops: cannot load the object: %s\n", strerror(errno));
		return 1;
	}
	bpf_set_prog_attach_target(skel->progs.connection, argv[1]);
	struct bpf_buffer *events = NULL;
	int err = sockops_bpf__attach(skel);
	if (!err && !(events = bpf_buffer__open(skel->maps.rb, handle_event, NULL)))
		err = -errno;
	if (!err)
		printf("%-8s %-21s %-21s %8s %10s %10s\n", "EVENT", "LOCAL", "REMOTE", "RTT_US", "ACKED", "RECEIVED");
	while (!err) {
		err = bpf_buffer__poll(events, 100);
		fflush(stdout);
	}
	if (err == -EINTR) /* Ctrl-C */
		err = 0;
	if (err)
		fprintf(stderr, "sockops: %s: %s\n", argv[1], strerror(-err));
	bpf_buffer__free(events);
	sockops_bpf__destroy(skel);
	return err ? 1 : 0;
}
