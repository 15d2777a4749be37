//! The state behind the imports.

use std::{collections::BTreeMap, io::Read, ops::ControlFlow, os::fd::AsFd as _, sync::Arc, time::Duration};

use rustix::io::Errno;
use skep_abi::program::TINYGO_CALLBACK;
use skep_error::{Error, Kind};
use wasmtime::{Caller, Extern, Func, Memory, Table};

use super::{
    Losses,
    delivery::{Deliveries, Delivery},
    kernel::{Buffer, Kernel, Map, Object},
};
use crate::{
    Cache, Engine,
    limits::Limiter,
    memory::{Fault, GuestMemory, SharedRegions},
    stop::Stop,
    wasi::{Wasi, WasiView},
};

/// What a store of this world holds.
pub(super) struct State {
    pub(super) wasi: Wasi,
    pub(super) limiter: Limiter,
    pub(super) host: Host,
}

impl WasiView for State {
    fn wasi(&mut self) -> &mut Wasi {
        &mut self.wasi
    }
}

/// Objects, maps and what the guest exports.
pub(super) struct Host {
    pub(super) kernel: Box<dyn Kernel + Send>,
    objects: BTreeMap<i64, Box<dyn Object + Send>>,
    next_object: i64,
    /// By handle. Handles are not used again, so that a stale one never means another map.
    maps: BTreeMap<i32, OpenMap>,
    next_map: i32,
    /// Iterators that are being read, by object and program.
    iterators: BTreeMap<(i64, String), Box<dyn Read + Send>>,
    pub(super) shared: SharedRegions,
    pub(super) memory: Option<Memory>,
    pub(super) deliveries: Deliveries,
    /// The user-space ends of perf buffers that nobody has polled yet, by object and map.
    perf: BTreeMap<(i64, String), Box<dyn Buffer + Send>>,
    pub(super) table: Option<Table>,
    pub(super) tinygo_callback: Option<Func>,
    pub(super) stop: Stop,
    /// Calls answered with `EINTR` since the run was asked to end.
    pub(super) interrupted: u32,
    report: Box<dyn FnMut(&Error) + Send>,
    reported: BTreeMap<&'static str, u32>,
    losses: Losses,
}

/// A map that a guest has a handle of.
pub(super) struct OpenMap {
    pub(super) object: i64,
    pub(super) map: Arc<dyn Map + Send + Sync>,
    pub(super) reader: Reader,
}

/// The user-space end of a buffer.
pub(super) enum Reader {
    /// Nobody has polled it yet.
    Closed,
    /// Between polls: the host calls the guest for each record.
    Idle(Box<dyn Buffer + Send>),
    /// Between polls: a ring buffer that shows in an instance of the host's.
    Ring(Box<Delivery>),
    /// A poll is under way: its callback runs.
    Busy,
}

/// The first handle of a map: guests take a handle for a descriptor, and 0 for none.
const FIRST_MAP: i32 = 3;
/// Maps a guest may have handles of at once.
const MOST_MAPS: usize = 4096;
/// Objects a guest may have loaded at once.
const MOST_OBJECTS: usize = 256;
/// Errors of one call that are shown; the rest the guest alone sees.
const MOST_REPORTS: u32 = 8;

impl Host {
    pub(super) fn new(
        engine: &Engine,
        cache: Option<Cache>,
        kernel: Box<dyn Kernel + Send>,
        stop: Stop,
        report: Box<dyn FnMut(&Error) + Send>,
    ) -> Self {
        Self {
            kernel,
            objects: BTreeMap::new(),
            next_object: 1,
            maps: BTreeMap::new(),
            next_map: FIRST_MAP,
            iterators: BTreeMap::new(),
            shared: SharedRegions::of(engine),
            memory: None,
            deliveries: Deliveries::new(engine, cache),
            perf: BTreeMap::new(),
            table: None,
            tinygo_callback: None,
            stop,
            interrupted: 0,
            report,
            reported: BTreeMap::new(),
            losses: Losses::default(),
        }
    }

    /// Shows an error to the person, and gives the number that the guest sees.
    pub(super) fn fail(&mut self, call: &'static str, error: Error) -> i32 {
        let errno = error.errno().unwrap_or(match error.kind() {
            Kind::NotFound => libc::ENOENT,
            Kind::Permission => libc::EPERM,
            _ => libc::EINVAL,
        });
        let count = self.reported.entry(call).or_default();
        *count += 1;
        match *count {
            n if n <= MOST_REPORTS => (self.report)(&error.context(call)),
            n if n == MOST_REPORTS + 1 => {
                let more = Error::new(error.kind(), "it fails again and again; this is not shown any more");
                (self.report)(&more.context(call));
            }
            _ => {}
        }
        -errno
    }

