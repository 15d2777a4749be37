//! `skep run`: a module of world `program`, on the live kernel.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::OFlags,
};
use skep_abi::World;
use skep_admit::{Admission, MAX_MODULE, Policy, RejectionKind, Slot, with_near};
use skep_error::{Error, Kind, Result, ResultExt as _};
use skep_sandbox::{
    Cache, Engine, Limits, Metering, Module, Output, Preopen, Reason, Stop, WASM_PAGE, WasiOptions,
    worlds::program::{self, Losses, Options},
};

use crate::{LiveKernel, policy::admitted as admitted_by};

/// What is run, and with what.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The module's file.
    pub file: PathBuf,
    /// Its arguments, without its name.
    pub args: Vec<OsString>,
    /// Its environment.
    pub env: Vec<(OsString, OsString)>,
    /// Directories it may use.
    pub dirs: Vec<Preopen>,
    /// Ends it after so long.
    pub timeout: Option<Duration>,
    /// Bytes of memory it may take; 1 GiB unless given.
    pub max_memory: Option<usize>,
    /// Leaves out programs that cannot be loaded or attached.
    pub best_effort: bool,
    /// Neither reads nor writes the cache of compiled modules.
    pub no_cache: bool,
    /// The policy that has to admit the module to the slot `program`; without one everything is granted.
    pub policy: Option<PathBuf>,
    /// Told of the file when compiling it takes longer than a person waits without wondering.
    pub on_slow_compilation: Option<fn(&Path)>,
}

/// A compilation that takes longer is told of.
const SLOW: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Runs it to its end. `report` is shown every error that the guest itself sees only as a number; once `stop` is asked for, it
/// must not wait for long.
///
/// # Errors
/// What kept the guest from running, or ended it; its own exit status is no error.
pub fn run<R>(options: &RunOptions, stop: &Stop, report: R) -> (Result<i32>, Losses)
where
    R: FnMut(&Error) + Clone + Send + 'static,
{
    let Prepared { engine, module, cache, admission } = match prepare_until(stop, options, report.clone()) {
        Ok(prepared) => prepared,
        Err(error) => return (Err(error), Losses::default()),
    };
    let stdout = Output::stdout(stop);
    let flushed = stdout.clone();
    let mut limits = Limits::default();
    if let Some(memory) = options.max_memory {
        limits.memory = memory;
    }
    if let Some(Admission { budget, .. }) = &admission {
        let pages = usize::try_from(budget.pages).unwrap_or(usize::MAX);
        limits.memory = limits.memory.min(pages.saturating_mul(WASM_PAGE));
        limits.table = limits.table.min(usize::try_from(budget.table_elements).unwrap_or(usize::MAX));
    }
    let kernel = LiveKernel::new(options.best_effort, report.clone());
    let (stuck, mut last_words) = (stop.clone(), report.clone());
    let world = Options {
        wasi: wasi_options(options),
        limits,
        cache,
        stdout,
        stderr: Output::stderr(stop),
        stop: stop.clone(),
        report: Box::new(report),
        on_stuck: Box::new(move || {
            // What is attached is held by descriptors alone: the end of the process takes it away.
            flushed.flush_ready();
            let error = ended(&stuck, "the guest hangs in a call, such as writing to a full pipe");
            let error = error.help("what it had not printed or read yet is lost, and was not counted");
            last_words(&error);
            std::process::exit(error.kind().exit_code().into());
        }),
    };
    let (result, losses) = program::run(&engine, &module, Box::new(kernel), world);
    (result.context(|| format!("running {}", options.file.display())), losses)
}

/// Ends the process when the run is asked to end while nothing can be asked to: a compilation. Nothing is attached then.
struct EndsProcess {
    over: Arc<AtomicBool>,
}

