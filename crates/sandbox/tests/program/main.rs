//! World `program` without a kernel: guests in the text format over a kernel in memory.
//!
//! - `fake`: the kernel; `ring`: a file that `mmap(2)` shows as a ring buffer
//! - `guest`: the frame of every guest, and a run of one
//! - `handles`, `maps`, `polls`, `rings`, `ends`: the tests, by subject

mod ends;
mod fake;
mod guest;
mod handles;
mod maps;
mod polls;
mod ring;
mod rings;
