//! Ring buffers, as `mmap(2)` shows them: a page with the consumer's position, a page with the producer's, and the data twice
//! over, so that a record that wraps is in one piece (kernel/bpf/ringbuf.c, Linux 5.8).
//!
//! Not by libbpf's reader: a guest may have the consumer's page in its memory, and that reader believes whatever length it
//! finds where the position points.

use std::{
    ops::ControlFlow,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    ptr::{self, NonNull},
    slice,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::Each;
use crate::sys::Errno;

/// Bytes before a record, the first four of which hold its length and two flags (`BPF_RINGBUF_HDR_SZ`).
const HEADER: u64 = 8;
/// Reserved, not submitted yet (`BPF_RINGBUF_BUSY_BIT`).
const BUSY: u32 = 1 << 31;
/// Given up by the program (`BPF_RINGBUF_DISCARD_BIT`).
const DISCARDED: u32 = 1 << 30;

/// The user-space end of a ring buffer.
pub(super) struct Reader {
    map: OwnedFd,
    consumer: Mapping,
    /// The producer's page, and the data behind it.
    producer: Mapping,
    page: usize,
    /// Bytes of data, a power of two.
    size: u64,
}

impl Reader {
    /// Maps the ring buffer with `size` bytes of data.
    pub(super) fn open(map: BorrowedFd<'_>, size: u32) -> Result<Self, Errno> {
        let page = rustix::param::page_size();
        let map = map.try_clone_to_owned().map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EMFILE)))?;
        let consumer = Mapping::new(map.as_fd(), 0, page, ProtFlags::READ | ProtFlags::WRITE)?;
        let producer = Mapping::new(map.as_fd(), page, page + 2 * size as usize, ProtFlags::READ)?;
        Ok(Self { map, consumer, producer, page, size: size.into() })
    }

    /// Hands over the records that are there; how many they were. A record is consumed when `each` has returned.
    ///
    /// # Errors
    /// `EBADMSG` where the consumer's position is none that the kernel or this reader wrote.
    pub(super) fn consume(&self, each: Each<'_>) -> Result<usize, Errno> {
        let mut records = 0;
        loop {
            let mut at = self.consumer.position().load(Ordering::Acquire);
            let producer = self.producer.position().load(Ordering::Acquire);
            if at == producer {
                return Ok(records);
            }
            while at != producer {
                let Some((header, room)) = self.header(at, producer)? else { return Ok(records) };
                let mut flow = ControlFlow::Continue(());
                if header & DISCARDED == 0 {
                    records += 1;
                    flow = each(self.record(at, header));
                }
                at = at.wrapping_add(room);
                self.consumer.position().store(at, Ordering::Release);
                if flow.is_break() {
                    return Ok(records);
                }
            }
        }
    }

    /// The header at a position, and the bytes that its record takes with it; `None` where it is not submitted yet.
    fn header(&self, at: u64, producer: u64) -> Result<Option<(u32, u64)>, Errno> {
        let written = producer.wrapping_sub(at);
        if !at.is_multiple_of(8) || !(HEADER..=self.size).contains(&written) {
            return Err(Errno(libc::EBADMSG));
        }
        // SAFETY: within the data, and aligned to 8 bytes; the kernel writes there, which an atomic load allows for.
        let header = unsafe { AtomicU32::from_ptr(self.data(at).cast()) }.load(Ordering::Acquire);
        if header & BUSY != 0 {
            return Ok(None);
        }
        let room = (u64::from(header & !DISCARDED) + HEADER).next_multiple_of(8);
        if room > written { Err(Errno(libc::EBADMSG)) } else { Ok(Some((header, room))) }
    }

    fn record(&self, at: u64, header: u32) -> &[u8] {
        let len = (header & !DISCARDED) as usize;
        // SAFETY: `header` found that no more than the size of the data lie from `at` on, and they are mapped twice. The kernel
        // writes there only once the consumer's position is past it. A guest that has that position in its memory can make
        // it do so before: the bytes change then, which whoever copies them bears.
        unsafe { slice::from_raw_parts(self.data(at).add(HEADER as usize), len) }
    }

    fn data(&self, at: u64) -> *mut u8 {
        let offset = self.page + (at & (self.size - 1)) as usize;
        // SAFETY: within the mapping: the offset is less than the page and once the data.
        unsafe { self.producer.start.as_ptr().add(offset) }
    }

    /// What is readable when there are records.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