impl EndsProcess {
    fn on<S, R>(stop: &Stop, mut slow: Option<S>, mut report: R) -> Result<Self>
    where
        S: FnOnce() + Send + 'static,
        R: FnMut(&Error) + Send + 'static,
    {
        let over = Arc::new(AtomicBool::new(false));
        let (stop, flag) = (stop.clone(), over.clone());
        let watch = move || {
            let mut fds = [PollFd::new(&stop, PollFlags::IN)];
            loop {
                match rustix::event::poll(&mut fds, slow.as_ref().map(|_| &SLOW)) {
                    Ok(0) if flag.load(Ordering::SeqCst) => slow = None,
                    Ok(0) => drop(slow.take().map(|tell| tell())),
                    Err(rustix::io::Errno::INTR) => {}
                    _ => break,
                }
            }
            if !flag.swap(true, Ordering::SeqCst) {
                let error = ended(&stop, "the guest had not started, its module was being read or compiled");
                report(&error);
                std::process::exit(error.kind().exit_code().into());
            }
        };
        let spawned = thread::Builder::new().name("skep-compiling".to_owned()).spawn(watch);
        spawned.context(|| "starting the thread that can end a compilation")?;
        Ok(Self { over })
    }
}

impl Drop for EndsProcess {
    fn drop(&mut self) {
        if self.over.swap(true, Ordering::SeqCst) {
            // The other thread ends the process this very moment.
            thread::park();
        }
    }
}

/// The error of a run that was asked to end, and of which that had to be forced.
fn ended(stop: &Stop, meanwhile: &str) -> Error {
    let (kind, why) = match stop.requested() {
        Some(Reason::TimedOut) => (Kind::TimedOut, "the time is over"),
        Some(Reason::OutputClosed) => (Kind::Interrupted, "nobody reads the output any more"),
        _ => (Kind::Interrupted, "interrupted"),
    };
    Error::new(kind, format!("{why}: {meanwhile}"))
}

/// What a run needs before it starts.
struct Prepared {
    engine: Engine,
    module: Module,
    cache: Option<Cache>,
    admission: Option<Admission>,
}

/// [`prepare`], of which a request to end, or the end of the run's time, ends the process.
fn prepare_until<R>(stop: &Stop, options: &RunOptions, report: R) -> Result<Prepared>
where
    R: FnMut(&Error) + Send + 'static,
{
    if let Some(timeout) = options.timeout {
        end_after(timeout, stop)?;
    }
    let slow = options.on_slow_compilation.map(|tell| {
        let file = options.file.clone();
        move || tell(&file)
    });
    let compiling = EndsProcess::on(stop, slow, report)?;
    let prepared = prepare(options);
    drop(compiling);
    prepared
}

fn prepare(options: &RunOptions) -> Result<Prepared> {
    distinct_names(&options.dirs)?;
    let wasm = read_module(&options.file)?;
    let admission = options.policy.as_deref().map(|policy| admitted(&wasm, options, policy)).transpose()?;
    let engine = match &admission {
        Some(admission) => {
            let stack = usize::try_from(admission.budget.stack_bytes).unwrap_or(usize::MAX);
            Engine::with_stack(Metering::Epoch, stack)?
        }
        None => Engine::new(Metering::Epoch)?,
    };
    let cache = if options.no_cache { None } else { Cache::for_user() };
    let module =
        Module::load(&engine, &wasm, cache.as_ref(), is_program).context(|| options.file.display().to_string())?;
    Ok(Prepared { engine, module, cache, admission })
}

/// A guest finds a directory by its name: of two with one name it would see but one.
fn distinct_names(dirs: &[Preopen]) -> Result<()> {
    // `a`, `./a` and `a/` are one to the guest's C library.
    let name = |dir: &Preopen| -> PathBuf {
        Path::new(&dir.guest).components().filter(|part| *part != Component::CurDir).collect()
    };
    for (at, dir) in dirs.iter().enumerate() {
        if let Some(other) = dirs[..at].iter().find(|other| name(other) == name(dir)) {
            let (first, second) = (other.host.display(), dir.host.display());
            let message = format!("the guest would know two directories as {}: {first} and {second}", dir.guest);
            return Err(Error::new(Kind::Usage, message).help("give one of them another name: --dir HOST::GUEST"));
        }
    }
    Ok(())
}

