//! A file laid out as `mmap(2)` shows a ring buffer of the kernel's: a page with the consumer's position, a page with the
//! producer's, and the data twice over (kernel/bpf/ringbuf.c, Linux 5.8).

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    io::{pread, pwrite},
};

const PAGE: u64 = 4096;
const DATA: u64 = 2 * PAGE;
const HEADER: u64 = 8;
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;

/// The file, and how large its data are.
pub(crate) struct FakeRing {
    file: OwnedFd,
    pub(crate) size: u32,
}

/// What a program did with the room that it reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Submitted,
    Discarded,
    /// Not submitted yet: nothing after it may be seen.
    Busy,
}

impl FakeRing {
    /// An empty one with `size` bytes of data, whose positions stand at `at` already.
    pub(crate) fn starting(size: u32, at: u64) -> Self {
        let file = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
        let ring = Self { file, size };
        ftruncate(&ring.file, ring.len()).unwrap();
        ring.write_number(0, at);
        ring.write_number(PAGE, at);
        ring
    }

    /// Bytes that `mmap(2)` shows.
    pub(crate) fn len(&self) -> u64 {
        DATA + 2 * u64::from(self.size)
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn number(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        assert_eq!(pread(&self.file, &mut bytes, at).unwrap(), 8);
        u64::from_le_bytes(bytes)
    }

    fn write_number(&self, at: u64, number: u64) {
        assert_eq!(pwrite(&self.file, &number.to_le_bytes(), at).unwrap(), 8);
    }

    /// The consumer's position.
    pub(crate) fn consumed(&self) -> u64 {
        self.number(0)
    }

    /// Where the next record will lie.
    pub(crate) fn produced(&self) -> u64 {
        self.number(PAGE)
    }

    /// Whether a record of that length has room now.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        let taken = self.produced() - self.consumed();
        taken + (len as u64 + HEADER).next_multiple_of(8) < u64::from(self.size)
    }

    /// Puts in a record; its position.
    pub(crate) fn put(&self, record: &[u8], fate: Fate) -> u64 {
        assert!(self.has_room(record.len()), "the ring is full");
        let at = self.produced();
        let mut bytes = vec![0; HEADER as usize];
        bytes.extend_from_slice(record);
        bytes.resize(bytes.len().next_multiple_of(8), 0xee);
        for (at, word) in (at..).step_by(8).zip(bytes.chunks_exact(8)) {
            let place = at % u64::from(self.size);
            for copy in [place, place + u64::from(self.size)] {
                assert_eq!(pwrite(&self.file, word, DATA + copy).unwrap(), 8);
            }
        }
        let flags = match fate {
            Fate::Submitted => 0,
            Fate::Discarded => DISCARDED,
            Fate::Busy => BUSY,
        };
        self.set_header(at, record.len() as u32 | flags);
        self.write_number(PAGE, at + bytes.len() as u64);
        at
    }

    /// Puts in records that are submitted.
    pub(crate) fn put_all(&self, records: &[Vec<u8>]) {
        for record in records {
            self.put(record, Fate::Submitted);
        }
    }

    /// Submits the busy record at that position.
    pub(crate) fn submit(&self, at: u64) {
        self.set_header(at, self.header(at) & !BUSY);
    }

    /// Gives the record at that position a length that it has not.
    pub(crate) fn forge_length(&self, at: u64, len: u32) {
        self.set_header(at, len);
    }

    fn header(&self, at: u64) -> u32 {
        self.number(DATA + at % u64::from(self.size)) as u32
    }

    fn set_header(&self, at: u64, header: u32) {
        let place = at % u64::from(self.size);
        for copy in [place, place + u64::from(self.size)] {
            self.write_number(DATA + copy, header.into());
        }
    }

    /// Whether a reader would find something to do.
    pub(crate) fn has_records(&self) -> bool {
        let at = self.consumed();
        at < self.produced() && self.header(at) & BUSY == 0
    }

    /// Takes the oldest record as a reader outside of Wasm does.
    pub(crate) fn take(&self) -> Option<Vec<u8>> {
        while self.has_records() {
            let at = self.consumed();
            let header = self.header(at);
            let mut record = vec![0; (header & !DISCARDED) as usize];
            pread(&self.file, &mut record, DATA + at % u64::from(self.size) + HEADER).unwrap();
            self.write_number(0, at + (record.len() as u64 + HEADER).next_multiple_of(8));
            if header & DISCARDED == 0 {
                return Some(record);
            }
        }
        None
    }
}
