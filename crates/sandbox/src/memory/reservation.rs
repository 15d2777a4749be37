//! Linear memories that start at a multiple of 4 GiB.

use std::{ffi::c_void, ptr};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use wasmtime::{LinearMemory, MemoryCreator, MemoryType};

const ALIGNMENT: usize = 1 << 32;

/// Makes the memories of an engine.
pub(crate) struct AlignedMemories;

// SAFETY: a memory made here reserves the whole size and guard that wasmtime asks for, inaccessible beyond the bytes in
// use, and never moves.
unsafe impl MemoryCreator for AlignedMemories {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let capacity = reserved.unwrap_or_else(|| maximum.unwrap_or(ALIGNMENT).min(ALIGNMENT)).max(minimum);
        let mut memory = Reservation::new(capacity, guard).map_err(|errno| format!("reserving memory: {errno}"))?;
        memory.open(minimum).map_err(|errno| format!("making {minimum} bytes of memory: {errno}"))?;
        Ok(Box::new(memory))
    }
}

struct Reservation {
    base: *mut c_void,
    /// Bytes that the guest may use now.
    size: usize,
    /// Bytes it may ever use.
    capacity: usize,
    /// Bytes that are mapped, guard included.
    mapped: usize,
}

// SAFETY: the mapping is this value's own; wasmtime sees to who accesses it.
unsafe impl Send for Reservation {}
// SAFETY: as above; shared references give no access to the bytes.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Reserves address space, twice what is needed at first, and gives back what lies before and after the aligned
    /// part.
    fn new(capacity: usize, guard: usize) -> rustix::io::Result<Self> {
        let mapped = (capacity + guard).next_multiple_of(rustix::param::page_size());
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping, at an address that the kernel chooses.
        let raw =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), mapped + ALIGNMENT, ProtFlags::empty(), flags)? };
        let before = raw.addr().next_multiple_of(ALIGNMENT) - raw.addr();
        let base = raw.wrapping_byte_add(before);
        // SAFETY: both ranges lie in the mapping just made and nothing refers to them.
        unsafe {
            if before > 0 {
                rustix::mm::munmap(raw, before)?;
            }
            if ALIGNMENT > before {
                rustix::mm::munmap(base.wrapping_byte_add(mapped), ALIGNMENT - before)?;
            }
        }
        Ok(Self { base, size: 0, capacity, mapped })
    }

    /// Makes the first `size` bytes usable.
    fn open(&mut self, size: usize) -> rustix::io::Result<()> {
        if size > self.size {
            let start = self.base.wrapping_byte_add(self.size);
            // SAFETY: the range lies in this mapping, past what was in use.
            unsafe { rustix::mm::mprotect(start, size - self.size, MprotectFlags::READ | MprotectFlags::WRITE)? };
            self.size = size;
        }
        Ok(())
    }
}

// SAFETY: the bytes up to `byte_size` are readable and writable, those up to the end of the guard are mapped without
// access, and the base never changes.
unsafe impl LinearMemory for Reservation {
    fn byte_size(&self) -> usize {
        self.size
    }

    fn byte_capacity(&self) -> usize {
        self.capacity
    }

    fn grow_to(&mut self, new_size: usize) -> wasmtime::Result<()> {
        if new_size > self.capacity {
            return Err(wasmtime::Error::msg("the memory's reservation is used up"));
        }
        self.open(new_size).map_err(|errno| wasmtime::Error::msg(format!("growing memory: {errno}")))
    }

    fn as_ptr(&self) -> *mut u8 {
        self.base.cast()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone, shared regions in it included; nothing refers to it after this. A failure
        // leaks address space and nothing else.
        let _ = unsafe { rustix::mm::munmap(self.base, self.mapped) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_starts_at_a_multiple_of_4_gib_and_grows_in_place() {
        let mut memory = Reservation::new(1 << 20, 1 << 16).unwrap();
        assert_eq!(memory.as_ptr().addr() % ALIGNMENT, 0);
        memory.open(1 << 16).unwrap();
        let base = memory.as_ptr();
        // SAFETY: within the bytes just opened.
        unsafe { base.add((1 << 16) - 1).write(7) };
        memory.grow_to(1 << 20).unwrap();
        assert_eq!(memory.as_ptr(), base);
        // SAFETY: as above.
        assert_eq!(unsafe { base.add((1 << 16) - 1).read() }, 7);
        assert!(memory.grow_to((1 << 20) + 1).is_err());
    }
}
