//! A kernel in memory: objects with tables for maps, queues for perf buffers, and a `memfd` laid out like a ring buffer.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Read,
    ops::ControlFlow,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd},
    io::Errno,
};
use skep_error::{Error, Kind, Result};
use skep_sandbox::{
    Reason, Stop,
    worlds::program::{Buffer, Kernel, Map, MapInfo, Object, Polled, Target, Values},
};

use crate::ring::FakeRing;

/// What the guests load; everything else is no object.
pub(crate) const ELF: &[u8] = b"object";
/// Processors that a per-CPU map has values for.
pub(crate) const CPUS: usize = 3;

const HASH: u32 = 1;
const PERF: u32 = 4;
const PERCPU_HASH: u32 = 5;

/// The kernel, as a test prepares and sees it; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<Shared>>);

/// What a test prepares before a run and looks at after it.
#[derive(Default)]
pub(crate) struct Shared {
    /// Objects that are loaded at this moment, and how many were ever.
    pub(crate) open: usize,
    pub(crate) loaded: usize,
    /// Program and target of every attachment: `"run"` has no target, `"run@here"` has one.
    pub(crate) attached: Vec<String>,
    /// What each object's perf buffer `events` has when it is loaded, and what `other` has.
    pub(crate) events: Vec<Vec<u8>>,
    pub(crate) other: Vec<Vec<u8>>,
    /// The ring buffer of every object, where there is one.
    pub(crate) ring: Option<Arc<FakeRing>>,
    /// The ring buffer cannot be mapped.
    pub(crate) unmappable: bool,
    /// What an object says that its ring buffers refused, and a perf buffer that it lost.
    pub(crate) dropped: u64,
    pub(crate) lost: u64,
    /// Requested as soon as somebody waits.
    pub(crate) stop_at_wait: Option<(Stop, Reason)>,
}

impl Fake {
    pub(crate) fn get(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap()
    }

    /// What a wait without records comes to.
    fn wait(&self, stop: BorrowedFd<'_>, timeout: Duration) -> Polled {
        if let Some((stop, reason)) = &self.get().stop_at_wait {
            stop.request(*reason);
        }
        let timeout = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::new(&stop, PollFlags::IN)], Some(&timeout)) {
            Ok(1..) => Polled::Stopped,
            _ => Polled::TimedOut,
        }
    }
}

impl Kernel for Fake {
    fn load(&mut self, elf: &[u8], _: Option<u64>) -> Result<Box<dyn Object + Send>> {
        if elf != ELF {
            return Err(Error::new(Kind::BadInput, "no object of the fake kernel's").with_errno(libc::ENOEXEC));
        }
        let mut shared = self.get();
        shared.open += 1;
        shared.loaded += 1;
        let mut maps: BTreeMap<&'static str, Arc<FakeMap>> = BTreeMap::new();
        let mut add = |name: &'static str, kind, key_size, user_value_size, records: &[Vec<u8>]| {
            let info = MapInfo {
                name: name.to_owned(),
                kind,
                key_size,
                value_size: 8,
                max_entries: shared.ring.as_ref().map_or(4, |ring| ring.size),
                flags: 0,
                user_value_size,
                mappable: match &shared.ring {
                    Some(ring) if kind == MapInfo::RINGBUF => ring.len(),
                    _ => 0,
                },
                values: if kind == PERF { Values::Descriptors } else { Values::Plain },
            };
            let map = FakeMap {
                info,
                fake: self.clone(),
                entries: Mutex::default(),
                records: Arc::new(Mutex::new(records.iter().cloned().collect())),
                ring: shared.ring.clone().filter(|_| kind == MapInfo::RINGBUF),
                descriptor: eventfd(0, EventfdFlags::CLOEXEC).unwrap(),
                unmappable: shared.unmappable,
            };
            maps.insert(name, Arc::new(map));
        };
        add("hash", HASH, 4, 8, &[]);
        add("wide", HASH, 600, 8, &[]);
        add("percpu", PERCPU_HASH, 4, 8 * CPUS, &[]);
        add("events", PERF, 4, 4, &shared.events);
        add("other", PERF, 4, 4, &shared.other);
        if shared.ring.is_some() {
            add("ring", MapInfo::RINGBUF, 0, 0, &[]);
        }
        drop(shared);
        Ok(Box::new(FakeObject { fake: self.clone(), maps }))
    }
}

struct FakeObject {
    fake: Fake,
    maps: BTreeMap<&'static str, Arc<FakeMap>>,
}

impl Drop for FakeObject {
    fn drop(&mut self) {
        self.fake.get().open -= 1;
    }
}

