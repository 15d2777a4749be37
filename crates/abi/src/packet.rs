//! World `packet`: handles the machine's packets.
//!
//! Public origin: wasm3-kernel-module, later camblet-driver. A module comes in one of two forms, told by its exports.

use crate::{
    Func,
    ValType::*,
    surface::{Form, Marker, Surface},
};

/// The imports' module.
pub const MODULE: &str = "env";

/// `(ptr, len)`: a line for the log.
pub const DEBUG: Func = Func::import(MODULE, "_debug", &[I32, I32], &[I32]);
/// Nanoseconds of a monotonic clock.
pub const CLOCK_NS: Func = Func::import(MODULE, "clock_ns", &[], &[I64]);
/// `(ptr, len)`: one JSON record.
pub const SUBMIT_METRIC: Func = Func::import(MODULE, "submit_metric", &[I32, I32], &[I32]);
/// `(key, ptr, len)`: stores bytes under `key`.
pub const TABLE_ADD: Func = Func::import(MODULE, "table_add", &[I32, I32, I32], &[]);
/// `(key)`: removes `key`.
pub const TABLE_DEL: Func = Func::import(MODULE, "table_del", &[I32], &[]);
/// `(key)`: the bytes under `key` as `ptr << 32 | len`.
pub const TABLE_GET: Func = Func::import(MODULE, "table_get", &[I32], &[I64]);
/// [`TABLE_GET`] as older modules declare it: two results, `ptr` and `len`.
pub const TABLE_GET_PAIR: Func = Func::import(MODULE, "table_get", &[I32], &[I32, I32]);
/// Every key, i32 each, as `ptr << 32 | len`.
pub const TABLE_KEYS: Func = Func::import(MODULE, "table_keys", &[], &[I64]);
/// [`TABLE_KEYS`] as older modules declare it: two results, `ptr` and `len`.
pub const TABLE_KEYS_PAIR: Func = Func::import(MODULE, "table_keys", &[], &[I32, I32]);

/// The log.
pub const LOG: &[Func] = &[DEBUG];
/// The clock.
pub const CLOCK: &[Func] = &[CLOCK_NS];
/// Metrics.
pub const METRICS: &[Func] = &[SUBMIT_METRIC];
/// The small table that the host keeps for a module.
pub const TABLE: &[Func] = &[TABLE_ADD, TABLE_DEL, TABLE_GET, TABLE_GET_PAIR, TABLE_KEYS, TABLE_KEYS_PAIR];

/// First form: `(0, 0)`, called once after loading.
pub const MAIN: Func = Func::export("main", &[I32, I32], &[I32]);
/// First form: `(id)`, a DNS query lies at [`DNS_PACKET`].
pub const DNS_QUERY: Func = Func::export("dns_query", &[I32], &[]);
/// [`DNS_QUERY`] with a verdict.
pub const DNS_QUERY_VERDICT: Func = Func::export("dns_query", &[I32], &[I32]);
/// First form: `(id)`, a DNS response lies at [`DNS_PACKET`].
pub const DNS_RESPONSE: Func = Func::export("dns_response", &[I32], &[]);
/// [`DNS_RESPONSE`] with a verdict.
pub const DNS_RESPONSE_VERDICT: Func = Func::export("dns_response", &[I32], &[I32]);
/// First form: the global that holds the address of the sender's address, [`ADDRESS_LEN`] bytes.
pub const SOURCE: &str = "SOURCE";
/// First form: the global that holds the address of the receiver's address, [`ADDRESS_LEN`] bytes.
pub const DESTINATION: &str = "DESTINATION";
/// First form: the global that holds the address of the DNS message, [`DNS_PACKET_LEN`] bytes.
pub const DNS_PACKET: &str = "DNS_PACKET";
/// Bytes behind [`SOURCE`] and [`DESTINATION`].
pub const ADDRESS_LEN: usize = 20;
/// Bytes behind [`DNS_PACKET`].
pub const DNS_PACKET_LEN: usize = 512;

/// Later form: `(size)`, memory for a packet; 0 is failure.
pub const MALLOC: Func = Func::export("malloc", &[I32], &[I32]);
/// Later form: `(ptr)`.
pub const FREE: Func = Func::export("free", &[I32], &[]);
/// Later form: `(ptr, size)`.
pub const FREE_SIZED: Func = Func::export("free", &[I32, I32], &[]);
/// Later form: `(ptr, len)`, an IP packet for this machine.
pub const PACKET_IN: Func = Func::export("packet_in", &[I32, I32], &[]);
/// [`PACKET_IN`] with a verdict.
pub const PACKET_IN_VERDICT: Func = Func::export("packet_in", &[I32, I32], &[I32]);
/// Later form: `(ptr, len)`, an IP packet of this machine.
pub const PACKET_OUT: Func = Func::export("packet_out", &[I32, I32], &[]);
/// [`PACKET_OUT`] with a verdict.
pub const PACKET_OUT_VERDICT: Func = Func::export("packet_out", &[I32, I32], &[I32]);

/// A handler's result that lets the packet pass. Handlers without a result accept.
pub const ACCEPT: i32 = 1;
/// A handler's result that drops the packet.
pub const DROP: i32 = 0;

/// The world's modules.
pub const SURFACE: Surface = Surface {
    imports: &[LOG, CLOCK, METRICS, TABLE],
    aliases: &[],
    memory: None,
    forms: &[
        Form {
            name: "packets",
            markers: &[Marker::Export("packet_in"), Marker::Export("packet_out")],
            required: &[MALLOC, FREE, FREE_SIZED],
            optional: &[
                PACKET_IN,
                PACKET_IN_VERDICT,
                PACKET_OUT,
                PACKET_OUT_VERDICT,
                MAIN,
                crate::wasi::INITIALIZE,
                crate::wasi::START,
            ],
            globals: &[],
            memory: true,
        },
        Form {
            name: "dns",
            markers: &[Marker::Export("dns_query"), Marker::Export("dns_response")],
            required: &[MAIN, DNS_QUERY, DNS_QUERY_VERDICT, DNS_RESPONSE, DNS_RESPONSE_VERDICT],
            optional: &[],
            globals: &[SOURCE, DESTINATION, DNS_PACKET],
            memory: true,
        },
    ],
};
