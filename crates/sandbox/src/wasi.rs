//! WASI preview 1 for guests that are commands, by wasmtime-wasi; and what of it a tracer needs otherwise.
//!
//! - `poll_oneoff` on clocks alone, which is how guests sleep: it ends when the run is asked to end, and what the guest
//!   has printed is written before it sleeps;
//! - `proc_exit` passes on any status, also one of 126 and more;
//! - arguments and environment are bytes (`strings`), standard input is waited for ([`Input`]);
//! - descriptors of preopened directories can be asked for, as targets to attach to.

use std::{
    ffi::OsString,
    fs::File,
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
};
use skep_error::{Error, Kind, Result, ResultExt as _};
use tokio::runtime::Runtime;
use wasmtime::{Caller, Extern, Func, Instance, Linker, Module, TypedFunc};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtxBuilder, p1::WasiP1Ctx};

use crate::{
    input::Input,
    output::Output,
    stop::Stop,
    strings::{self, Strings},
    trap,
};

/// The module's name.
pub(crate) const MODULE: &str = skep_abi::program::MODULE_WASI;
/// The first descriptor that a preopened directory gets.
const FIRST_PREOPEN: i32 = 3;

/// What a guest gets of the outside.
#[derive(Clone, Debug, Default)]
pub struct WasiOptions {
    /// The guest's `argv`, its name first.
    pub args: Vec<OsString>,
    /// Its environment; nothing of the host's unless it stands here.
    pub env: Vec<(OsString, OsString)>,
    /// Directories it may use: the host's path, the guest's name for it, whether it may change anything.
    pub dirs: Vec<Preopen>,
    /// Whether it reads the host's standard input.
    pub stdin: bool,
}

/// A directory that a guest may use.
#[derive(Clone, Debug)]
pub struct Preopen {
    /// Where it is.
    pub host: PathBuf,
    /// What the guest calls it.
    pub guest: String,
    /// Whether the guest may change what is in it.
    pub writable: bool,
}

/// The WASI side of one guest.
pub struct Wasi {
    ctx: WasiP1Ctx,
    preopens: Vec<File>,
    pub(crate) args: Strings,
    pub(crate) env: Strings,
    stdout: Output,
    stop: Stop,
    /// wasmtime-wasi's `poll_oneoff`, once it was needed.
    poll: Option<Poll>,
    /// Whether the sleep under way when the end was requested has been cut short already.
    woken: bool,
}

/// What the state of a store must give for [`add_to_linker`].
pub(crate) trait WasiView: 'static {
    fn wasi(&mut self) -> &mut Wasi;
}

impl Wasi {
    /// Opens the directories and takes the rest as it is.
    ///
    /// # Errors
    /// `NotFound`, `Permission` or `Io` for a directory that cannot be opened.
    pub fn new(options: &WasiOptions, stdout: Output, stderr: Output, stop: &Stop) -> Result<Self> {
        let mut builder = WasiCtxBuilder::new();
        builder.stdout(stdout.clone()).stderr(stderr);
        builder.allow_blocking_current_thread(true);
        if options.stdin {
            builder.stdin(Input::new(stop));
        }
        let mut preopens = Vec::new();
        for dir in &options.dirs {
            let doing = || format!("opening the directory {} for the guest", dir.host.display());
            let perms = if dir.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
            preopens.push(open_directory(&dir.host).context(doing)?);
            builder
                .preopened_dir(&dir.host, &dir.guest, perms)
                .map_err(|error| Error::new(Kind::Io, format!("{error:#}")).context(doing()))?;
        }
        Ok(Self {
            ctx: builder.build_p1(),
            preopens,
            args: Strings::arguments(&options.args),
            env: Strings::environment(&options.env),
            stdout,
            stop: stop.clone(),
            poll: None,
            woken: false,
        })
    }

    /// Writes what the guest has printed so far.
    pub(crate) fn flush(&self) {
        // A reader that has gone is noted by the output itself.
        let _ = self.stdout.flush();
    }

