/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* libbpf's name for the map functions. */
#ifndef SKEP_BPF_BPF_H
#define SKEP_BPF_BPF_H
#include "libbpf.h"
#endif
