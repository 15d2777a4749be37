//! Where batches end: tables, JSON, flame graphs, files.
//!
//! ```text
//!                     ┌─ rows:    table, jsonl, chrome trace, histogram, parquet, record file
//! Batch ─▶ Sink ──────┤
//!                     └─ stacks:  StackProfile ─▶ folded, flame graph, pprof, speedscope, top
//! ```
//!
//! - [`Format`]: the table of sinks, by name and file ending; a new sink is a file and a row
//! - [`Options`], [`Measure`]: what the sinks are told
//! - [`Output`]: a file or standard output, opened before the run
//! - [`StackProfile`]: stacks and their weights, what all stack sinks are made of
//! - [`diff`]: two profiles as one differential flame graph
//! - [`record`]: the `.skep` file
#![forbid(unsafe_code)]

mod chrome;
pub mod diff;
mod flamegraph;
mod folded;
mod format;
mod histogram;
mod jsonl;
mod options;
mod output;
mod parquet;
mod pprof;
pub mod record;
mod speedscope;
mod stack_profile;
mod table;
mod terminal;
mod top;

pub use format::Format;
pub use options::{Measure, Options, Recorded};
pub use output::Output;
pub use stack_profile::{Row, StackProfile};
pub use top::duration_text;
