//! Sources, operators, sinks and the scheduler between them.
//!
//! ```text
//!            buffer offered by the first stage          bounded queue
//! Source ──────────────▶ Batch ─▶ Operator ─▶ Operator ──────────────▶ Sink, Sink
//!          one thread: the caller's of Pipeline::run                  a thread of their own
//! ```
//!
//! Life of a run: every operator is bound (it may add columns to the schema), then every sink; the source fills batches until it
//! ends, the deadline passes or somebody stops the run; operators that held records back let them go; sinks finish.
//!
//! - [`Source`], [`Operator`], [`Head`], [`Sink`]: what is wired
//! - [`Pipeline`], [`Control`], [`Summary`]: the scheduler
//! - [`operators`]: the native ones: filter, sort, limit, format
#![forbid(unsafe_code)]

pub mod operators;
mod pipeline;
mod queue;
mod stage;
mod traits;

pub use pipeline::{Control, Pipeline, Progress, Summary};
pub use stage::Counters;
pub use traits::{Added, Faults, Fill, Head, Operator, Sink, Source, Step};
