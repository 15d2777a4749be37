//! World `hooks`: plugins that filter, shape and observe batches of records.
//!
//! Public origin: cc-lb's plugins, whose metadata, fingerprints and buffer functions are kept under the prefix `skep`.
//! One call handles one batch. A hook's result is an i64, `ptr << 32 | len`.

pub mod wire;

use crate::{
    Func,
    ValType::*,
    surface::{Form, Marker, Surface},
};

/// The imports' module. A plugin may import what its declared capabilities name, and nothing else.
pub const MODULE: &str = "skep";
/// The custom section that holds the plugin's description, a JSON object in UTF-8.
pub const METADATA_SECTION: &str = "skep.plugin.v1";
/// What the name of a fingerprint's section starts with: `skep.schema.<hook>.v<wire version>`, 32 bytes.
pub const SCHEMA_PREFIX: &str = "skep.schema.";

/// `(size, align)`: memory for the host to write to; 0 is failure.
pub const ALLOC: Func = Func::export("skep_alloc", &[I32, I32], &[I32]);
/// `(ptr, size, align)`: gives memory of [`ALLOC`] back.
pub const FREE: Func = Func::export("skep_free", &[I32, I32, I32], &[]);

macro_rules! hooks {
    ($($variant:ident, $constant:ident, $name:literal, $export:literal, $about:literal;)*) => {
        /// A stage of the event pipeline that a plugin can be.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Hook {
            $(#[doc = $about] $variant,)*
        }

        $(
            #[doc = concat!("`(ptr, len)`: the request of hook `", $name, "`; its response as `ptr << 32 | len`.")]
            pub const $constant: Func = Func::export($export, &[I32, I32], &[I64]);
        )*

        impl Hook {
            /// Every hook, in the order of the pipeline.
            pub const ALL: &'static [Hook] = &[$(Hook::$variant,)*];

            /// The hook's name in metadata, in section names and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Hook::$variant => $name,)* }
            }

            /// What the hook does, in one line.
            pub const fn about(self) -> &'static str {
                match self { $(Hook::$variant => $about,)* }
            }

            /// The function that a plugin exports for the hook.
            pub const fn export(self) -> Func {
                match self { $(Hook::$variant => $constant,)* }
            }

            /// The hook of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|hook| hook.name() == name)
            }
        }

        const MARKERS: &[Marker] = &[Marker::Section(METADATA_SECTION), $(Marker::Export($export),)*];
        const EXPORTS: &[Func] = &[$($constant,)* crate::wasi::INITIALIZE];
    };
}

hooks! {
    Filter, FILTER, "filter", "skep_filter", "Says which records of a batch are kept";
    Shape, SHAPE, "shape", "skep_shape", "Changes records, adds columns and hides fields";
    Observe, OBSERVE, "observe", "skep_observe", "Folds records into metrics or a text";
}

/// `(level, ptr, len)`: a line of UTF-8 for the host's log; levels 0 error, 1 warn, 2 info, 3 debug, 4 trace.
pub const LOG_LINE: Func = Func::import(MODULE, "log", &[I32, I32, I32], &[]);
/// Nanoseconds of CLOCK_MONOTONIC.
pub const CLOCK_MONOTONIC: Func = Func::import(MODULE, "clock_monotonic", &[], &[I64]);
/// Nanoseconds of CLOCK_REALTIME.
pub const CLOCK_REALTIME: Func = Func::import(MODULE, "clock_realtime", &[], &[I64]);
/// `(name ptr, name len, value)`: adds to a counter.
pub const METRIC_ADD: Func = Func::import(MODULE, "metric_add", &[I32, I32, I64], &[]);
/// `(name ptr, name len, value)`: sets a gauge.
pub const METRIC_SET: Func = Func::import(MODULE, "metric_set", &[I32, I32, I64], &[]);
/// `(name ptr, name len)`: a map's handle, or a negative errno.
pub const MAP_OPEN: Func = Func::import(MODULE, "map_open", &[I32, I32], &[I32]);
/// `(map, key, value)`: copies the value of the key at `key` to `value`; 0 or a negative errno.
pub const MAP_LOOKUP: Func = Func::import(MODULE, "map_lookup", &[I32, I32, I32], &[I32]);
/// `(map, key, next_key)`: copies the key after `key`, the first one if `key` is 0; 0 or a negative errno.
pub const MAP_NEXT_KEY: Func = Func::import(MODULE, "map_next_key", &[I32, I32, I32], &[I32]);
/// `(map, key, value, flags)`: stores the value; 0 or a negative errno.
pub const MAP_UPDATE: Func = Func::import(MODULE, "map_update", &[I32, I32, I32, I64], &[I32]);
/// `(map, key)`: removes the key; 0 or a negative errno.
pub const MAP_DELETE: Func = Func::import(MODULE, "map_delete", &[I32, I32], &[I32]);
/// `(address, dst, len)`: copies the name of the kernel symbol at that address; its length, or a negative errno.
pub const KSYM_NAME: Func = Func::import(MODULE, "ksym_name", &[I64, I32, I32], &[I32]);
/// `(name ptr, name len)`: the address of a kernel symbol, or 0.
pub const KSYM_ADDRESS: Func = Func::import(MODULE, "ksym_address", &[I32, I32], &[I64]);
/// `(path ptr, path len, flags)`: opens a file below the granted directory; a descriptor or a negative errno. Flags:
/// 0 to read, 1 to write anew, 2 to append.
pub const FILE_OPEN: Func = Func::import(MODULE, "file_open", &[I32, I32, I32], &[I32]);
/// `(fd, ptr, len)`: the bytes read, 0 at the end, or a negative errno.
pub const FILE_READ: Func = Func::import(MODULE, "file_read", &[I32, I32, I32], &[I32]);
/// `(fd, ptr, len)`: the bytes written, or a negative errno.
pub const FILE_WRITE: Func = Func::import(MODULE, "file_write", &[I32, I32, I32], &[I32]);
/// `(fd)`: 0 or a negative errno.
pub const FILE_CLOSE: Func = Func::import(MODULE, "file_close", &[I32], &[I32]);

/// The log.
pub const LOG: &[Func] = &[LOG_LINE];
/// Clocks.
pub const CLOCK: &[Func] = &[CLOCK_MONOTONIC, CLOCK_REALTIME];
/// Metrics.
pub const METRICS: &[Func] = &[METRIC_ADD, METRIC_SET];
/// Maps, read.
pub const MAP_READ: &[Func] = &[MAP_OPEN, MAP_LOOKUP, MAP_NEXT_KEY];
/// Maps, written.
pub const MAP_WRITE: &[Func] = &[MAP_UPDATE, MAP_DELETE];
/// The kernel's symbols.
pub const KALLSYMS: &[Func] = &[KSYM_NAME, KSYM_ADDRESS];
/// Files below a directory.
pub const FILES: &[Func] = &[FILE_OPEN, FILE_READ, FILE_WRITE, FILE_CLOSE];

/// The world's modules.
pub const SURFACE: Surface = Surface {
    imports: &[LOG, CLOCK, METRICS, MAP_READ, MAP_WRITE, KALLSYMS, FILES],
    aliases: &[],
    memory: None,
    forms: &[Form {
        name: "",
        markers: MARKERS,
        required: &[ALLOC, FREE],
        optional: EXPORTS,
        globals: &[],
        memory: true,
    }],
};