/// Pages of a map in this process's memory.
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: memory that is bound to no thread; it is accessed by atomics, or as `Reader::record` says.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(map: BorrowedFd<'_>, offset: usize, len: usize, protection: ProtFlags) -> Result<Self, Errno> {
        // SAFETY: the kernel chooses a place where nothing is.
        let start = unsafe { mmap(ptr::null_mut(), len, protection, MapFlags::SHARED, map, offset as u64) };
        let start = start.map_err(|errno| Errno(errno.raw_os_error()))?;
        NonNull::new(start.cast()).map(|start| Self { start, len }).ok_or(Errno(libc::ENOMEM))
    }

    /// The position in its first eight bytes.
    fn position(&self) -> &AtomicU64 {
        // SAFETY: mapped as long as `self` lives, aligned as pages are.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nothing borrowed from it outlives `self`. An unmapping that fails leaves memory that
        // nobody uses.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    const SIZE: u32 = 4096;

    /// A reader of a file that is laid out as a ring buffer; and that file.
    fn ring(start: u64, producer: u64, headers: &[(u64, u32)]) -> (Reader, File) {
        let page = rustix::param::page_size();
        let file = File::from(rustix::fs::memfd_create("ring", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.set_len((2 * page + 2 * SIZE as usize) as u64).unwrap();
        let write = |at: usize, bytes: &[u8]| {
            std::os::unix::fs::FileExt::write_all_at(&file, bytes, at as u64).unwrap();
        };
        write(0, &start.to_ne_bytes());
        write(page, &producer.to_ne_bytes());
        for &(at, header) in headers {
            write(2 * page + (at % u64::from(SIZE)) as usize, &header.to_ne_bytes());
        }
        (Reader::open(file.as_fd(), SIZE).unwrap(), file)
    }

    fn lens(reader: &Reader) -> Result<Vec<usize>, i32> {
        let mut lens = Vec::new();
        let mut each = |record: &[u8]| {
            lens.push(record.len());
            ControlFlow::Continue(())
        };
        reader.consume(&mut each).map_err(|errno| errno.0)?;
        Ok(lens)
    }

    #[test]
    fn records_come_in_order_up_to_the_first_that_is_not_submitted() {
        let far = 10 * u64::from(SIZE) - 16;
        let headers = [(far, 8), (far + 16, 100 | DISCARDED), (far + 128, 17), (far + 160, 3 | BUSY)];
        let (reader, _file) = ring(far, far + 176, &headers);
        assert_eq!(lens(&reader), Ok(vec![8, 17]));
        assert_eq!(reader.consumer.position().load(Ordering::Relaxed), far + 160);
        assert_eq!(lens(&reader), Ok(vec![]));
    }

    #[test]
    fn who_breaks_off_goes_on_behind_the_record() {
        let (reader, _file) = ring(0, 32, &[(0, 5), (16, 6)]);
        assert_eq!(reader.consume(&mut |_| ControlFlow::Break(())).map_err(|errno| errno.0), Ok(1));
        assert_eq!(lens(&reader), Ok(vec![6]));
    }

    #[test]
    fn nothing_outside_the_records_is_handed_over_whatever_a_guest_writes() {
        let size = u64::from(SIZE);
        // Within a header, behind the producer, too far before it; a length that is longer than what was written.
        for (start, producer, header) in
            [(4, 64, 8), (72, 64, 8), (0, size + 8, 8), (0, 64, 57), (0, size, 1 << 29), (60, 64, 8)]
        {
            let (reader, _file) = ring(start, producer, &[(start & !7, header)]);
            assert_eq!(lens(&reader), Err(libc::EBADMSG), "{start} to {producer} with {header}");
        }
    }
}