    /// [`Host::fail`] for a range or a string that the guest may not pass.
    pub(super) fn fault(&mut self, call: &'static str, what: &str, fault: Fault) -> i32 {
        let error = Error::new(Kind::BadInput, fault.to_string()).context(what).with_errno(libc::EFAULT);
        self.fail(call, error)
    }

    pub(super) fn has_room_for_object(&self) -> bool {
        self.objects.len() < MOST_OBJECTS
    }

    pub(super) fn add_object(&mut self, object: Box<dyn Object + Send>) -> i64 {
        let handle = self.next_object;
        self.next_object += 1;
        self.objects.insert(handle, object);
        handle
    }

    /// The object that a guest has a handle of.
    pub(super) fn object(&mut self, handle: i64) -> Result<&mut Box<dyn Object + Send>, Error> {
        self.objects.get_mut(&handle).ok_or_else(|| unknown_object(handle))
    }

    /// Closes an object, its maps' handles and its buffers; its losses are kept.
    pub(super) fn close(&mut self, handle: i64) -> Result<(), Error> {
        let object = self.objects.remove(&handle).ok_or_else(|| unknown_object(handle))?;
        self.losses.ring += object.dropped();
        self.iterators.retain(|(owner, _), _| *owner != handle);
        // Detached first, so that nothing more comes.
        drop(object);
        // Opened for a guest that then never polled them.
        for (_, buffer) in self.perf.extract_if(.., |(owner, _), _| *owner == handle) {
            retire(Reader::Idle(buffer), &mut self.losses, &mut self.deliveries, &self.stop);
        }
        for (_, open) in self.maps.extract_if(.., |_, open| open.object == handle) {
            retire(open.reader, &mut self.losses, &mut self.deliveries, &self.stop);
        }
        Ok(())
    }

    /// Closes everything; what was lost in all.
    pub(super) fn close_all(&mut self) -> Losses {
        while let Some(&handle) = self.objects.keys().next() {
            let _ = self.close(handle);
        }
        self.losses
    }

    /// A handle for a map of an object: the same one each time.
    pub(super) fn open_map(&mut self, object: i64, name: &str) -> Result<i32, Error> {
        let map = self.object(object)?.map(name)?;
        let info = map.info();
        let known = |open: &OpenMap| open.object == object && open.map.info().name == info.name;
        if let Some((&handle, _)) = self.maps.iter().find(|(_, open)| known(open)) {
            return Ok(handle);
        }
        if self.maps.len() >= MOST_MAPS || self.next_map == i32::MAX {
            let error = Error::new(Kind::Refused, format!("the guest has {} maps open", self.maps.len()));
            return Err(error.with_errno(libc::EMFILE).help("close objects that are not needed any more"));
        }
        let handle = self.next_map;
        self.next_map += 1;
        self.maps.insert(handle, OpenMap { object, map, reader: Reader::Closed });
        Ok(handle)
    }

    /// The map that a guest has a handle of.
    pub(super) fn map(&mut self, handle: i32) -> Result<&mut OpenMap, Error> {
        self.maps.get_mut(&handle).ok_or_else(|| unknown_map(handle))
    }

    /// Opens the perf buffers of an object before its programs run, so that a guest that polls later misses nothing. One
    /// that cannot be opened is an error of its first poll.
    pub(super) fn open_perf_buffers(&mut self, object: i64) {
        let Some(loaded) = self.objects.get(&object) else { return };
        for map in loaded.perf_buffers() {
            let name = &map.info().name;
            let polled = self.maps.values().any(|open| {
                open.object == object && open.map.info().name == *name && !matches!(open.reader, Reader::Closed)
            });
            let key = (object, name.clone());
            if !polled && !self.perf.contains_key(&key) {
                match map.open_buffer() {
                    Ok(buffer) => drop(self.perf.insert(key, buffer)),
                    Err(error) => tracing::info!("opening perf buffer {name}: {error}"),
                }
            }
        }
    }

    /// The buffer that [`Host::open_perf_buffers`] has opened.
    pub(super) fn take_perf_buffer(&mut self, object: i64, map: &str) -> Option<Box<dyn Buffer + Send>> {
        self.perf.remove(&(object, map.to_owned()))
    }

