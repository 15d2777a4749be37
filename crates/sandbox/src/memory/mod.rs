//! The linear memory of a guest: where it lies, how the host reaches into it, and what is mapped into it.
//!
//! - `reservation`: memories at addresses that are multiples of 4 GiB, so that the low half of a host address inside one
//!   is the guest's own address. An arena's pointers mean the same on both sides because of that.
//! - [`GuestMemory`]: the only way in which worlds touch linear memory: bounds checked, lengths capped.
//! - [`SharedRegions`]: ranges of it that show a map of the kernel's.
//! - `ring`: how far the records of a mapped ring buffer are written
//! - `fault`: a guest makes WASI write where it may only read.

#[allow(unsafe_code)]
mod fault;
mod guest;
#[allow(unsafe_code)]
mod reservation;
#[allow(unsafe_code)]
mod ring;
#[allow(unsafe_code)]
mod shared;

pub(crate) use fault::{install as install_fault_handler, take_diverted};
pub use guest::{Fault, GuestMemory};
pub(crate) use reservation::AlignedMemories;
pub(crate) use ring::{RING_DATA, consumed, reserved};
pub use shared::{PAGE, Placement, SharedRegions};
