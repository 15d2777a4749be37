// SPDX-License-Identifier: MIT OR Apache-2.0
/* Protects directories of a certain name from rmdir(2). */
#include <stdio.h>
#include <string.h>

#include "lsm.skel.h"
#include "lsm.h"

static const char usage[] = "Usage: lsm [NAME]\n"
			    "\n"
			    "Refuses to remove any directory called NAME (\"keep-me\" by default), until Ctrl-C, and shows\n"
			    "who removes directories. Needs a kernel with CONFIG_BPF_LSM and bpf among its security\n"
			    "modules (lsm=...,bpf on its command line).\n"
			    "\n"
			    "  -h, --help   this text\n";

static int handle_event(void *ctx, void *data, size_t size)
{
	const struct event *e = data;

	if (size >= sizeof(*e))
		printf("%-7d %-7u %-16s %-8s %s\n", e->pid, e->uid, e->comm, e->refused ? "refused" : "allowed",
		       e->name);
	return 0;
}

int main(int argc, char **argv)
{
	bool help = argc > 1 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"));
	const char *name = argc > 1 ? argv[1] : "keep-me";
	if (help || argc > 2 || !*name || strlen(name) >= NAME_LEN) {
		fputs(usage, help ? stdout : stderr);
		return help ? 0 : 2;
	}
	struct lsm_bpf *skel = lsm_bpf__open();
	if (!skel) {
		fprintf(stderr, "lsm: cannot open the object: %s\n", strerror(errno));
		return 1;
	}
	memset(skel->rodata->protected_name, 0, NAME_LEN);
	strcpy(skel->rodata->protected_name, name);
	struct bpf_buffer *events = NULL;
	int err = lsm_bpf__load(skel);
	if (err) {
		fprintf(stderr, "lsm: this kernel takes no LSM program: it needs CONFIG_BPF_LSM, BTF, and bpf in "
				"/sys/kernel/security/lsm\n");
		lsm_bpf__destroy(skel);
		return 1;
	}
	err = lsm_bpf__attach(skel);
	if (!err && !(events = bpf_buffer__open(skel->maps.rb, handle_event, NULL)))
		err = -errno;
	if (!err)
		printf("%-7s %-7s %-16s %-8s %s\n", "PID", "UID", "COMM", "VERDICT", "DIRECTORY");
	while (!err) {
		err = bpf_buffer__poll(events, 100);
		fflush(stdout);
	}
	if (err == -EINTR) /* Ctrl-C */
		err = 0;
	if (err)
		fprintf(stderr, "lsm: %s\n", strerror(-err));
	bpf_buffer__free(events);
	lsm_bpf__destroy(skel);
	return err ? 1 : 0;
}