    /// The host's descriptor behind a guest's, when that is a preopened directory.
    pub(crate) fn preopen(&self, fd: i32) -> Option<BorrowedFd<'_>> {
        let at = usize::try_from(fd.checked_sub(FIRST_PREOPEN)?).ok()?;
        self.preopens.get(at).map(File::as_fd)
    }

    /// Sleeps until `deadline` or until the run is asked to end. The first sleep that is cut short so looks to the guest
    /// as if its time were over, so that it can print what it has; the next one ends it.
    fn sleep_until(&mut self, deadline: Instant) -> wasmtime::Result<()> {
        loop {
            if let Some(reason) = self.stop.requested() {
                if self.woken {
                    return Err(wasmtime::Error::new(Ended(trap::ended(reason))));
                }
                self.woken = true;
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let stop = self.stop.clone();
            let _ = rustix::event::poll(&mut [PollFd::new(&stop, PollFlags::IN)], Some(&timeout));
        }
    }
}

/// What wasmtime-wasi waits by. Its own has a thread for every CPU, and panics where the process can have no more descriptors.
///
/// # Errors
/// `Io` where the process has no descriptor or thread left.
pub(crate) fn runtime() -> Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).thread_name("skep-wasi").enable_io().enable_time().build();
    runtime.context(|| "starting what the guest's calls to WASI wait by")
}

/// Opens a directory, and nothing else: to open a pipe would wait for whoever writes to it.
fn open_directory(path: &Path) -> std::io::Result<File> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// A run that was cut off because it had been asked to end: carried through wasmtime as an error.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) Error);

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Ended {}

/// Defines WASI preview 1.
///
/// # Errors
/// `Internal`: a defect.
pub(crate) fn add_to_linker<T: WasiView + Send>(
    linker: &mut Linker<T>,
    mut store: impl wasmtime::AsContextMut<Data = T>,
) -> Result<()> {
    let mut define = || -> wasmtime::Result<()> {
        wasmtime_wasi::p1::add_to_linker_sync(linker, |state: &mut T| &mut state.wasi().ctx)?;
        let original = linker.get(&mut store, MODULE, "poll_oneoff")?.into_func();
        let original = original.ok_or_else(|| wasmtime::Error::msg("WASI has no poll_oneoff"))?;
        linker.allow_shadowing(true);
        strings::add_to_linker(linker)?;
        linker.func_wrap(MODULE, "proc_exit", |status: i32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::new(I32Exit(status)))
        })?;
        linker.func_wrap(
            MODULE,
            "poll_oneoff",
            move |mut caller: Caller<'_, T>, subscriptions: i32, events: i32, count: i32, written: i32| {
                // What the guest has printed is seen while it waits.
                caller.data_mut().wasi().flush();
                match sleep(&mut caller, subscriptions as u32, events as u32, count as u32, written as u32)? {
                    Some(errno) => Ok(errno),
                    None => poll_otherwise(&mut caller, original, (subscriptions, events, count, written)),
                }
            },
        )?;
        linker.allow_shadowing(false);
        Ok(())
    };
    define().map_err(|error| Error::new(Kind::Internal, format!("{error:#}")).context("defining WASI"))
}

type Poll = TypedFunc<(i32, i32, i32, i32), i32>;

/// ```wat
/// (module
///   (import "" "memory" (memory 0))
///   (import "" "poll" (func $poll (param i32 i32 i32 i32) (result i32)))
///   (export "memory" (memory 0))
///   (func (export "poll") (param i32 i32 i32 i32) (result i32)
///     (call $poll (local.get 0) (local.get 1) (local.get 2) (local.get 3))))
/// ```
#[rustfmt::skip]
const POLL: &[u8] = &[
    0x00, b'a', b's', b'm', 1, 0, 0, 0,
    1, 9, 1, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f,
    2, 20, 2, 0, 6, b'm', b'e', b'm', b'o', b'r', b'y', 2, 0, 0,
              0, 4, b'p', b'o', b'l', b'l', 0, 0,
    3, 2, 1, 0,
    7, 17, 2, 6, b'm', b'e', b'm', b'o', b'r', b'y', 2, 0, 4, b'p', b'o', b'l', b'l', 0, 1,
    10, 14, 1, 12, 0, 0x20, 0, 0x20, 1, 0x20, 2, 0x20, 3, 0x10, 0, 0x0b,
];

