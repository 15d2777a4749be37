//! The native operators. A new one is a file and a line here.

mod filter;
mod format;
mod limit;
mod sort;

pub use filter::Filter;
pub use format::{Format, FormatRule};
pub use limit::Limit;
pub use sort::Sort;
