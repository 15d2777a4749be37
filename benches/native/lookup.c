// SPDX-License-Identifier: MIT OR Apache-2.0
/* The baseline of guests/lookup.c: the same source over libbpf. */
#include "lookup.skel.h"
#include "../guests/lookup.c"