/// The policy's leave for the module, with the signature beside it, and for the directories that it is lent.
fn admitted(wasm: &[u8], options: &RunOptions, policy: &Path) -> Result<Admission> {
    let doing = || format!("admitting {} under {}", options.file.display(), policy.display());
    let mut module = skep_admit::inspect(wasm);
    let admission = admitted_by(&mut module, &options.file, Slot::Program, &Policy::load(policy)?).context(doing)?;
    for dir in &options.dirs {
        let real = dir.host.canonicalize().context(|| format!("looking for {}", dir.host.display()))?;
        let below = |granted: &PathBuf| granted.canonicalize().is_ok_and(|granted| real.starts_with(granted));
        if !admission.directories.iter().any(below) {
            let message = format!("the policy grants no directory that {} lies below", dir.host.display());
            return Err(Error::new(Kind::Refused, message).context(doing()).help("add it to a grant's `directories`"));
        }
    }
    Ok(admission)
}

/// Whether a module may be run as a program, by its imports and exports alone.
fn is_program(wasm: &[u8]) -> Result<()> {
    let inspection = skep_admit::inspect(wasm);
    match inspection.check() {
        Ok(World::Program) => Ok(()),
        // A plain WASI command: it loads nothing, and runs.
        Err(rejection) if rejection.kind == RejectionKind::NoWorld && inspection.export("_start").is_some() => Ok(()),
        Ok(other) => Err(Error::new(
            Kind::BadInput,
            format!("it is a module of world {other}, and a run takes one of world program"),
        )
        .help("skep inspect FILE says what it is for")),
        Err(rejection) => Err(Error::new(Kind::BadInput, rejection.to_string()).help(rejection.help())),
    }
}

/// Reads a module's bytes.
///
/// # Errors
/// `NotFound`, `Permission` or `Io`; `BadInput` for a file that is no plain file or too long.
pub fn read_module(file: &Path) -> Result<Vec<u8>> {
    let doing = || format!("reading {}", file.display());
    // Opening a pipe would wait for its writer, and reading the kernel's log for its next line.
    let opened = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(file);
    let opened = opened.context(doing).map_err(|error| with_near(error, file))?;
    let meta = opened.metadata().context(doing)?;
    if !meta.is_file() {
        return Err(Error::new(Kind::BadInput, "it is not a file").context(doing()));
    }
    let too_long = || Error::new(Kind::BadInput, format!("it is longer than {MAX_MODULE} bytes")).context(doing());
    if meta.len() > MAX_MODULE {
        return Err(too_long());
    }
    // Files of /proc have no length and may have no end.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    opened.take(MAX_MODULE + 1).read_to_end(&mut bytes).context(doing)?;
    if bytes.len() as u64 > MAX_MODULE { Err(too_long()) } else { Ok(bytes) }
}

fn wasi_options(options: &RunOptions) -> WasiOptions {
    let name = options.file.file_name().map_or_else(|| "guest".into(), OsString::from);
    WasiOptions {
        args: std::iter::once(name).chain(options.args.iter().cloned()).collect(),
        env: options.env.clone(),
        dirs: options.dirs.clone(),
        stdin: true,
    }
}

fn end_after(timeout: Duration, stop: &Stop) -> Result<()> {
    let stop = stop.clone();
    // The thread ends with the process; a run that is over does not mind the request.
    let wait = move || {
        thread::sleep(timeout);
        stop.request(Reason::TimedOut);
    };
    let spawned = thread::Builder::new().name("skep-timeout".to_owned()).spawn(wait);
    spawned.map(drop).context(|| "starting the thread of the timeout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_or_is_no_file_is_refused() {
        for file in ["/dev/zero", "/proc"] {
            let error = read_module(Path::new(file)).unwrap_err();
            assert_eq!(error.kind(), Kind::BadInput, "{error}");
            assert!(error.to_string().contains("it is not a file"), "{error}");
        }
        // Of no length by its metadata, and of half a gigabyte for each terabyte of addresses.
        assert!(read_module(Path::new("/proc/self/pagemap")).is_err());
    }
}
