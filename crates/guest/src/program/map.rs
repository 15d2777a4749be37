use core::{marker::PhantomData, time::Duration};

use skep_abi::program::MapCommand;

use super::{Errno, Object, sys};
use crate::{Plain, plain::zeroed};

/// A map of a loaded object.
#[derive(Clone, Copy, Debug)]
pub struct Map<'o> {
    object: &'o Object,
    handle: i32,
}

/// What an update may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Update {
    /// Create or replace.
    Any = 0,
    /// Create only.
    Create = 1,
    /// Replace only.
    Replace = 2,
}

impl<'o> Map<'o> {
    pub(crate) fn new(object: &'o Object, handle: i32) -> Self {
        Self { object, handle }
    }

    pub(crate) fn handle(&self) -> i32 {
        self.handle
    }

    /// The value of `key`; `None` where there is none.
    ///
    /// `K` and `V` must be as large as the map's own. A per-CPU map's value is an array: one value, rounded up to eight
    /// bytes, for each possible CPU.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn lookup<K: Plain, V: Plain>(&self, key: &K) -> Result<Option<V>, Errno> {
        let mut value = zeroed::<V>();
        match self.operate(MapCommand::Lookup, Some(key), (&raw mut value).cast(), core::ptr::null_mut(), 0) {
            Ok(()) => Ok(Some(value)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stores `value` under `key`.
    ///
    /// # Errors
    /// [`Errno::EXIST`] and [`Errno::NOENT`] where `how` forbids; else what the kernel said.
    pub fn update<K: Plain, V: Plain>(&self, key: &K, value: &V, how: Update) -> Result<(), Errno> {
        let value = (&raw const *value).cast_mut().cast();
        self.operate(MapCommand::Update, Some(key), value, core::ptr::null_mut(), how as u64)
    }

    /// Removes `key`; whether it was there.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn delete<K: Plain>(&self, key: &K) -> Result<bool, Errno> {
        match self.operate(MapCommand::Delete, Some(key), core::ptr::null_mut(), core::ptr::null_mut(), 0) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The key after `key`, or the first; `None` after the last.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn next_key<K: Plain>(&self, key: Option<&K>) -> Result<Option<K>, Errno> {
        let mut next = zeroed::<K>();
        match self.operate(MapCommand::GetNextKey, key, core::ptr::null_mut(), (&raw mut next).cast(), 0) {
            Ok(()) => Ok(Some(next)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every key. A key that is removed while the walk stands on it sends the walk back to the first.
    pub fn keys<K: Plain>(&self) -> Keys<'o, K> {
        Keys { map: *self, last: None, ended: false, key: PhantomData }
    }

    /// Waits up to `timeout` for records of a ring or perf buffer and gives each to `each`; `record` is where they are
    /// put, and longer ones are cut to its length.
    ///
    /// # Errors
    /// [`Errno::INTR`] when the run is to end; [`Errno::INVAL`] where the map is no buffer.
    pub fn poll<F: FnMut(&[u8])>(&self, record: &mut [u8], timeout: Duration, mut each: F) -> Result<(), Errno> {
        let max = i32::try_from(record.len()).unwrap_or(i32::MAX);
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        let callback: extern "C" fn(*mut u8, *const u8, u32) -> i32 = deliver::<F>;
        // SAFETY: the host writes at most `max` bytes to `record` and calls `deliver` with `each` before it returns; a
        // function pointer is its index in the exported table.
        let result = unsafe {
            sys::buffer_poll(
                self.object.handle(),
                self.handle,
                callback as usize as i32,
                (&raw mut each).cast(),
                record.as_mut_ptr(),
                max,
                timeout,
            )
        };
        Errno::check_wait(result).map(drop)
    }

    fn operate<K: Plain>(
        &self,
        command: MapCommand,
        key: Option<&K>,
        value: *mut u8,
        next: *mut u8,
        flags: u64,
    ) -> Result<(), Errno> {
        let key = key.map_or(core::ptr::null(), |key| (&raw const *key).cast());
        // SAFETY: the pointers are null where the command does not use them, else to values of the caller's; the host
        // knows the map's sizes and writes within memory only, and any bytes are a value of a `Plain` type.
        Errno::check(unsafe { sys::map_operate(self.handle, command as i32, key, value, next, flags) }).map(drop)
    }
}

/// Called by the host for each record.
extern "C" fn deliver<F: FnMut(&[u8])>(ctx: *mut u8, data: *const u8, len: u32) -> i32 {
    // SAFETY: `ctx` is the closure that `poll` holds for as long as the host's call lasts, and nobody else touches it
    // meanwhile; `data` and `len` are a record in the buffer that `poll` was given.
    let (each, record) = unsafe { (&mut *ctx.cast::<F>(), core::slice::from_raw_parts(data, len as usize)) };
    each(record);
    0
}

/// The keys of a map; see [`Map::keys`].
#[derive(Debug)]
pub struct Keys<'o, K> {
    map: Map<'o>,
    last: Option<K>,
    ended: bool,
    key: PhantomData<K>,
}

impl<K: Plain> Iterator for Keys<'_, K> {
    type Item = Result<K, Errno>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        match self.map.next_key(self.last.as_ref()) {
            Ok(Some(key)) => {
                self.last = Some(key);
                Some(Ok(key))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}
