//! Maps of the kernel's inside linear memory.
//!
//! `mmap(2)` with a fixed address puts a map's pages over pages of the guest's memory; from then on the guest reads what
//! the kernel writes with plain loads. Ending it puts fresh anonymous pages there, so linear memory never has a hole.

use std::{ffi::c_void, ops::Range, os::fd::BorrowedFd};

use super::fault;
use crate::Engine;
use rustix::{
    io::Errno,
    mm::{MapFlags, ProtFlags},
};

/// What addresses and lengths of shared ranges are multiples of: a page of the kernel's, not one of Wasm's.
pub const PAGE: usize = 4096;

/// The ranges of one linear memory that show maps.
#[derive(Default)]
pub struct SharedRegions {
    regions: Vec<Region>,
    /// Whose epoch advances when a store to a region for reading was diverted.
    engine: Option<wasmtime::Engine>,
}

#[derive(Debug)]
struct Region {
    range: Range<usize>,
    /// Present where it may only be read.
    watch: Option<fault::Watch>,
    /// Whose it is: closing an object ends the regions of its maps.
    owner: i64,
}

/// Which part of a map is shown, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Where in linear memory; a multiple of [`PAGE`].
    pub address: u32,
    /// Bytes; a multiple of [`PAGE`].
    pub len: u32,
    /// Where in what `mmap(2)` shows of the map; a multiple of [`PAGE`].
    pub offset: u64,
    /// Whether the guest may write there.
    pub writable: bool,
    /// The object whose end ends the mapping.
    pub owner: i64,
}

impl SharedRegions {
    /// No region yet, in a memory of that engine's.
    pub fn of(engine: &Engine) -> Self {
        Self { regions: Vec::new(), engine: Some(engine.wasmtime().clone()) }
    }

    /// Maps a part of `map` over a range of the linear memory `memory`.
    ///
    /// # Errors
    /// `EINVAL` for a misaligned or empty range, `EFAULT` for one that does not lie in memory, `EEXIST` for one that
    /// overlaps another, `ENOMEM` when too many are mapped; else the kernel's, such as `EPERM` for writing to a map that may not be written.
    pub fn map(&mut self, memory: &mut [u8], map: BorrowedFd<'_>, place: Placement) -> Result<(), Errno> {
        let Placement { address, len, offset, writable, owner } = place;
        let range = self.vacant(memory, address, len)?;
        if !offset.is_multiple_of(PAGE as u64) {
            return Err(Errno::INVAL);
        }
        let protection = if writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
        let target = memory[range.clone()].as_mut_ptr().cast::<c_void>();
        // SAFETY: the range lies in linear memory, is page-aligned there, and is ours to replace: no reference into
        // guest memory lives across a host call, and `GuestMemory` asks `forbids_write` before it hands one out.
        unsafe { rustix::mm::mmap(target, range.len(), protection, MapFlags::SHARED | MapFlags::FIXED, map, offset)? };
        let watch = match writable {
            true => None,
            false => {
                let start = target.addr();
                let watch = fault::Watch::new(start..start + range.len(), self.engine.clone());
                if watch.is_none() {
                    clear(memory, &range)?;
                    return Err(Errno::NOMEM);
                }
                watch
            }
        };
        self.regions.push(Region { range, watch, owner });
        Ok(())
    }

    /// The range, when it could be mapped.
    ///
    /// # Errors
    /// As [`SharedRegions::map`].
    pub fn vacant(&self, memory: &[u8], address: u32, len: u32) -> Result<Range<usize>, Errno> {
        let range = address as usize..address as usize + len as usize;
        if range.is_empty() || !range.start.is_multiple_of(PAGE) || !range.end.is_multiple_of(PAGE) {
            return Err(Errno::INVAL);
        }
        if range.end > memory.len() {
            return Err(Errno::FAULT);
        }
        if self.regions.iter().any(|region| overlap(&region.range, &range)) {
            return Err(Errno::EXIST);
        }
        Ok(range)
    }