impl Object for FakeObject {
    fn attach(&mut self, program: &str, target: Target<'_>) -> Result<()> {
        let target = match target {
            Target::Section => String::new(),
            Target::Named(text) => format!("@{text}"),
            Target::Directory(_) => "@directory".to_owned(),
        };
        if program != "run" {
            return Err(Error::new(Kind::NotFound, format!("no program {program}")));
        }
        self.fake.get().attached.push(format!("{program}{target}"));
        Ok(())
    }

    fn map(&self, name: &str) -> Result<Arc<dyn Map + Send + Sync>> {
        match self.maps.get(name) {
            Some(map) => Ok(map.clone()),
            None => Err(Error::new(Kind::NotFound, format!("no map {name}"))),
        }
    }

    fn perf_buffers(&self) -> Vec<Arc<dyn Map + Send + Sync>> {
        self.maps.values().filter(|map| map.info.kind == PERF).map(|map| map.clone() as _).collect()
    }

    fn arena_globals(&self) -> Option<(u64, &[u8])> {
        None
    }

    fn arena(&self) -> Option<Arc<dyn Map + Send + Sync>> {
        None
    }

    fn iterate(&self, program: &str) -> Result<Box<dyn Read + Send>> {
        match program {
            "run" => Ok(Box::new(&b"first line\nsecond line\n"[..])),
            _ => Err(Error::new(Kind::NotFound, format!("no iterator {program}"))),
        }
    }

    fn dropped(&self) -> u64 {
        self.fake.get().dropped
    }
}

struct FakeMap {
    info: MapInfo,
    fake: Fake,
    entries: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    records: Arc<Mutex<VecDeque<Vec<u8>>>>,
    ring: Option<Arc<FakeRing>>,
    descriptor: OwnedFd,
    unmappable: bool,
}

impl Map for FakeMap {
    fn info(&self) -> &MapInfo {
        &self.info
    }

    fn lookup(&self, key: &[u8], value: &mut [u8], _: u64) -> Result<(), Errno> {
        let entries = self.entries.lock().unwrap();
        value.copy_from_slice(entries.get(key).ok_or(Errno::NOENT)?);
        Ok(())
    }

    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        const NOEXIST: u64 = 1;
        let mut entries = self.entries.lock().unwrap();
        if flags == NOEXIST && entries.contains_key(key) {
            return Err(Errno::EXIST);
        }
        entries.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &[u8], _: u64) -> Result<(), Errno> {
        self.entries.lock().unwrap().remove(key).map(drop).ok_or(Errno::NOENT)
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        let entries = self.entries.lock().unwrap();
        let found = entries.keys().find(|known| key.is_none_or(|key| known.as_slice() > key));
        next.copy_from_slice(found.ok_or(Errno::NOENT)?);
        Ok(())
    }

    fn open_buffer(&self) -> Result<Box<dyn Buffer + Send>> {
        let source = match (&self.ring, self.info.kind) {
            (Some(ring), _) => Source::Ring(ring.clone()),
            (None, PERF) => Source::Queue(self.records.clone()),
            _ => return Err(Error::new(Kind::BadInput, "it is no buffer")),
        };
        Ok(Box::new(FakeBuffer { fake: self.fake.clone(), source }))
    }

    fn wait(&self, stop: BorrowedFd<'_>, timeout: Duration) -> Result<Polled, Errno> {
        match &self.ring {
            Some(ring) if ring.has_records() => Ok(Polled::Records),
            _ => Ok(self.fake.wait(stop, timeout)),
        }
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.ring {
            Some(ring) if !self.unmappable => ring.descriptor(),
            // An event cannot be mapped.
            _ => self.descriptor.as_fd(),
        }
    }
}

struct FakeBuffer {
    fake: Fake,
    source: Source,
}

enum Source {
    Queue(Arc<Mutex<VecDeque<Vec<u8>>>>),
    Ring(Arc<FakeRing>),
}

impl Source {
    fn take(&self) -> Option<Vec<u8>> {
        match self {
            Self::Queue(records) => records.lock().unwrap().pop_front(),
            Self::Ring(ring) => ring.take(),
        }
    }
}

impl Buffer for FakeBuffer {
    fn poll(
        &mut self,
        timeout: Duration,
        stop: BorrowedFd<'_>,
        each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Polled, Errno> {
        let mut polled = Polled::TimedOut;
        while let Some(record) = self.source.take() {
            polled = Polled::Records;
            if each(&record).is_break() {
                return Ok(polled);
            }
        }
        match polled {
            Polled::Records => Ok(polled),
            _ => Ok(self.fake.wait(stop, timeout)),
        }
    }

    fn lost(&self) -> u64 {
        match self.source {
            Source::Queue(_) => self.fake.get().lost,
            Source::Ring(_) => 0,
        }
    }
}