/// `poll_oneoff` as wasmtime-wasi has it. It looks for the memory of the instance that calls it: called from here there would be none,
/// so an instance of the host's calls it that exports the guest's memory.
fn poll_otherwise<T: WasiView>(
    caller: &mut Caller<'_, T>,
    original: Func,
    args: (i32, i32, i32, i32),
) -> wasmtime::Result<i32> {
    let poll = match &caller.data_mut().wasi().poll {
        Some(poll) => poll.clone(),
        None => {
            let memory = caller.get_export("memory").and_then(Extern::into_memory);
            let memory = memory.ok_or_else(|| wasmtime::Error::msg("the guest exports no memory called \"memory\""))?;
            let module = Module::new(caller.engine(), POLL)?;
            let instance = Instance::new(&mut *caller, &module, &[memory.into(), original.into()])?;
            let poll: Poll = instance.get_typed_func(&mut *caller, "poll")?;
            caller.data_mut().wasi().poll.insert(poll).clone()
        }
    };
    poll.call(&mut *caller, args)
}

const SUBSCRIPTION: usize = 48;
const EVENT: usize = 32;
/// A guest that waits for more clocks than this is not sleeping.
const MOST_CLOCKS: u32 = 16;
pub(crate) const ERRNO_FAULT: i32 = 21;

/// `poll_oneoff` for subscriptions that are all to clocks; `None` for any other.
fn sleep<T: WasiView>(
    caller: &mut Caller<'_, T>,
    subscriptions: u32,
    events: u32,
    count: u32,
    written: u32,
) -> wasmtime::Result<Option<i32>> {
    let Some(memory) = caller.get_export("memory").and_then(Extern::into_memory) else { return Ok(None) };
    if !(1..=MOST_CLOCKS).contains(&count) {
        return Ok(None);
    }
    let start = subscriptions as usize;
    let Some(raw) = memory.data(&*caller).get(start..start + SUBSCRIPTION * count as usize) else { return Ok(None) };
    let Some(clocks) = raw.chunks_exact(SUBSCRIPTION).map(Clock::parse).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    let now = Instant::now();
    let deadlines: Vec<Instant> = clocks.iter().map(|clock| now + clock.wait).collect();
    let Some(&first) = deadlines.iter().min() else { return Ok(None) };
    caller.data_mut().wasi().sleep_until(first)?;

    let due = clocks.iter().zip(&deadlines).filter(|(_, deadline)| **deadline <= first);
    let mut out = Vec::with_capacity(EVENT * clocks.len());
    for (clock, _) in due {
        out.extend_from_slice(&clock.userdata);
        // No error, type clock, nothing else.
        out.extend_from_slice(&[0; EVENT - 8]);
    }
    let stored = ((out.len() / EVENT) as u32).to_le_bytes();
    let memory = memory.data_mut(caller);
    for (address, bytes) in [(events as usize, &out[..]), (written as usize, &stored[..])] {
        match memory.get_mut(address..address + bytes.len()) {
            Some(place) => place.copy_from_slice(bytes),
            None => return Ok(Some(ERRNO_FAULT)),
        }
    }
    Ok(Some(0))
}

/// One subscription to a clock.
struct Clock {
    userdata: [u8; 8],
    wait: Duration,
}

impl Clock {
    fn parse(raw: &[u8]) -> Option<Self> {
        const REALTIME: u32 = 0;
        const MONOTONIC: u32 = 1;
        let userdata = *raw.first_chunk::<8>()?;
        let is_clock = raw[8] == 0;
        let id = u32::from_le_bytes(*raw[16..].first_chunk()?);
        let timeout = Duration::from_nanos(u64::from_le_bytes(*raw[24..].first_chunk()?));
        let absolute = raw[40] & 1 != 0;
        let wait = match (is_clock, absolute, id) {
            (true, false, REALTIME | MONOTONIC) => timeout,
            (true, true, REALTIME) => timeout.saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).ok()?),
            // Only wasmtime-wasi knows when its monotonic clock started.
            _ => return None,
        };
        // Centuries overflow `Instant`; nobody waits so long.
        Some(Self { userdata, wait: wait.min(Duration::from_secs(1 << 32)) })
    }
}
