//! Maps in this module's own memory: what the kernel writes is read with plain loads, no call and no copy.
//!
//! - [`Array`]: the values of an mmapable array
//! - [`Ring`]: a ring buffer whose records are read where the kernel put them
//! - an arena: [`Object::load_with_arena`](super::Object::load_with_arena), then [`Pages::read`]

use core::{
    marker::PhantomData,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use skep_abi::program::SHARED_WRITE;

use super::{Errno, Map, Pages, pages::PAGE, sys};
use crate::Plain;

/// `enum bpf_map_type`: a ring buffer.
const RINGBUF: u32 = 27;
/// A record's header has its length and these two flags (`kernel/bpf/ringbuf.c`).
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;
const HEADER: u64 = 8;

/// The shape of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// `enum bpf_map_type`.
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Entries at most; bytes for a ring buffer.
    pub max_entries: u32,
    /// Flags of its creation.
    pub flags: u32,
    /// Bytes that can be mapped.
    pub mappable: u64,
}

/// The shape of a map.
///
/// # Errors
/// What the host said.
pub fn info(map: &Map<'_>) -> Result<Info, Errno> {
    let mut raw = [0; 7];
    // SAFETY: the host writes seven u32 there.
    Errno::check(unsafe { sys::map_info(map.handle(), &mut raw) })?;
    let [kind, key_size, value_size, max_entries, flags, low, high] = raw;
    Ok(Info { kind, key_size, value_size, max_entries, flags, mappable: u64::from(high) << 32 | u64::from(low) })
}

/// Maps `len` bytes of a map, from `offset` of what `mmap(2)` on it shows.
///
/// # Errors
/// What the host said: a map that cannot be mapped, or not for writing.
pub fn map_range(map: &Map<'_>, offset: u64, len: usize, writable: bool) -> Result<Pages, Errno> {
    let mut pages = Pages::new(len)?;
    let flags = if writable { SHARED_WRITE } else { 0 };
    let len = pages.len() as u32;
    // SAFETY: the range is `pages`' own, page-aligned, and nothing refers into it.
    Errno::check(unsafe { sys::map_mmap(map.handle(), pages.as_mut_ptr(), len, offset, flags) })?;
    pages.set_mapped();
    Ok(pages)
}

/// The values of an mmapable array (`BPF_F_MMAPABLE`).
#[derive(Debug)]
pub struct Array<'o, T> {
    pages: Pages,
    stride: usize,
    len: usize,
    map: PhantomData<(Map<'o>, T)>,
}

impl<'o, T: Plain> Array<'o, T> {
    /// Maps the array, for reading or for writing too.
    ///
    /// # Errors
    /// [`Errno::INVAL`] where `T` is not as large as the map's values; else what the host said.
    pub fn open(map: &Map<'o>, writable: bool) -> Result<Self, Errno> {
        let info = info(map)?;
        if info.value_size as usize != size_of::<T>() {
            return Err(Errno::INVAL);
        }
        let len = usize::try_from(info.mappable).map_err(|_| Errno::NOMEM)?;
        let pages = map_range(map, 0, len, writable)?;
        // The kernel rounds each value up to eight bytes.
        let stride = size_of::<T>().next_multiple_of(8);
        Ok(Self { pages, stride, len: info.max_entries as usize, map: PhantomData })
    }

    /// How many values there are.
    #[allow(clippy::len_without_is_empty)] // an array map is never empty
    pub fn len(&self) -> usize {
        self.len
    }

    /// The value at `index` as it is now; `None` beyond the last. A value of more than eight bytes may be half old.
    #[inline]
    pub fn get(&self, index: usize) -> Option<T> {
        if index < self.len { self.pages.read(index * self.stride) } else { None }
    }

    /// Stores a value; false beyond the last. Traps where the array was opened for reading only.
    #[inline]
    pub fn set(&mut self, index: usize, value: T) -> bool {
        index < self.len && self.pages.write(index * self.stride, value)
    }
}

/// A ring buffer, consumed in place.
#[derive(Debug)]
pub struct Ring<'o> {
    map: Map<'o>,
    /// One page: the consumer's position, which we write.
    consumer: Pages,
    /// One page with the producer's position, then the data twice over, so that a record that wraps is in one piece.
    producer: Pages,
    size: u64,
}

impl<'o> Ring<'o> {
    /// Maps the ring buffer.
    ///
    /// # Errors
    /// [`Errno::INVAL`] where the map is none; else what the host said.
    pub fn open(map: &Map<'o>) -> Result<Self, Errno> {
        let info = info(map)?;
        if info.kind != RINGBUF {
            return Err(Errno::INVAL);
        }
        let consumer = map_range(map, 0, PAGE, true)?;
        let producer = map_range(map, PAGE as u64, PAGE + 2 * info.max_entries as usize, false)?;
        Ok(Self { map: *map, consumer, producer, size: info.max_entries.into() })
    }

    /// Gives every record that is there to `each`, where it lies; how many there were.
    pub fn consume(&mut self, mut each: impl FnMut(&[u8])) -> usize {
        // SAFETY: both positions lie at the start of a mapped, aligned page and are only accessed atomically here.
        let (consumer, producer) =
            unsafe { (&*self.consumer.as_ptr().cast::<AtomicU64>(), &*self.producer.as_ptr().cast::<AtomicU64>()) };
        let mut at = consumer.load(Ordering::Relaxed);
        let mut records = 0;
        while at < producer.load(Ordering::Acquire) {
            let offset = PAGE + (at & (self.size - 1)) as usize;
            // SAFETY: a position below the producer's is that of a record's header, aligned to eight, inside the data.
            let header = unsafe { &*self.producer.as_ptr().add(offset).cast::<AtomicU32>() }.load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let len = (header & !DISCARDED) as usize;
            if header & DISCARDED == 0 {
                // SAFETY: the kernel keeps a submitted record as it is until the consumer's position passes it, and
                // one record never spans more than the data, which is mapped twice.
                let record =
                    unsafe { core::slice::from_raw_parts(self.producer.as_ptr().add(offset + HEADER as usize), len) };
                each(record);
                records += 1;
            }
            at += (len as u64 + HEADER).next_multiple_of(8);
            consumer.store(at, Ordering::Release);
        }
        records
    }

    /// Waits up to `timeout` for records, then consumes them.
    ///
    /// # Errors
    /// [`Errno::INTR`] when the run is to end.
    pub fn poll(&mut self, timeout: Duration, each: impl FnMut(&[u8])) -> Result<usize, Errno> {
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: no memory is passed.
        Errno::check_wait(unsafe { sys::map_wait(self.map.handle(), timeout) })?;
        Ok(self.consume(each))
    }
}
