//! What passes in one call of a hook, wire version 1.
//!
//! The host writes a [`Request`] and all that it points to into memory that it took with `skep_alloc` once, when the
//! instance was made; a batch writes the records (a source may drain a ring straight into them) and the request.
//! The guest's response, and what it points to, stands until the next call. The host reads it bounded, and trusts
//! nothing of the records afterwards.

use super::Hook;
use crate::{
    layout::{self, Layout, List, Wire},
    operator::FieldKind,
};

/// One field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Layout, Wire)]
#[repr(C)]
pub struct Field {
    /// The field's name, UTF-8.
    pub name: List<u8>,
    /// How its bytes are read.
    pub kind: FieldKind,
    /// Bytes from the record's start.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

/// A column: one value of fixed width for each record of the batch, kept or not.
#[derive(Clone, Copy, Debug, PartialEq, Layout, Wire)]
#[repr(C)]
pub struct Column {
    /// The column's name, UTF-8.
    pub name: List<u8>,
    /// How a value's bytes are read; texts end at the first NUL.
    pub kind: FieldKind,
    /// Bytes of a value.
    pub width: u32,
    /// `width` bytes times the records of the batch.
    pub values: List<u8>,
}

/// Ask the hook `observe` for its metrics and text; without it, it may return none. The batch may be empty.
pub const REPORT: u32 = 1;

/// A batch, for every hook.
#[derive(Clone, Copy, Debug, PartialEq, Layout, Wire)]
#[repr(C)]
pub struct Request {
    /// A number that changes when `fields` do: what was found out about them holds as long as it stays.
    pub schema: u64,
    /// The records, `stride` bytes each. Hook `shape` may change them.
    pub records: List<u8>,
    /// How many records there are.
    pub count: u32,
    /// Bytes of a record, a multiple of 8.
    pub stride: u32,
    /// [`REPORT`] or 0.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
    /// Which records are selected: record `i` is bit `i % 64` of word `i / 64`. The bits from `count` on are 0.
    pub selected: List<u64>,
    /// The records' fields.
    pub fields: List<Field>,
    /// Columns that earlier stages added.
    pub columns: List<Column>,
    /// Room for a response's lists, for the guest to use if it likes; as many words as `selected` has at least.
    pub output: List<u64>,
}

/// Whether a hook did its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Layout, Wire)]
#[repr(u32)]
pub enum Status {
    /// It did.
    Done = 0,
    /// It could not, `error` says why; the host applies the hook's failure policy to the batch.
    Failed = 1,
}

/// The response of hook `filter`.
#[derive(Clone, Copy, Debug, PartialEq, Layout, Wire)]
#[repr(C)]
pub struct FilterResponse {
    /// Whether it did its work.
    pub status: Status,
    /// Why not, UTF-8.
    pub error: List<u8>,
    /// The records to keep, as many words as `selected` has. A record that was not selected stays out whatever its bit.
    pub keep: List<u64>,
}

/// The response of hook `shape`.
#[derive(Clone, Copy, Debug, PartialEq, Layout, Wire)]
#[repr(C)]
pub struct ShapeResponse {
    /// Whether it did its work.
    pub status: Status,
    /// Why not, UTF-8.
    pub error: List<u8>,
    /// Columns to add.
    pub columns: List<Column>,
    /// The names of fields and columns that outputs no longer show.
    pub hidden: List<List<u8>>,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Layout, Wire)]
#[repr(u32)]
pub enum MetricKind {
    /// A sum that only grows; `value` is the sum since the instance began.
    Counter = 0,
    /// A value that comes and goes.
    Gauge = 1,
    /// Counts by upper bound; `value` is the sum of what was measured.
    Histogram = 2,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Layout, Wire)]
#[repr(C)]
pub struct Metric {
    /// The metric's name, UTF-8.
    pub name: List<u8>,
    /// Labels as `key=value`, apart by commas, UTF-8.
    pub labels: List<u8>,
    /// What it is.
    pub kind: MetricKind,
    /// 0.
    pub reserved: u32,
    /// The value.
    pub value: i64,
    /// A histogram's upper bounds, rising; values above the last are counted in one bucket more.
    pub bounds: List<u64>,
    /// A histogram's counts, not summed up: as many as bounds and one more.
    pub counts: List<u64>,
}

