//! `skep run`: a module of world `program`, on the live kernel.

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use skep_abi::World;
use skep_admit::RejectionKind;
use skep_error::{Error, Kind, Result, ResultExt as _};
use skep_sandbox::{
    Cache, Engine, Limits, Metering, Module, Output, Preopen, Reason, Stop, WasiOptions,
    worlds::program::{self, Losses, Options},
};

use crate::LiveKernel;

/// What is run, and with what.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The module's file.
    pub file: PathBuf,
    /// Its arguments, without its name.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<(String, String)>,
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
}

/// A module longer than this is not read.
const LARGEST_MODULE: u64 = 256 << 20;

/// Runs it to its end. `report` is shown every error that the guest itself sees only as a number.
///
/// # Errors
/// What kept the guest from running, or ended it; its own exit status is no error.
pub fn run<R>(options: &RunOptions, stop: &Stop, report: R) -> (Result<i32>, Losses)
where
    R: FnMut(&Error) + Clone + Send + 'static,
{
    let prepared = prepare(options);
    let (engine, module, cache) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return (Err(error), Losses::default()),
    };
    let stdout = Output::stdout(stop);
    let flushed = stdout.clone();
    let mut limits = Limits::default();
    if let Some(memory) = options.max_memory {
        limits.memory = memory;
    }
    if let Some(timeout) = options.timeout {
        end_after(timeout, stop);
    }
    let kernel = LiveKernel::new(options.best_effort, report.clone());
    let stuck = stop.clone();
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
            let _ = flushed.flush();
            let kind = match stuck.requested() {
                Some(Reason::TimedOut) => Kind::TimedOut,
                _ => Kind::Interrupted,
            };
            std::process::exit(kind.exit_code().into());
        }),
    };
    let (result, losses) = program::run(&engine, &module, Box::new(kernel), world);
    (result.context(|| format!("running {}", options.file.display())), losses)
}

fn prepare(options: &RunOptions) -> Result<(Engine, Module, Option<Cache>)> {
    let wasm = read_module(&options.file)?;
    let engine = Engine::new(Metering::Epoch)?;
    let cache = if options.no_cache { None } else { Cache::for_user() };
    let module =
        Module::load(&engine, &wasm, cache.as_ref(), is_program).context(|| options.file.display().to_string())?;
    Ok((engine, module, cache))
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
    let meta = std::fs::metadata(file).context(doing)?;
    if !meta.is_file() {
        return Err(Error::new(Kind::BadInput, "it is not a file").context(doing()));
    }
    if meta.len() > LARGEST_MODULE {
        return Err(Error::new(Kind::BadInput, format!("it is longer than {LARGEST_MODULE} bytes")).context(doing()));
    }
    std::fs::read(file).context(doing)
}

fn wasi_options(options: &RunOptions) -> WasiOptions {
    let name = options.file.file_name().map_or_else(|| "guest".to_owned(), |name| name.to_string_lossy().into_owned());
    WasiOptions {
        args: std::iter::once(name).chain(options.args.iter().cloned()).collect(),
        env: options.env.clone(),
        dirs: options.dirs.clone(),
        stdin: true,
    }
}

fn end_after(timeout: Duration, stop: &Stop) {
    let stop = stop.clone();
    // The thread ends with the process; a run that is over does not mind the request.
    thread::spawn(move || {
        thread::sleep(timeout);
        stop.request(Reason::TimedOut);
    });
}