    /// The iterator of a program where its last read left it, or from the beginning.
    pub(super) fn take_iterator(&mut self, object: i64, program: &str) -> Result<Box<dyn Read + Send>, Error> {
        match self.iterators.remove(&(object, program.to_owned())) {
            Some(iterator) => Ok(iterator),
            None => self.object(object)?.iterate(program),
        }
    }

    /// Keeps an iterator that is not at its end.
    pub(super) fn keep_iterator(&mut self, object: i64, program: String, iterator: Box<dyn Read + Send>) {
        self.iterators.insert((object, program), iterator);
    }

    /// Gives the reader of a map back after a poll. Its object may have been closed meanwhile.
    pub(super) fn return_reader(&mut self, handle: i32, reader: Reader) {
        match self.map(handle) {
            Ok(open) => open.reader = reader,
            Err(_) => retire(reader, &mut self.losses, &mut self.deliveries, &self.stop),
        }
    }
}

/// Counts what nobody has read in a buffer that is closed.
fn retire(reader: Reader, losses: &mut Losses, deliveries: &mut Deliveries, stop: &Stop) {
    match reader {
        Reader::Closed | Reader::Busy => {}
        Reader::Idle(buffer) => losses.add_rest(buffer, stop),
        Reader::Ring(delivery) => {
            match delivery.map.open_buffer() {
                Ok(buffer) => losses.add_rest(buffer, stop),
                Err(error) => tracing::warn!("counting what is left in a buffer: {error}"),
            }
            deliveries.retire(*delivery);
        }
    }
}

impl Losses {
    /// What a buffer has lost, and what nobody has read.
    fn add_rest(&mut self, mut buffer: Box<dyn Buffer + Send>, stop: &Stop) {
        let unread = &mut self.unread;
        let mut count = |_: &[u8]| {
            *unread += 1;
            ControlFlow::Continue(())
        };
        if let Err(errno) = buffer.poll(Duration::ZERO, stop.as_fd(), &mut count) {
            tracing::warn!("counting what is left in a buffer: {errno}");
        }
        self.perf += buffer.lost();
    }
}

fn unknown_object(handle: i64) -> Error {
    Error::new(Kind::BadInput, format!("{handle} is no object of this guest's")).with_errno(libc::EBADF)
}

pub(super) fn unknown_map(handle: i32) -> Error {
    Error::new(Kind::BadInput, format!("{handle} is no map of this guest's"))
        .with_errno(libc::EBADF)
        .help("handles come from wasm_bpf_map_fd_by_name and end with their object")
}

/// The guest's memory and the state beside it. What it exports is looked up at the first call, which a start function may make.
pub(super) fn memory_and_state<'a>(
    caller: &'a mut Caller<'_, State>,
) -> wasmtime::Result<(&'a mut [u8], &'a mut State)> {
    if caller.data().host.memory.is_none() {
        let memory = caller.get_export("memory").and_then(Extern::into_memory);
        let table = caller.get_export("__indirect_function_table").and_then(Extern::into_table);
        let tinygo_callback = caller.get_export(TINYGO_CALLBACK.name).and_then(Extern::into_func);
        let host = &mut caller.data_mut().host;
        (host.memory, host.table, host.tinygo_callback) = (memory, table, tinygo_callback);
    }
    match caller.data().host.memory {
        Some(memory) => Ok(memory.data_and_store_mut(caller)),
        None => Err(wasmtime::Error::msg("the guest exports no memory called \"memory\"")),
    }
}

/// Reads a NUL-terminated string of the guest's; on a fault, what the call returns.
pub(super) fn read_name<'a>(
    bytes: &'a mut [u8],
    host: &'a mut Host,
    call: &'static str,
    what: &str,
    address: i32,
) -> Result<String, i32> {
    /// Longer than any name or path that the kernel takes.
    const LONGEST: usize = 4096;
    let name = GuestMemory::new(bytes, &host.shared).c_str(address as u32, LONGEST);
    let name = name.map_err(|fault| host.fault(call, what, fault))?;
    // No name of the kernel's has any, and a line break would let a guest write messages of its own among ours.
    if name.chars().any(char::is_control) {
        let error = Error::new(Kind::BadInput, format!("{what} has control characters: {name:?}"));
        return Err(host.fail(call, error.with_errno(libc::EINVAL)));
    }
    Ok(name)
}

/// The number of the kernel's as the guest sees it.
pub(super) fn errno(errno: Errno) -> i32 {
    -errno.raw_os_error()
}
