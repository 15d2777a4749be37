//! World `operator`: the Wasm half of a gadget.
//!
//! Public origin: Inspektor Gadget, commit aeac857b. Buffers and strings travel as one i64, `len << 32 | ptr`, and 0 is
//! the empty string. Handles are u32 and not 0; an array element's is `1 << 31 | index << 16 | array`. Results are 0 for
//! success and 1 for failure unless said.

use crate::{
    Func, ValType,
    ValType::*,
    layout::{Layout, Wire},
    surface::{Form, Marker, Surface},
    wasi,
};

/// The imports' module.
pub const MODULE: &str = "ig";
/// What [`API_VERSION`] has to return.
pub const VERSION: u64 = 1;

const fn ig(name: &'static str, params: &'static [ValType], results: &'static [ValType]) -> Func {
    Func::import(MODULE, name, params, results)
}

/// `(level, text)`: a line for the log; see [`Level`].
pub const LOG_LINE: Func = ig("gadgetLog", &[I32, I64], &[]);
/// `(level)`: 1 if a line of that level would be shown.
pub const SHOULD_LOG: Func = ig("gadgetShouldLog", &[I32], &[I32]);

/// `(name, type)`: a new data source's handle; see [`SourceType`].
pub const NEW_DATA_SOURCE: Func = ig("newDataSource", &[I64, I32], &[I32]);
/// `(name)`: the data source's handle.
pub const GET_DATA_SOURCE: Func = ig("getDataSource", &[I64], &[I32]);
/// `(source, subscription, priority, callback)`: the host calls [`DATA_CALLBACK`] with `callback`; see [`Subscription`].
pub const SUBSCRIBE: Func = ig("dataSourceSubscribe", &[I32, I32, I32, I64], &[I32]);
/// `(source, name)`: a field's handle.
pub const GET_FIELD: Func = ig("dataSourceGetField", &[I32, I64], &[I32]);
/// `(source, name, kind)`: the handle of a field of [`FieldKind`] `kind`, made new.
pub const ADD_FIELD: Func = ig("dataSourceAddField", &[I32, I64, I32], &[I32]);
/// `(source)`: an empty packet.
pub const NEW_PACKET: Func = ig("dataSourceNewPacketSingle", &[I32], &[I32]);
/// `(source)`: an empty packet that holds an array.
pub const NEW_PACKET_ARRAY: Func = ig("dataSourceNewPacketArray", &[I32], &[I32]);
/// `(source, packet)`: sends the packet on and gives its handle back.
pub const EMIT: Func = ig("dataSourceEmitAndRelease", &[I32, I32], &[I32]);
/// `(source, packet)`: gives the packet back unsent.
pub const RELEASE_PACKET: Func = ig("dataSourceRelease", &[I32, I32], &[I32]);
/// `(source)`: nothing of this module needs the source any more.
pub const UNREFERENCE: Func = ig("dataSourceUnreference", &[I32], &[I32]);
/// `(source)`: 1 if the source is needed, 0 if not, 2 on an error.
pub const IS_REFERENCED: Func = ig("dataSourceIsReferenced", &[I32], &[I32]);

/// `(array)`: a new element, not yet in it.
pub const ARRAY_NEW: Func = ig("dataArrayNew", &[I32], &[I32]);
/// `(array, element)`: puts the element at the end.
pub const ARRAY_APPEND: Func = ig("dataArrayAppend", &[I32, I32], &[I32]);
/// `(array, element)`: gives an element back that was not appended.
pub const ARRAY_RELEASE: Func = ig("dataArrayRelease", &[I32, I32], &[I32]);
/// `(array)`: how many elements there are.
pub const ARRAY_LEN: Func = ig("dataArrayLen", &[I32], &[I32]);
/// `(array, index)`: an element.
pub const ARRAY_GET: Func = ig("dataArrayGet", &[I32, I32], &[I32]);

/// `(field, data, kind, error)`: a number as 64 bits, floats as they are; on failure writes u32 1 at `error` unless it is 0.
pub const GET_SCALAR: Func = ig("fieldGetScalar", &[I32, I32, I32, I32], &[I64]);
/// `(field, data, kind, dst)`: copies a string or bytes; the length, or −1.
pub const GET_BUFFER: Func = ig("fieldGetBuffer", &[I32, I32, I32, I64], &[I32]);
/// `(field, data, kind, value)`: sets a value; of strings and bytes, `value` is the buffer.
pub const SET_FIELD: Func = ig("fieldSet", &[I32, I32, I32, I64], &[I32]);
/// `(field, tag)`: adds a tag.
pub const ADD_TAG: Func = ig("fieldAddTag", &[I32, I64], &[I32]);

