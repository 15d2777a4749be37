//! Schemas, fields and batches of fixed-layout records.
//!
//! ```text
//! Schema ── names, kinds and places of fields ──┐
//!                                               ├─▶ Batch = records (as the kernel wrote them)
//! source ── bytes, one record each `stride` ────┘         + columns (what operators added)
//!                                                         + selection (what is kept)
//! ```
//!
//! - [`Schema`], [`Field`], [`FieldKind`]: what a record looks like
//! - [`Batch`], [`Column`], [`Value`]: a run of records and what operators added to it
//! - [`Selection`]: one bit a record, 1 = kept; its words are the keep bitmap of world `hooks`
//! - [`Lost`]: the three counters of what did not come through
//! - [`StackTable`], [`Frame`]: the stacks that records name by number
//! - [`context`]: the records of the profiling collectors, whose head is world `filter`'s event
#![forbid(unsafe_code)]

mod batch;
pub mod context;
mod lost;
mod schema;
mod selection;
mod stacks;
mod value;

pub use batch::{Batch, Column};
pub use lost::Lost;
pub use schema::{Field, FieldKind, Place, Schema};
pub use selection::Selection;
pub use stacks::{Frame, StackTable};
pub use value::Value;
