//! Maps: their metadata, read once, and the four operations, each one system call without an allocation.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libbpf_rs::MapType;

use crate::sys::{self, Errno};

/// A map of a loaded object. It stays usable when the object is closed.
#[derive(Debug)]
pub struct Map {
    name: String,
    fd: OwnedFd,
    info: MapInfo,
}

/// What does not change in the life of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MapInfo {
    /// `enum bpf_map_type`.
    pub kind: MapType,
    /// Bytes of a key; 0 where the map has no keys.
    pub key_size: u32,
    /// Bytes of a value as the program sees it.
    pub value_size: u32,
    /// Number of entries at most; bytes of data for a ring buffer, pages for an arena.
    pub max_entries: u32,
    /// The flags of its creation.
    pub flags: u32,
    /// Bytes of a value as user space sees it: for a per-CPU map `value_size`, rounded up to 8, times possible CPUs.
    pub user_value_size: usize,
    /// Bytes that `mmap(2)` shows of it; 0 where it cannot be mapped.
    pub mappable: u64,
    /// The user-space address at which an arena must be mapped; 0 where it has none.
    pub arena_start: u64,
}

impl Map {
    pub(crate) fn new(map: &libbpf_rs::Map<'_>) -> Result<Self, Errno> {
        let fd = map.as_fd().try_clone_to_owned().map_err(|error| Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
        let info = MapInfo::read(fd.as_fd())?;
        // The kernel cuts names at 15 bytes; the object keeps them whole.
        Ok(Self { name: libbpf_rs::MapCore::name(map).to_string_lossy().into_owned(), fd, info })
    }

    /// The map's name in the object.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What does not change in the life of the map.
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Copies the value of `key` to `value`.
    ///
    /// # Errors
    /// `EINVAL` when a slice is not exactly [`MapInfo::key_size`] or [`MapInfo::user_value_size`] bytes; else the
    /// kernel's.
    pub fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        self.check(Some(key.len()), Some(value.len()))?;
        sys::map_lookup(self.fd.as_fd(), key, value, flags)
    }

    /// Stores `value` under `key`. Errors as in [`Map::lookup`].
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.check(Some(key.len()), Some(value.len()))?;
        sys::map_update(self.fd.as_fd(), key, value, flags)
    }

    /// Removes `key`. Errors as in [`Map::lookup`].
    pub fn delete(&self, key: &[u8], flags: u64) -> Result<(), Errno> {
        self.check(Some(key.len()), None)?;
        sys::map_delete(self.fd.as_fd(), key, flags)
    }

    /// Writes to `next` the key that follows `key`, or the first one for `None`. Errors as in [`Map::lookup`]; `ENOENT`
    /// after the last.
    pub fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        self.check(key.map(<[u8]>::len), None)?;
        self.check(Some(next.len()), None)?;
        sys::map_next_key(self.fd.as_fd(), key, next)
    }

    /// Takes all entries out of a hash map, many a system call (Linux 5.6), and gives each to `each` with its key.
    ///
    /// # Errors
    /// The kernel's; `EINVAL` where the map is no hash map.
    pub(crate) fn take_all(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<(), Errno> {
        /// A bucket of the kernel's has far fewer entries; one that has more is `ENOSPC`.
        const AT_ONCE: u32 = 1024;
        let (key, value) = (self.info.key_size as usize, self.info.value_size as usize);
        let (mut keys, mut values) = (vec![0; key * AT_ONCE as usize], vec![0; value * AT_ONCE as usize]);
        let mut place = None;
        loop {
            let (taken, last) = sys::map_take(self.fd.as_fd(), &mut place, &mut keys, &mut values, AT_ONCE)?;
            keys.chunks_exact(key)
                .zip(values.chunks_exact(value))
                .take(taken)
                .for_each(|(key, value)| each(key, value));
            if last {
                return Ok(());
            }
        }
    }

    fn check(&self, key: Option<usize>, value: Option<usize>) -> Result<(), Errno> {
        let key_fits = key.is_none_or(|len| len == self.info.key_size as usize);
        let value_fits = value.is_none_or(|len| len == self.info.user_value_size);
        if key_fits && value_fits { Ok(()) } else { Err(Errno(libc::EINVAL)) }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl MapInfo {
    fn read(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        let raw = sys::map_info(fd)?;
        let kind = MapType::from(raw.type_);
        let mut info = Self {
            kind,
            key_size: raw.key_size,
            value_size: raw.value_size,
            max_entries: raw.max_entries,
            flags: raw.map_flags,
            user_value_size: raw.value_size as usize,
            mappable: 0,
            arena_start: if kind == MapType::Arena { raw.map_extra } else { 0 },
        };
        match kind {
            MapType::PercpuArray | MapType::PercpuHash | MapType::LruPercpuHash | MapType::PercpuCgroupStorage => {
                info.user_value_size = (raw.value_size as usize).next_multiple_of(8) * sys::possible_cpus();
            }
            // Maps of files: user space reads and writes a descriptor or an id.
            MapType::CgroupArray | MapType::ProgArray | MapType::PerfEventArray => info.user_value_size = 4,
            _ => {}
        }
        info.mappable = info.mappable();
        Ok(info)
    }

    fn mappable(&self) -> u64 {
        let page = rustix::param::page_size() as u64;
        match self.kind {
            MapType::Array if self.flags & libbpf_sys::BPF_F_MMAPABLE != 0 => {
                (u64::from(self.value_size).next_multiple_of(8) * u64::from(self.max_entries)).next_multiple_of(page)
            }
            // The consumer's page, the producer's page, and the data twice in a row.
            MapType::RingBuf => 2 * page + 2 * u64::from(self.max_entries),
            MapType::Arena => u64::from(self.max_entries) * page,
            _ => 0,
        }
    }
}
