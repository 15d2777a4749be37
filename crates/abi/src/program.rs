//! World `program`: a WASI command that loads, attaches and polls the eBPF it carries.
//!
//! Public origin: wasm-bpf. Handles of objects are i64 and positive; handles of maps are i32 and not negative, valid
//! only in the guest that got them. Results are 0 or a negative errno unless said.

use crate::{
    Func,
    ValType::*,
    surface::{Form, Marker, Surface},
    wasi,
};

/// The imports' module.
pub const MODULE: &str = "wasm_bpf";
/// The older name of the same module.
pub const MODULE_OLD: &str = "env";
/// The module of [`BUFFER_POLL_TINYGO`].
pub const MODULE_TINYGO: &str = "callback-wrapper";
/// The module of Skep's own additions: maps in the guest's linear memory, and reading iterators.
pub const MODULE_SHARED: &str = "skep_bpf";
/// The module of WASI preview 1.
pub const MODULE_WASI: &str = wasi::MODULE;

/// `(buf, len)`: opens and loads the ELF object in guest memory; an object handle, or 0.
pub const LOAD: Func = Func::import(MODULE, "wasm_load_bpf_object", &[I32, I32], &[I64]);
/// `(object)`: detaches its programs and closes it; 0, or −1 for an unknown handle.
pub const CLOSE: Func = Func::import(MODULE, "wasm_close_bpf_object", &[I64], &[I32]);
/// `(object, name, target)`: attaches one program; NUL-terminated strings.
pub const ATTACH: Func = Func::import(MODULE, "wasm_attach_bpf_program", &[I64, I32, I32], &[I32]);
/// `(object, name, fd)`: attaches one program to the directory behind a WASI descriptor (a cgroup).
pub const ATTACH_FD: Func = Func::import(MODULE, "wasm_attach_bpf_program_fd", &[I64, I32, I32], &[I32]);
/// `(object, name)`: a map handle.
pub const MAP_FD: Func = Func::import(MODULE, "wasm_bpf_map_fd_by_name", &[I64, I32], &[I32]);
/// `(object, map, fn, ctx, data, max, timeout_ms)`: polls a ring or perf buffer; `fn` indexes the exported table and is
/// called with `(ctx, data, size)` once for each record.
pub const BUFFER_POLL: Func =
    Func::import(MODULE, "wasm_bpf_buffer_poll", &[I64, I32, I32, I32, I32, I32, I32], &[I32]);
/// `(object, map, ctx, data, max, timeout_ms)`: the same; the host calls [`TINYGO_CALLBACK`].
pub const BUFFER_POLL_TINYGO: Func =
    Func::import(MODULE_TINYGO, "wasm_bpf_buffer_poll", &[I64, I32, I32, I32, I32, I32], &[I32]);
/// `(map, command, key, value, next_key, flags)`: see [`MapCommand`].
pub const MAP_OPERATE: Func = Func::import(MODULE, "wasm_bpf_map_operate", &[I32, I32, I32, I32, I32, I64], &[I32]);
/// [`MAP_OPERATE`] as the public Rust and Go SDKs declare it, with pointers of 64 bits.
pub const MAP_OPERATE_WIDE: Func =
    Func::import(MODULE, "wasm_bpf_map_operate", &[I32, I32, I64, I64, I64, I64], &[I32]);

/// What a TinyGo guest exports for [`BUFFER_POLL_TINYGO`]: `(ctx, data, size)`.
pub const TINYGO_CALLBACK: Func = Func::export("go-callback", &[I32, I32, I32], &[I32]);

/// `(map, addr, len, offset, flags)`: maps `len` bytes of a map, from `offset` of what `mmap(2)` on it shows, at `addr`
/// of linear memory; all three are multiples of 4096. `flags` are [`SHARED_WRITE`] or 0.
pub const SHARED_MAP: Func = Func::import(MODULE_SHARED, "map_mmap", &[I32, I32, I32, I64, I32], &[I32]);
/// `(addr, len)`: ends a mapping made by [`SHARED_MAP`]; the memory reads zero afterwards.
pub const SHARED_UNMAP: Func = Func::import(MODULE_SHARED, "map_munmap", &[I32, I32], &[I32]);
/// `(map, info)`: writes seven u32 at `info`: type, key size, value size, max entries, flags, and the bytes that
/// can be mapped, low and high half.
pub const SHARED_INFO: Func = Func::import(MODULE_SHARED, "map_info", &[I32, I32], &[I32]);
/// `(map, timeout_ms)`: waits until a ring buffer has records; 1 if it has, 0 on time-out.
pub const SHARED_WAIT: Func = Func::import(MODULE_SHARED, "map_wait", &[I32, I32], &[I32]);
/// `(buf, len, arena)`: [`LOAD`] with the object's arena placed at `arena` of linear memory.
pub const SHARED_LOAD: Func = Func::import(MODULE_SHARED, "load_object_at", &[I32, I32, I32], &[I64]);

