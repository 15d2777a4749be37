/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What the skeleton of an unmodified bpftool includes: the SDK, with libbpf's form of the skeleton's structures. */
#ifndef SKEP_BPF_LIBBPF_H
#define SKEP_BPF_LIBBPF_H
#if defined(SKEP_OBJECT_H) && !defined(SKEP_LIBBPF_SKELETON)
#error "include the .skel.h (or <bpf/libbpf.h>) before skep.h: the skeleton decides the form of its structures"
#endif
#define SKEP_LIBBPF_SKELETON 1
/* A skeleton writes the types of an object's variables as the kernel names them. */
#ifndef __u8
#include <stdint.h>
typedef uint8_t __u8;
typedef uint16_t __u16;
typedef uint32_t __u32;
typedef uint64_t __u64;
typedef int8_t __s8;
typedef int16_t __s16;
typedef int32_t __s32;
typedef int64_t __s64;
#endif
#include "../skep.h"
#endif
