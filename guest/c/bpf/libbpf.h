/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the skeleton of an unmodified bpftool includes: the SDK, with libbpf's form of the skeleton's structures. */
#ifndef SKEP_BPF_LIBBPF_H
#define SKEP_BPF_LIBBPF_H
#if defined(SKEP_OBJECT_H) && !defined(SKEP_LIBBPF_SKELETON)
#error "include the .skel.h (or <bpf/libbpf.h>) before skep.h: the skeleton decides the form of its structures"
#endif
#define SKEP_LIBBPF_SKELETON 1
#include "../skep.h"
#endif