/// `(key, dst)`: copies a parameter's value.
pub const GET_PARAM: Func = ig("getParamValue", &[I64, I64], &[I32]);
/// `(key, value, kind)`: sets a value of the configuration, such as `programs.<name>.attach_to`.
pub const SET_CONFIG: Func = ig("setConfig", &[I64, I64, I32], &[I32]);
/// `(handle)`: gives any handle back.
pub const RELEASE_HANDLE: Func = ig("releaseHandle", &[I32], &[I32]);
/// `(mntns)`: 1 if the events of that mount namespace are not wanted.
pub const DISCARD_MNTNS: Func = ig("shouldDiscardMntnsID", &[I64], &[I32]);

/// `(name, type, key size, value size, entries)`: a new map's handle.
pub const NEW_MAP: Func = ig("newMap", &[I64, I32, I32, I32, I32], &[I32]);
/// `(name)`: a map's handle.
pub const GET_MAP: Func = ig("getMap", &[I64], &[I32]);
/// `(map, key, dst)`: copies the value of `key`.
pub const MAP_LOOKUP: Func = ig("mapLookup", &[I32, I64, I64], &[I32]);
/// `(map, key, value, flags)`: stores `value`.
pub const MAP_UPDATE: Func = ig("mapUpdate", &[I32, I64, I64, I64], &[I32]);
/// `(map, key)`: removes `key`.
pub const MAP_DELETE: Func = ig("mapDelete", &[I32, I64], &[I32]);
/// `(map)`: gives the handle back.
pub const MAP_RELEASE: Func = ig("mapRelease", &[I32], &[I32]);

/// `(map, size, overwritable)`: a reader of a perf event array; 1 on a bad handle.
pub const NEW_PERF_READER: Func = ig("newPerfReader", &[I32, I32, I32], &[I32]);
/// `(reader)`: stops the reader's buffers from being overwritten.
pub const PERF_PAUSE: Func = ig("perfReaderPause", &[I32], &[I32]);
/// `(reader)`: ends [`PERF_PAUSE`].
pub const PERF_RESUME: Func = ig("perfReaderResume", &[I32], &[I32]);
/// `(reader, dst)`: copies the next record; 2 if there is none by the deadline.
pub const PERF_READ: Func = ig("perfReaderRead", &[I32, I64], &[I32]);
/// `(reader)`: ends the reader.
pub const PERF_CLOSE: Func = ig("perfReaderClose", &[I32], &[I32]);

/// `(number, dst)`: copies a system call's name.
pub const SYSCALL_NAME: Func = ig("getSyscallName", &[I32, I64], &[I32]);
/// `(name)`: a system call's number, or −1.
pub const SYSCALL_ID: Func = ig("getSyscallID", &[I64], &[I32]);
/// `(name, dst)`: copies a system call's declaration: name [u8; 32], count u8, 3 bytes of padding, six times
/// {name [u8; 32], flags u32}; flag bit 0 says pointer.
pub const SYSCALL_DECLARATION: Func = ig("getSyscallDeclaration", &[I64, I64], &[I32]);
/// `(name)`: 1 if the kernel has that symbol.
pub const SYMBOL_EXISTS: Func = ig("kallsymsSymbolExists", &[I64], &[I32]);

/// The log.
pub const LOG: &[Func] = &[LOG_LINE, SHOULD_LOG];
/// Data sources, packets, fields, parameters, handles, and the table of system calls.
pub const GADGET: &[Func] = &[
    NEW_DATA_SOURCE,
    GET_DATA_SOURCE,
    SUBSCRIBE,
    GET_FIELD,
    ADD_FIELD,
    NEW_PACKET,
    NEW_PACKET_ARRAY,
    EMIT,
    RELEASE_PACKET,
    UNREFERENCE,
    IS_REFERENCED,
    ARRAY_NEW,
    ARRAY_APPEND,
    ARRAY_RELEASE,
    ARRAY_LEN,
    ARRAY_GET,
    GET_SCALAR,
    GET_BUFFER,
    SET_FIELD,
    ADD_TAG,
    GET_PARAM,
    RELEASE_HANDLE,
    DISCARD_MNTNS,
    SYSCALL_NAME,
    SYSCALL_ID,
    SYSCALL_DECLARATION,
];
/// Where programs attach, and the rest of the configuration.
pub const CONFIG: &[Func] = &[SET_CONFIG];
/// Maps, read.
pub const MAP_READ: &[Func] = &[GET_MAP, MAP_LOOKUP, MAP_RELEASE];
/// Maps, written and made.
pub const MAP_WRITE: &[Func] = &[NEW_MAP, MAP_UPDATE, MAP_DELETE];
/// Perf event arrays.
pub const PERF: &[Func] = &[NEW_PERF_READER, PERF_PAUSE, PERF_RESUME, PERF_READ, PERF_CLOSE];
/// The kernel's symbols.
pub const KALLSYMS: &[Func] = &[SYMBOL_EXISTS];