/// `(object, name, buf, len)`: reads on in what the attached iterator program `name` prints (`bpf_seq_printf`,
/// `bpf_seq_write`); the bytes written to `buf`, or 0 at its end, after which the next call starts it anew. A kernel
/// object that the program skips prints nothing; a read ends early where the kernel's own buffer does.
pub const ITER_READ: Func = Func::import(MODULE_SHARED, "iter_read", &[I64, I32, I32, I32], &[I32]);

/// What [`BUFFER_POLL`] and [`SHARED_WAIT`] return when the run is to end: minus `EINTR` in WASI's numbers (27), which is
/// what guests in C compare with, and not the kernel's 4. Other guests end at any negative number.
pub const INTERRUPTED: i32 = -27;

/// [`SHARED_MAP`]'s flag for a mapping that the guest can write to.
pub const SHARED_WRITE: i32 = 1;

/// The functions of module `wasm_bpf`, each in the form of the public C SDK.
pub const IMPORTS: &[Func] = &[LOAD, CLOSE, ATTACH, ATTACH_FD, MAP_FD, BUFFER_POLL, MAP_OPERATE];
/// The other forms in which public SDKs declare some of [`IMPORTS`].
pub const VARIANTS: &[Func] = &[MAP_OPERATE_WIDE, BUFFER_POLL_TINYGO];
/// The functions of module `skep_bpf` that put maps into the guest's memory.
pub const SHARED_IMPORTS: &[Func] = &[SHARED_MAP, SHARED_UNMAP, SHARED_INFO, SHARED_WAIT, SHARED_LOAD];
/// The functions of module `skep_bpf` that read iterators.
pub const ITER_IMPORTS: &[Func] = &[ITER_READ];

/// The world's modules.
pub const SURFACE: Surface = Surface {
    imports: &[
        IMPORTS,
        VARIANTS,
        SHARED_IMPORTS,
        ITER_IMPORTS,
        wasi::PROCESS,
        wasi::CLOCK,
        wasi::RANDOM,
        wasi::DESCRIPTORS,
        wasi::FILES,
        wasi::SOCKETS,
    ],
    aliases: &[(MODULE_OLD, MODULE)],
    memory: None,
    forms: &[
        Form {
            name: "tinygo",
            markers: &[Marker::ImportModule(MODULE_TINYGO)],
            required: &[wasi::START, TINYGO_CALLBACK],
            optional: &[],
            globals: &[],
            memory: true,
        },
        Form {
            name: "command",
            markers: &[
                Marker::ImportModule(MODULE),
                Marker::ImportModule(MODULE_SHARED),
                Marker::Import(MODULE_OLD, "wasm_load_bpf_object"),
                Marker::Import(MODULE_OLD, "wasm_close_bpf_object"),
                Marker::Import(MODULE_OLD, "wasm_attach_bpf_program"),
                Marker::Import(MODULE_OLD, "wasm_bpf_map_fd_by_name"),
                Marker::Import(MODULE_OLD, "wasm_bpf_buffer_poll"),
                Marker::Import(MODULE_OLD, "wasm_bpf_map_operate"),
            ],
            required: &[wasi::START],
            optional: &[],
            globals: &[],
            memory: true,
        },
    ],
};

/// The `command` of [`MAP_OPERATE`]; the numbers are those of `enum bpf_cmd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum MapCommand {
    /// Copies the value of `key` to `value`.
    Lookup = 1,
    /// Stores `value` under `key`.
    Update = 2,
    /// Removes `key`.
    Delete = 3,
    /// Copies the key after `key` to `next_key`; `key` 0 asks for the first.
    GetNextKey = 4,
}

impl MapCommand {
    /// The command of that number.
    pub const fn from_raw(raw: i32) -> Option<Self> {
        Some(match raw {
            1 => Self::Lookup,
            2 => Self::Update,
            3 => Self::Delete,
            4 => Self::GetNextKey,
            _ => return None,
        })
    }
}
