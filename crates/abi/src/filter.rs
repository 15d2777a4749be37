//! World `filter`: keeps or drops one event a call.
//!
//! Public origin: Aperture's WASM filters. The event is the 88 bytes of `EventContext`.

use crate::{
    Func,
    ValType::*,
    surface::{Form, MEMORY, Marker, Surface},
};

/// The import's module.
pub const MODULE: &str = "env";

/// `(ptr, len)`: a line of UTF-8 for the host's log.
pub const LOG_LINE: Func = Func::import(MODULE, "log", &[I32, I32], &[]);

/// `(ptr, len)`: the event; not 0 keeps it, 0 discards it.
pub const FILTER: Func = Func::export("filter", &[I32, I32], &[I32]);

/// Fuel of one call.
pub const FUEL: u64 = 1_000_000;
/// Pages of 64 KiB a module may have, whoever defines the memory: 1 MiB.
pub const MAX_PAGES: u64 = 16;

/// The log.
pub const LOG: &[Func] = &[LOG_LINE];

/// The world's modules.
pub const SURFACE: Surface = Surface {
    imports: &[LOG],
    aliases: &[],
    memory: Some((MODULE, MEMORY)),
    forms: &[Form {
        name: "",
        markers: &[Marker::Export("filter")],
        required: &[FILTER],
        optional: &[crate::hooks::ALLOC, crate::wasi::INITIALIZE],
        globals: &[],
        memory: true,
    }],
};
