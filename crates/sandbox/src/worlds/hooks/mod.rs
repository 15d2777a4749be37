//! World `hooks`: plugins that filter, shape and observe batches of records.
//!
//! ```text
//! inspect ─▶ admit ─▶ Plugin::new ─▶ buffer() ─▶ filter │ shape │ observe ─▶ …
//!                         │            the source writes records here, in the guest's memory
//!                         └─ compiles, makes an instance, takes its buffers once
//! ```
//!
//! A call handles one batch, with fresh fuel and an epoch deadline. An instance that traps, answers nonsense or says
//! that it failed does not end anything: the batch is handled as the hook's failure policy says, a trapped instance is
//! replaced, and after [`MAX_TRAPS`] traps in a row the plugin is taken out ([`State::Broken`]) and that is logged.
//!
//! - [`Plugin`]: one plugin in one slot
//! - [`RecordLayout`]: what records look like, for the guest
//! - [`Shaped`], [`Report`]: what comes back besides a selection
//! - [`Kernel`]: the maps and symbols that a plugin may be granted; [`Services`]: what it is lent

mod answer;
mod files;
mod instance;
mod link;
mod plugin;
mod services;

pub use answer::{AddedColumn, MetricValue, Report, Shaped};
pub use plugin::{Counters, Failed, MAX_TRAPS, Plugin, State};
pub use services::{Kernel, MapHandle, NoKernel, Services};

use skep_abi::operator::FieldKind;
use skep_event::{Place, Schema};

/// What records look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordLayout {
    /// Bytes of a record, a multiple of 8.
    pub stride: u32,
    /// The fields.
    pub fields: Vec<RecordField>,
}

/// One field of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordField {
    /// Its name.
    pub name: String,
    /// How its bytes are read.
    pub kind: FieldKind,
    /// Bytes from the record's start.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

impl RecordLayout {
    /// The fields of a schema that lie in its records; `None` where the records' size is no multiple of 8.
    pub fn of(schema: &Schema) -> Option<Self> {
        let stride = u32::try_from(schema.stride()).ok().filter(|stride| *stride > 0 && stride % 8 == 0)?;
        let fields = schema.fields().iter().filter_map(|field| {
            let Place::Record { offset, size } = field.place else { return None };
            Some(RecordField {
                name: field.name.clone(),
                kind: FieldKind::from_raw(field.kind as u32)?,
                offset: u32::try_from(offset).ok()?,
                size: u32::try_from(size).ok()?,
            })
        });
        Some(Self { stride, fields: fields.collect() })
    }
}
