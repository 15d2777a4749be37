//! The live kernel behind the traits of world `program`.

use std::{
    io::Read,
    ops::ControlFlow,
    os::fd::{AsFd as _, BorrowedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::io::Errno;
use skep_bpf::{LoadOptions, MapType};
use skep_error::{Error, Result};
use skep_sandbox::worlds::program::{Buffer, Kernel, Map, MapInfo, Object, Polled, Target, Values};

/// Loads objects into the kernel that this process runs on.
pub struct LiveKernel {
    /// Set where programs that the kernel refuses are left out; it is shown each.
    left_out: Option<LeftOut>,
}

/// Shown each program that is left out.
type LeftOut = Arc<Mutex<dyn FnMut(&Error) + Send>>;

impl LiveKernel {
    /// With `best_effort`, programs that the kernel refuses to load or attach are left out, and shown to `report`.
    pub fn new(best_effort: bool, report: impl FnMut(&Error) + Send + 'static) -> Self {
        Self { left_out: best_effort.then(|| Arc::new(Mutex::new(report)) as LeftOut) }
    }
}

impl Kernel for LiveKernel {
    fn load(&mut self, elf: &[u8], arena_at: Option<u64>) -> Result<Box<dyn Object + Send>> {
        let options = LoadOptions { best_effort: self.left_out.is_some(), arena_at };
        let object = skep_bpf::Object::load(elf, &options)?;
        for left_out in object.left_out() {
            show(self.left_out.as_ref(), &left_out.error);
        }
        Ok(Box::new(LiveObject { object, left_out: self.left_out.clone() }))
    }
}

fn show(left_out: Option<&LeftOut>, error: &Error) {
    if let Some(report) = left_out {
        (report.lock().unwrap_or_else(PoisonError::into_inner))(error);
    }
}

struct LiveObject {
    object: skep_bpf::Object,
    left_out: Option<LeftOut>,
}

impl Object for LiveObject {
    fn attach(&mut self, program: &str, target: Target<'_>) -> Result<()> {
        let target = match target {
            Target::Section => skep_bpf::Target::Section,
            Target::Named(text) => skep_bpf::Target::Named(text),
            Target::Directory(fd) => skep_bpf::Target::Directory(fd),
        };
        match self.object.attach(program, target) {
            // The guest is to go on, so it is told that all is well; the person is told what is missing. A name that is
            // not there is the guest's own mistake.
            Err(error) if self.left_out.is_some() && self.object.programs().iter().any(|(name, _)| name == program) => {
                // One that was left out at the load has been shown.
                if !self.object.left_out().iter().any(|left_out| left_out.program == program) {
                    show(self.left_out.as_ref(), &error);
                }
                Ok(())
            }
            result => result,
        }
    }

    fn map(&self, name: &str) -> Result<Arc<dyn Map + Send + Sync>> {
        Ok(live_map(self.object.map(name)?))
    }

    fn perf_buffers(&self) -> Vec<Arc<dyn Map + Send + Sync>> {
        let perf = self.object.maps().filter(|map| map.info().kind == MapType::PerfEventArray);
        perf.cloned().map(live_map).collect()
    }

    fn arena_globals(&self) -> Option<(u64, &[u8])> {
        self.object.arena_globals().map(|globals| (globals.offset, &*globals.bytes))
    }

    fn arena(&self) -> Option<Arc<dyn Map + Send + Sync>> {
        self.object.arena().map(live_map)
    }

    fn iterate(&self, program: &str) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.object.iterate(program)?))
    }

    fn dropped(&self) -> u64 {
        self.object
            .dropped()
            .unwrap_or_else(|error| {
                tracing::warn!("{error}");
                None
            })
            .unwrap_or(0)
    }
}

struct LiveMap {
    map: Arc<skep_bpf::Map>,
    info: MapInfo,
}

fn live_map(map: Arc<skep_bpf::Map>) -> Arc<dyn Map + Send + Sync> {
    let raw = map.info();
    let info = MapInfo {
        name: map.name().to_owned(),
        kind: raw.kind as u32,
        key_size: raw.key_size,
        value_size: raw.value_size,
        max_entries: raw.max_entries,
        flags: raw.flags,
        user_value_size: raw.user_value_size,
        mappable: raw.mappable,
        values: values(raw.kind),
    };
    Arc::new(LiveMap { map, info })
}

fn values(kind: MapType) -> Values {
    match kind {
        MapType::CgroupArray => Values::Cgroup,
        MapType::ArrayOfMaps | MapType::HashOfMaps => Values::Map,
        MapType::Devmap | MapType::DevmapHash | MapType::Cpumap => Values::WithProgram,
        MapType::ProgArray
        | MapType::PerfEventArray
        | MapType::Sockmap
        | MapType::Sockhash
        | MapType::Xskmap
        | MapType::ReuseportSockarray
        | MapType::SkStorage
        | MapType::InodeStorage
        | MapType::TaskStorage
        | MapType::CGrpStorage
        | MapType::StructOps => Values::Descriptors,
        _ => Values::Plain,
    }
}

impl Map for LiveMap {
    fn info(&self) -> &MapInfo {
        &self.info
    }

    fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
        self.map.lookup(key, value, flags).map_err(errno)
    }

    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.map.update(key, value, flags).map_err(errno)
    }

    fn delete(&self, key: &[u8], flags: u64) -> Result<(), Errno> {
        self.map.delete(key, flags).map_err(errno)
    }

    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
        self.map.next_key(key, next).map_err(errno)
    }

    fn open_buffer(&self) -> Result<Box<dyn Buffer + Send>> {
        let buffer = skep_bpf::Buffer::open(&self.map)
            .map_err(|error| error.context(format!("opening the buffer {}", self.map.name())))?;
        Ok(Box::new(LiveBuffer { buffer }))
    }

    fn wait(&self, stop: BorrowedFd<'_>, timeout: Duration) -> Result<Polled, Errno> {
        skep_bpf::wait_for_records(&self.map, Some(stop), timeout).map(polled).map_err(errno)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

struct LiveBuffer {
    buffer: skep_bpf::Buffer,
}

impl Buffer for LiveBuffer {
    fn poll(
        &mut self,
        timeout: Duration,
        stop: BorrowedFd<'_>,
        each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Polled, Errno> {
        self.buffer.poll(timeout, Some(stop), each).map(polled).map_err(errno)
    }

    fn lost(&self) -> u64 {
        self.buffer.lost()
    }
}

fn polled(polled: skep_bpf::Polled) -> Polled {
    match polled {
        skep_bpf::Polled::Records(_) => Polled::Records,
        skep_bpf::Polled::TimedOut => Polled::TimedOut,
        skep_bpf::Polled::Stopped => Polled::Stopped,
    }
}

fn errno(errno: skep_bpf::Errno) -> Errno {
    Errno::from_raw_os_error(errno.0)
}