    /// Ends the mapping of exactly this range; it reads zero from then on.
    ///
    /// # Errors
    /// `EINVAL` when no mapping has this range; else the kernel's.
    pub fn unmap(&mut self, memory: &mut [u8], address: u32, len: u32) -> Result<(), Errno> {
        let range = address as usize..address as usize + len as usize;
        let at = self.regions.iter().position(|region| region.range == range).ok_or(Errno::INVAL)?;
        clear(memory, &range)?;
        self.regions.swap_remove(at);
        Ok(())
    }

    /// Ends every mapping that `owner` has.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unmap_all(&mut self, memory: &mut [u8], owner: i64) -> Result<(), Errno> {
        for region in self.regions.iter().filter(|region| region.owner == owner) {
            clear(memory, &region.range)?;
        }
        self.regions.retain(|region| region.owner != owner);
        Ok(())
    }

    /// Whether a write of `len` bytes at `start` would touch a region that may only be read.
    pub fn forbids_write(&self, start: usize, len: usize) -> bool {
        let range = start..start.saturating_add(len);
        self.regions.iter().any(|region| region.watch.is_some() && overlap(&region.range, &range))
    }
}

fn overlap(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Puts fresh, zero pages over `range`.
fn clear(memory: &mut [u8], range: &Range<usize>) -> Result<(), Errno> {
    let target = memory[range.clone()].as_mut_ptr().cast::<c_void>();
    let flags = MapFlags::PRIVATE | MapFlags::FIXED;
    // SAFETY: the range lies in linear memory and was mapped by `map` or adopted; see there.
    unsafe { rustix::mm::mmap_anonymous(target, range.len(), ProtFlags::READ | ProtFlags::WRITE, flags)? };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use std::os::fd::AsFd as _;

    fn place(address: u32, len: u32, offset: u64) -> Placement {
        Placement { address, len, offset, writable: false, owner: 1 }
    }

    /// Page-aligned memory, as linear memory is.
    fn memory() -> &'static mut [u8] {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping that is never freed.
        unsafe {
            let base = rustix::mm::mmap_anonymous(std::ptr::null_mut(), 16 * PAGE, prot, MapFlags::PRIVATE).unwrap();
            std::slice::from_raw_parts_mut(base.cast(), 16 * PAGE)
        }
    }

    #[test]
    fn a_range_is_mapped_once_and_reads_zero_afterwards() {
        let file = memfd_create("map", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, 2 * PAGE as u64).unwrap();
        rustix::io::pwrite(&file, b"kernel", PAGE as u64).unwrap();
        let (memory, mut shared) = (memory(), SharedRegions::default());
        let page = PAGE as u32;
        shared.map(memory, file.as_fd(), place(4 * page, page, PAGE as u64)).unwrap();
        assert_eq!(&memory[4 * PAGE..][..6], b"kernel");
        assert!(shared.forbids_write(4 * PAGE - 1, 2) && !shared.forbids_write(0, 4 * PAGE));
        let again = shared.map(memory, file.as_fd(), place(3 * page, 2 * page, 0));
        assert_eq!(again, Err(Errno::EXIST));
        assert_eq!(shared.unmap(memory, 4 * page, 2 * page), Err(Errno::INVAL));
        shared.unmap(memory, 4 * page, page).unwrap();
        assert_eq!(memory[4 * PAGE..][..6], [0; 6]);
        assert_eq!(shared.unmap(memory, 4 * page, page), Err(Errno::INVAL));
    }

    #[test]
    fn misaligned_empty_and_distant_ranges_are_refused() {
        let file = memfd_create("map", MemfdFlags::CLOEXEC).unwrap();
        let (memory, mut shared) = (memory(), SharedRegions::default());
        let page = PAGE as u32;
        let mut map = |address, len, offset| shared.map(memory, file.as_fd(), place(address, len, offset));
        assert_eq!(map(1, page, 0), Err(Errno::INVAL));
        assert_eq!(map(0, page + 1, 0), Err(Errno::INVAL));
        assert_eq!(map(0, 0, 0), Err(Errno::INVAL));
        assert_eq!(map(0, page, 8), Err(Errno::INVAL));
        assert_eq!(map(16 * page, page, 0), Err(Errno::FAULT));
        assert_eq!(map(u32::MAX - page + 1, page, 0), Err(Errno::FAULT));
    }
}
