/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The name under which wasm-bpf's programs and skeletons ask for the SDK. */
#ifndef _LIBBPF_WASM_H
#define _LIBBPF_WASM_H
#include "skep.h"
#endif