/// The response of hook `observe`.
#[derive(Clone, Copy, Debug, PartialEq, Layout, Wire)]
#[repr(C)]
pub struct ObserveResponse {
    /// Whether it did its work.
    pub status: Status,
    /// Why not, UTF-8.
    pub error: List<u8>,
    /// Metrics.
    pub metrics: List<Metric>,
    /// A text to show, UTF-8.
    pub text: List<u8>,
}

/// One version of a hook's request and response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireVersion {
    /// The hook.
    pub hook: Hook,
    /// Its version.
    pub version: u32,
    /// BLAKE3 over the layout of both, see [`layout::fingerprint`].
    pub fingerprint: [u8; 32],
}

/// Fingerprint of hook `filter`, wire version 1.
pub const FILTER_V1: [u8; 32] = layout::fingerprint(&Request::DESC, &FilterResponse::DESC);
/// Fingerprint of hook `shape`, wire version 1.
pub const SHAPE_V1: [u8; 32] = layout::fingerprint(&Request::DESC, &ShapeResponse::DESC);
/// Fingerprint of hook `observe`, wire version 1.
pub const OBSERVE_V1: [u8; 32] = layout::fingerprint(&Request::DESC, &ObserveResponse::DESC);

/// The versions that this host speaks; there may be several of one hook.
pub const WIRE_VERSIONS: &[WireVersion] = &[
    WireVersion { hook: Hook::Filter, version: 1, fingerprint: FILTER_V1 },
    WireVersion { hook: Hook::Shape, version: 1, fingerprint: SHAPE_V1 },
    WireVersion { hook: Hook::Observe, version: 1, fingerprint: OBSERVE_V1 },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::describe;

    /// Wire version 1 is published: whoever changes it makes a version 2.
    #[test]
    fn wire_version_1_is_what_it_was() {
        assert_eq!(
            describe(&Request::DESC).as_str(),
            "{schema@0:u64;records@8:*u8;count@16:u32;stride@20:u32;flags@24:u32;reserved@28:u32;selected@32:*u64;\
             fields@40:*{name@0:*u8;kind@8:u32(Invalid=0|Bool=1|Int8=2|Int16=3|Int32=4|Int64=5|Uint8=6|Uint16=7|\
             Uint32=8|Uint64=9|Float32=10|Float64=11|String=12|CString=13|Bytes=14);offset@12:u32;size@16:u32}20/4;\
             columns@48:*{name@0:*u8;kind@8:u32(Invalid=0|Bool=1|Int8=2|Int16=3|Int32=4|Int64=5|Uint8=6|Uint16=7|\
             Uint32=8|Uint64=9|Float32=10|Float64=11|String=12|CString=13|Bytes=14);width@12:u32;values@16:*u8}24/4;\
             output@56:*u64}64/8"
        );
        assert_eq!(
            describe(&FilterResponse::DESC).as_str(),
            "{status@0:u32(Done=0|Failed=1);error@4:*u8;keep@12:*u64}20/4"
        );
        assert_eq!(FILTER_V1[..4], blake3_of("->{status@0:u32(Done=0|Failed=1);error@4:*u8;keep@12:*u64}20/4")[..4]);
    }

    fn blake3_of(response: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"skep layout 1:").update(describe(&Request::DESC).as_str().as_bytes());
        *hasher.update(response.as_bytes()).finalize().as_bytes()
    }

    #[test]
    fn a_request_survives_the_wire() {
        let request = Request {
            schema: 7,
            records: List::new(64, 88),
            count: 1,
            stride: 88,
            flags: REPORT,
            reserved: 0,
            selected: List::new(8, 1),
            fields: List::new(1, 2),
            columns: List::default(),
            output: List::new(16, 1),
        };
        let mut bytes = [0xff; 64];
        request.write_to(&mut bytes);
        assert_eq!(Request::read_from(&bytes), Some(request));
        assert_eq!(Request::read_from(&bytes[..63]), None);
    }
}
