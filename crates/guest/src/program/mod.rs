//! World `program`: the guest loads, attaches and polls the eBPF it carries.
//!
//! ```no_run
//! use core::time::Duration;
//! use skep_guest::program::{Object, Errno};
//!
//! # fn run(elf: &[u8]) -> Result<(), Errno> {
//! let object = Object::load(elf)?;
//! object.attach(c"handle_exec")?;
//! let events = object.map(c"rb")?;
//! let mut record = [0; 512];
//! loop {
//!     match events.poll(&mut record, Duration::from_millis(100), |record| { let _ = record.len(); }) {
//!         Err(Errno::INTR) => return Ok(()), // Ctrl-C
//!         result => result?,
//!     }
//! }
//! # }
//! ```
//!
//! The life of an object: [`Object::load`] → [`Object::attach`] → [`Map`]s → dropped, which detaches its programs. The
//! host does the same for a guest that ends without dropping.

mod errno;
mod map;
mod object;
mod pages;
pub mod shared;
mod sys;

pub use crate::plain::read;
pub use errno::Errno;
pub use map::{Keys, Map, Update};
pub use object::Object;
pub use pages::Pages;
