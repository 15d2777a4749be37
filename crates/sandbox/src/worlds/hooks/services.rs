use std::{collections::BTreeMap, path::PathBuf};

use super::files::Files;

/// The kernel's maps and symbols, for plugins that were granted them. Errors are positive errno values.
pub trait Kernel: Send {
    /// A map's handle, and the sizes of its keys and values.
    ///
    /// # Errors
    /// ENOENT where there is no such map.
    fn map_open(&mut self, name: &str) -> Result<MapHandle, i32>;
    /// Copies the value of `key` to `value`.
    ///
    /// # Errors
    /// ENOENT where there is no such key.
    fn map_lookup(&mut self, map: u32, key: &[u8], value: &mut [u8]) -> Result<(), i32>;
    /// Copies the key after `key` to `next`, the first one for `None`.
    ///
    /// # Errors
    /// ENOENT after the last one.
    fn map_next_key(&mut self, map: u32, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), i32>;
    /// Stores `value` under `key`.
    ///
    /// # Errors
    /// Those of `BPF_MAP_UPDATE_ELEM`.
    fn map_update(&mut self, map: u32, key: &[u8], value: &[u8], flags: u64) -> Result<(), i32>;
    /// Removes `key`.
    ///
    /// # Errors
    /// ENOENT where there is no such key.
    fn map_delete(&mut self, map: u32, key: &[u8]) -> Result<(), i32>;
    /// The name of the symbol at an address.
    fn symbol_name(&mut self, address: u64) -> Option<String>;
    /// The address of a symbol.
    fn symbol_address(&mut self, name: &str) -> Option<u64>;
}

/// A map of [`Kernel`]'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapHandle {
    /// The handle.
    pub map: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value, as a look-up copies it.
    pub value_size: u32,
}

/// A kernel without maps and symbols.
pub struct NoKernel;

impl Kernel for NoKernel {
    fn map_open(&mut self, _: &str) -> Result<MapHandle, i32> {
        Err(libc::ENOENT)
    }

    fn map_lookup(&mut self, _: u32, _: &[u8], _: &mut [u8]) -> Result<(), i32> {
        Err(libc::EBADF)
    }

    fn map_next_key(&mut self, _: u32, _: Option<&[u8]>, _: &mut [u8]) -> Result<(), i32> {
        Err(libc::EBADF)
    }

    fn map_update(&mut self, _: u32, _: &[u8], _: &[u8], _: u64) -> Result<(), i32> {
        Err(libc::EBADF)
    }

    fn map_delete(&mut self, _: u32, _: &[u8]) -> Result<(), i32> {
        Err(libc::EBADF)
    }

    fn symbol_name(&mut self, _: u64) -> Option<String> {
        None
    }

    fn symbol_address(&mut self, _: &str) -> Option<u64> {
        None
    }
}

/// Metrics that a plugin may keep by name.
const MAX_METRICS: usize = 1_000;
/// Maps that a plugin may have open.
const MAX_MAPS: usize = 64;

/// Where a plugin's log lines go: a level and a line.
type Log = Box<dyn FnMut(u32, &str) + Send>;

/// What a plugin is lent. Only what it was granted is linked to it.
pub struct Services {
    log: Log,
    pub(super) kernel: Box<dyn Kernel>,
    pub(super) files: Files,
    pub(super) maps: Vec<MapHandle>,
    metrics: BTreeMap<String, i64>,
}

impl Services {
    /// `log` takes a level (0 error … 4 trace) and a line; `directories` are those of the admission.
    pub fn new(
        log: impl FnMut(u32, &str) + Send + 'static,
        kernel: Box<dyn Kernel>,
        directories: Vec<PathBuf>,
    ) -> Self {
        Self { log: Box::new(log), kernel, files: Files::new(directories), maps: Vec::new(), metrics: BTreeMap::new() }
    }

    /// Services whose log goes to the host's own, without maps, symbols or files.
    pub fn log_only() -> Self {
        Self::with_directories(Vec::new())
    }

    /// [`Self::log_only`], and files below `directories`: those of the admission.
    pub fn with_directories(directories: Vec<PathBuf>) -> Self {
        Self::new(
            |level, line| match level {
                0 => tracing::error!(target: "plugin", "{line}"),
                1 => tracing::warn!(target: "plugin", "{line}"),
                2 => tracing::info!(target: "plugin", "{line}"),
                3 => tracing::debug!(target: "plugin", "{line}"),
                _ => tracing::trace!(target: "plugin", "{line}"),
            },
            Box::new(NoKernel),
            directories,
        )
    }

    /// The values that the plugin counted and set, by name.
    pub fn metrics(&self) -> &BTreeMap<String, i64> {
        &self.metrics
    }

    pub(super) fn log(&mut self, level: u32, line: &str) {
        (self.log)(level, line);
    }

    /// Changes a metric's value; false where there are too many names already.
    pub(super) fn metric(&mut self, name: &str, change: impl FnOnce(i64) -> i64) -> bool {
        if let Some(value) = self.metrics.get_mut(name) {
            *value = change(*value);
            return true;
        }
        let room = self.metrics.len() < MAX_METRICS;
        if room {
            self.metrics.insert(name.to_owned(), change(0));
        }
        room
    }

    /// Opens a map; the guest's handle is its place in [`Self::maps`].
    pub(super) fn map_open(&mut self, name: &str) -> Result<u32, i32> {
        let handle = self.kernel.map_open(name)?;
        let index = match self.maps.iter().position(|known| *known == handle) {
            Some(index) => index,
            None if self.maps.len() < MAX_MAPS => {
                self.maps.push(handle);
                self.maps.len() - 1
            }
            None => return Err(libc::EMFILE),
        };
        u32::try_from(index).map_err(|_| libc::EMFILE)
    }

    /// What an instance had open does not outlive it.
    pub(super) fn close_all(&mut self) {
        self.maps.clear();
        self.files.close_all();
    }
}
