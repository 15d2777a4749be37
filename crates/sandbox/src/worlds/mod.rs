//! The worlds: for each ABI, what the host offers its guests.

pub mod filter;
pub mod hooks;
pub mod program;