/// Returns [`VERSION`].
pub const API_VERSION: Func = Func::export("gadgetAPIVersion", &[], &[I64]);
/// Before anything else of the gadget; 0 is success, here and below.
pub const INIT: Func = Func::export("gadgetInit", &[], &[I32]);
/// Before the programs are loaded.
pub const PRE_START: Func = Func::export("gadgetPreStart", &[], &[I32]);
/// After the programs are attached.
pub const START: Func = Func::export("gadgetStart", &[], &[I32]);
/// Before the programs are detached.
pub const STOP: Func = Func::export("gadgetStop", &[], &[I32]);
/// After the programs are detached.
pub const POST_STOP: Func = Func::export("gadgetPostStop", &[], &[I32]);
/// `(callback, source, data)`: data of a source that was subscribed to.
pub const DATA_CALLBACK: Func = Func::export("dataSourceCallback", &[I64, I32, I32], &[]);

/// The world's modules.
pub const SURFACE: Surface = Surface {
    imports: &[
        LOG,
        GADGET,
        CONFIG,
        MAP_READ,
        MAP_WRITE,
        PERF,
        KALLSYMS,
        wasi::PROCESS,
        wasi::CLOCK,
        wasi::RANDOM,
        wasi::DESCRIPTORS,
        wasi::FILES,
        wasi::SOCKETS,
    ],
    aliases: &[],
    memory: None,
    forms: &[Form {
        name: "",
        markers: &[Marker::ImportModule(MODULE), Marker::Export("gadgetAPIVersion")],
        required: &[API_VERSION],
        optional: &[INIT, PRE_START, START, STOP, POST_STOP, DATA_CALLBACK, wasi::INITIALIZE],
        globals: &[],
        memory: true,
    }],
};

/// The `type` of [`NEW_DATA_SOURCE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SourceType {
    /// A packet is one element.
    Single = 1,
    /// A packet is an array.
    Array = 2,
}

/// The `subscription` of [`SUBSCRIBE`]: what `data` of [`DATA_CALLBACK`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Subscription {
    /// One element; of an array, each in turn.
    Data = 1,
    /// An array.
    Array = 2,
    /// A packet.
    Packet = 3,
}

/// The `level` of [`LOG_LINE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Level {
    Error = 0,
    Warn = 1,
    Info = 2,
    Debug = 3,
    Trace = 4,
}

macro_rules! kinds {
    ($($name:ident = $raw:literal, $size:expr;)*) => {
        /// The kind of a field's value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Layout, Wire)]
        #[repr(u32)]
        #[allow(missing_docs)]
        pub enum FieldKind {
            $($name = $raw,)*
        }

        impl FieldKind {
            /// The kind of that number.
            pub const fn from_raw(raw: u32) -> Option<Self> {
                Some(match raw {
                    $($raw => Self::$name,)*
                    _ => return None,
                })
            }

            /// Bytes of a value; `None` where they vary.
            pub const fn size(self) -> Option<usize> {
                match self {
                    $(Self::$name => $size,)*
                }
            }
        }
    };
}

kinds! {
    Invalid = 0, None;
    Bool = 1, Some(1);
    Int8 = 2, Some(1);
    Int16 = 3, Some(2);
    Int32 = 4, Some(4);
    Int64 = 5, Some(8);
    Uint8 = 6, Some(1);
    Uint16 = 7, Some(2);
    Uint32 = 8, Some(4);
    Uint64 = 9, Some(8);
    Float32 = 10, Some(4);
    Float64 = 11, Some(8);
    String = 12, None;
    CString = 13, None;
    Bytes = 14, None;
}
