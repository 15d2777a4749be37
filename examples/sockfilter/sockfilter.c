// SPDX-License-Identifier: MIT OR Apache-2.0
/* Shows the IPv4 packets of an interface. */
#include <stdio.h>
#include <string.h>

#include "sockfilter.skel.h"
#include "sockfilter.h"

static const char usage[] = "Usage: sockfilter INTERFACE\n"
			    "\n"
			    "Shows the IPv4 packets that pass an interface, until Ctrl-C, by a socket filter: it watches\n"
			    "and holds nothing up.\n"
			    "\n"
			    "  -h, --help   this text\n";

static unsigned int host_order(unsigned short port)
{
	return (port & 0xff) << 8 | port >> 8;
}

static const char *endpoint(char *text, size_t size, unsigned int address, unsigned short port)
{
	const unsigned char *byte = (const unsigned char *)&address;
	int len = snprintf(text, size, "%u.%u.%u.%u", byte[0], byte[1], byte[2], byte[3]);
	if (port)
		snprintf(text + len, size - len, ":%u", host_order(port));
	return text;
}

static const char *protocol(unsigned char number)
{
	switch (number) {
	case 1: return "ICMP";
	case 2: return "IGMP";
	case 6: return "TCP";
	case 17: return "UDP";
	case 47: return "GRE";
	case 132: return "SCTP";
	default: return "other";
	}
}

static const char *direction(unsigned char number)
{
	static const char *const names[] = { "in", "broadcast", "multicast", "other", "out" };
	return number < 5 ? names[number] : "?";
}

static int handle_event(void *ctx, void *data, size_t size)
{
	const struct event *e = data;
	char from[32], to[32];

	if (size < sizeof(*e))
		return 0;
	printf("%-9s %-5s %-21s %-21s %u\n", direction(e->direction), protocol(e->protocol),
	       endpoint(from, sizeof(from), e->source, e->source_port),
	       endpoint(to, sizeof(to), e->destination, e->destination_port), e->len);
	return 0;
}

int main(int argc, char **argv)
{
	bool help = argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"));
	if (help || argc != 2) {
		fputs(usage, help ? stdout : stderr);
		return help ? 0 : 2;
	}
	struct sockfilter_bpf *skel = sockfilter_bpf__open_and_load();
	if (!skel) {
		fprintf(stderr, "sockfilter: cannot load the object: %s\n", strerror(errno));
		return 1;
	}
	bpf_set_prog_attach_target(skel->progs.packet, argv[1]);
	struct bpf_buffer *events = NULL;
	int err = sockfilter_bpf__attach(skel);
	if (!err && !(events = bpf_buffer__open(skel->maps.rb, handle_event, NULL)))
		err = -errno;
	if (!err)
		printf("%-9s %-5s %-21s %-21s %s\n", "DIRECTION", "PROTO", "SOURCE", "DESTINATION", "BYTES");
	while (!err) {
		err = bpf_buffer__poll(events, 100);
		fflush(stdout);
	}
	if (err == -EINTR) /* Ctrl-C */
		err = 0;
	if (err)
		fprintf(stderr, "sockfilter: %s: %s\n", argv[1], strerror(-err));
	bpf_buffer__free(events);
	sockfilter_bpf__destroy(skel);
	return err ? 1 : 0;
}
