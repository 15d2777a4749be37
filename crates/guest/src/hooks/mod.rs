//! World `hooks`: plugins that filter, shape and observe batches of records.
//!
//! ```
//! use skep_guest as skep;
//!
//! #[derive(Clone, Copy, skep::Record)]
//! #[repr(C)]
//! struct Event {
//!     event_type: u32,
//!     duration_ns: u64,
//! }
//!
//! #[skep::plugin(name = "slow", version = "1.0.0", description = "Keeps what takes long")]
//! mod plugin {
//!     use super::Event;
//!
//!     /// Keeps system calls of a millisecond or more
//!     #[filter]
//!     fn slow(event: &Event) -> bool {
//!         event.event_type == 2 && event.duration_ns >= 1_000_000
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! The attribute writes the exports, the description and the fingerprints; the loop over the batch is made around the
//! function. A [`Record`] names the fields it wants: where a source's records are laid out just so, they are read in
//! place; where the fields lie elsewhere, they are gathered by name; where one is missing, the plugin says which.
//! Nothing here allocates for a record.
//!
//! - [`Record`]: a struct of fields
//! - `#[filter] fn(&R) -> bool`
//! - `#[shape] fn(&mut R)`, or `fn(&mut Shaping<'_, R>)` to add columns and hide fields: [`Shaping`]
//! - `#[observe] fn(&mut S, &R)` with a state `S:` [`Observer`], which fills a [`Report`]

mod filter;
mod memory;
mod observe;
mod record;
mod reply;
mod shape;

pub use filter::{filter, keep_words};
pub use memory::{alloc, free};
pub use observe::{Cell, Observer, Report, observe};
pub use record::{Field, Record};
pub use shape::{ColumnValue, Shaping, shape};
pub use skep_abi::{
    hooks::wire::{FILTER_V1, OBSERVE_V1, SHAPE_V1},
    operator::FieldKind,
};
