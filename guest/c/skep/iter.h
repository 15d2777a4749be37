/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Iterators: programs of section iter/... that print what they go through. Module `skep_bpf`, Skep only.
 *
 *	skep_program__attach(skel->progs.dump_task);
 *	while ((n = skep_iter__read(skel->progs.dump_task, buf, sizeof(buf))) > 0)
 *		fwrite(buf, 1, n, stdout);
 */
#ifndef SKEP_ITER_H
#define SKEP_ITER_H

#include <stdint.h>

#include "imports.h"
#include "errno.h"
#include "object.h"

/* Reads on in what an attached iterator prints; bytes, 0 at its end (the next call starts it anew), or a negative errno. */
SKEP_IMPORT("skep_bpf", "iter_read")
int skep_iter_read(bpf_object_skel object, const char *name, void *buf, uint32_t len);

/* The same for a program of a skeleton. */
static inline int skep_iter__read(const struct bpf_program *prog, void *buf, uint32_t len)
{
	return prog ? skep_result(skep_iter_read(prog->obj_ptr, prog->name, buf, len)) : -EINVAL;
}

#endif /* SKEP_ITER_H */
