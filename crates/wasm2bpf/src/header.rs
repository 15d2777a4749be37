//! A C header for the eBPF programs that call compiled functions and are linked with the object.

use std::fmt::Write as _;

use crate::{
    Object,
    layout::{FUEL, FUEL_EMPTY, FUEL_MOST, RESULTS, TRAP},
    module::Ty,
    regalloc::REGISTER_PARAMS,
};

/// How a cell or a byte of an instance is reached, by what instances live in.
const IN_ARENA: &str = "\
/* Instances live in the module's arena. Whoever loads the program says how large it is (max_entries, in pages of 4 KiB)
 * and where (map_extra, whose low 32 bits are 0), and touches each page once: code in the kernel cannot. */
extern struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WASM_ARENA_PAGES);
} arena SEC(\".maps\");

/* What lies `offset` bytes from `base`; WASM_USES_ARENA once in a program that does this. */
#define WASM_AT(type, base, offset) \\
	((type __attribute__((address_space(1))) *)(unsigned long)(__u32)((base) + (offset)))
#define WASM_USES_ARENA asm volatile(\"\" ::\"r\"(&arena))
";

const IN_ARRAY: &str = "\
/* Instances live in this array. */
extern unsigned char wasm_memory[WASM_ARRAY_BYTES];

/* What lies `offset` bytes from `base`, at a multiple of eight. */
#define WASM_AT(type, base, offset) ((type *)(wasm_memory + (((base) + (offset)) & (WASM_ARRAY_BYTES - 8))))
#define WASM_USES_ARENA
";

const CALLS: &str = "\
/* The base of an instance: what each function takes first. Instances are made by the loader. */
static inline __u32 wasm_base(__u32 instance)
{
	return instance * WASM_INSTANCE_BYTES + WASM_HEADER_BYTES;
}

/* Before a call: so much fuel, at most WASM_FUEL_MOST, and no trap. */
static inline void wasm_begin(__u32 base, __u64 fuel)
{
	WASM_USES_ARENA;
	*WASM_AT(volatile __u64, base, WASM_FUEL) = fuel + 1 + WASM_FUEL_EMPTY;
	*WASM_AT(volatile __u64, base, WASM_TRAP) = 0;
}

/* After a call: 0, or the number of the place that trapped, as `skep compile --emit asm` lists them. */
static inline __u32 wasm_trap(__u32 base)
{
	return (__u32)*WASM_AT(volatile __u64, base, WASM_TRAP);
}
";

fn c_type(ty: Ty) -> &'static str {
    if ty == Ty::I32 { "__u32" } else { "__u64" }
}

/// Prints the header.
pub(crate) fn print(object: &Object) -> String {
    let layout = &object.layout;
    let mut out = String::from(
        "/* The functions of a WebAssembly module, for the eBPF programs that call them. Made by `skep compile`.\n \
         * To be included after <linux/bpf.h> or vmlinux.h, and <bpf/bpf_helpers.h>. */\n#pragma once\n\n",
    );
    let mut define = |name: &str, value: i64| {
        let _ = writeln!(out, "#define WASM_{name} {value}");
    };
    match layout.array {
        None => define("ARENA_PAGES", layout.instance_bytes() as i64 / 4096 + 1),
        Some(array) => define("ARRAY_BYTES", (array.stride * u64::from(array.instances)) as i64),
    }
    define("INSTANCE_BYTES", layout.instance_bytes() as i64);
    define("HEADER_BYTES", i64::from(layout.header));
    define("FUEL", i64::from(FUEL));
    define("FUEL_EMPTY", i64::from(FUEL_EMPTY));
    define("FUEL_MOST", FUEL_MOST as i64);
    define("TRAP", i64::from(TRAP));
    out.push('\n');
    out.push_str(if layout.array.is_none() { IN_ARENA } else { IN_ARRAY });
    out.push('\n');
    out.push_str(CALLS);
    out.push('\n');
    for function in object.entries.iter().flat_map(|entry| &entry.roots) {
        let Some(report) = object.report.functions.iter().find(|report| report.index == *function) else { continue };
        let signature = object.module.signature(*function);
        let mut parameters = String::from("__u32 base");
        for (ty, index) in signature.param_types().zip(0u32..) {
            if index < REGISTER_PARAMS {
                let _ = write!(parameters, ", {} p{index}", c_type(ty));
            } else {
                let at = report.frame_slot - 8 * (index - REGISTER_PARAMS) as i32;
                let _ = writeln!(out, "/* p{index}, of {}: before the call at base {at:+} */", c_type(ty));
            }
        }
        for (ty, index) in signature.result_types().zip(0i32..).skip(1) {
            let at = RESULTS - 8 * (index - 1);
            let _ = writeln!(out, "/* result {index}, of {}: after the call at base {at:+} */", c_type(ty));
        }
        let _ = writeln!(out, "extern __u64 {}({parameters});", report.symbol);
    }
    out
}
