/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The host's errors are the kernel's numbers; this C library numbers its own as WASI does. */
#ifndef SKEP_ERRNO_H
#define SKEP_ERRNO_H

#include <errno.h>

/* A host's result with a negative kernel errno turned into this library's, so that -EINTR and strerror() mean what
 * they say. Numbers from <asm-generic/errno-base.h> and <asm-generic/errno.h>. */
static inline int skep_result(int result)
{
	switch (result) {
	case -1: return -EPERM;
	case -2: return -ENOENT;
	case -3: return -ESRCH;
	case -4: return -EINTR;
	case -5: return -EIO;
	case -7: return -E2BIG;
	case -9: return -EBADF;
	case -11: return -EAGAIN;
	case -12: return -ENOMEM;
	case -13: return -EACCES;
	case -14: return -EFAULT;
	case -16: return -EBUSY;
	case -17: return -EEXIST;
	case -19: return -ENODEV;
	case -20: return -ENOTDIR;
	case -22: return -EINVAL;
	case -24: return -EMFILE;
	case -28: return -ENOSPC;
	case -32: return -EPIPE;
	case -34: return -ERANGE;
	case -38: return -ENOSYS;
	case -95: case -524: return -ENOTSUP;
	default: return result;
	}
}

/* The same for a poll, which says that it was interrupted in WASI's number: programs for the public header compare
 * with it. */
static inline int skep_poll_result(int result)
{
	return result == -EINTR ? result : skep_result(result);
}

#endif /* SKEP_ERRNO_H */
