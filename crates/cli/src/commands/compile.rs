//! `skep compile`: a module to an eBPF object, without a kernel unless `--check` asks one.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use skep_bpf::kernel_wasm::KernelModule;
use skep_error::{Error, Kind, Result, ResultExt as _, one_line};
use wasm2bpf::{Binding, Isa, Object, Options};

use crate::console;

const EXAMPLES: &str = "\
Examples:
  skep compile score.wasm -o score.bpf.o            an object that libbpf links and loads
  skep compile score.wasm --emit report,asm         what was done, and each instruction beside its Wasm one
  skep compile score.wasm --emit header >score.h    what an eBPF program in C includes that calls its exports
  sudo skep compile score.wasm --check              load it: instructions walked by the verifier, and the time
  skep compile score.wasm --bind env.now=helper:5   bpf_ktime_get_ns for the import env.now

Exit status: 1 when the compiler turns the module down, 71 when the kernel refuses what was compiled.";

/// What can be printed or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Emit {
    /// The object, to the file of `-o`
    Obj,
    /// Each eBPF instruction beside the WebAssembly one
    Asm,
    /// The compiler's own form
    Ir,
    /// That form after each stage, the registers, and the code before the last one
    Stages,
    /// What was done to each function
    Report,
    /// A C header for eBPF programs that call its exports
    Header,
}

/// What `--target` names: where linear memory lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// A BPF arena, kernel 6.9 and up
    Arena,
    /// One array of at most 4 MiB, kernel 5.17 and up; slower. Before 6.6 it needs `--cpu v3`
    Array,
}

/// Arguments of `skep compile`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where the object goes; the module's name with `.bpf.o` if not said
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// What to make
    #[arg(long, value_delimiter = ',', default_value = "obj,report")]
    emit: Vec<Emit>,

    /// Load it (as root), and print what the verifier walked, how long it took and the stack used
    #[arg(long)]
    check: bool,

    #[command(flatten)]
    module: Module,
}

/// The module and how it is compiled, as `exec-kernel` takes them too.
#[derive(Debug, clap::Args)]
pub(crate) struct Module {
    /// Where linear memory lives
    #[arg(long, default_value = "arena")]
    target: Target,

    /// Leave out functions that the kernel cannot have, and what calls them
    #[arg(long)]
    partial: bool,

    /// Instruction set: v4, or v3 for kernels before 6.6
    #[arg(long, value_name = "v3|v4", default_value = "v4", value_parser = parse_isa)]
    cpu: Isa,

    /// Pages of 64 KiB that memory may grow to
    #[arg(long, value_name = "PAGES", default_value_t = 256)]
    max_memory: u32,

    /// Binds an import: helper:NUMBER, function:SYMBOL or nothing
    #[arg(long, value_name = "MODULE.NAME=WHAT", value_parser = parse_binding)]
    bind: Vec<((String, String), Binding)>,

    /// The module
    file: PathBuf,
}

fn parse_isa(text: &str) -> Result<Isa, String> {
    match text {
        "v3" => Ok(Isa::V3),
        "v4" => Ok(Isa::V4),
        _ => Err("v3 or v4".to_owned()),
    }
}

fn parse_binding(text: &str) -> Result<((String, String), Binding), String> {
    let (import, what) = text.split_once('=').ok_or("it looks like env.now=helper:5")?;
    let (module, name) = import.split_once('.').ok_or("the import is MODULE.NAME")?;
    let binding = match what.split_once(':') {
        Some(("helper", number)) => {
            Binding::Helper(number.parse().map_err(|_| format!("{number} is no helper's number"))?)
        }
        Some(("function", symbol)) if !symbol.is_empty() => Binding::Function(symbol.to_owned()),
        None if what == "nothing" => Binding::Nothing,
        _ => return Err("helper:NUMBER, function:SYMBOL or nothing".to_owned()),
    };
    Ok(((module.to_owned(), name.to_owned()), binding))
}

impl Module {
    fn options(&self) -> Options {
        Options {
            partial: self.partial,
            target: match self.target {
                Target::Arena => wasm2bpf::Target::Arena,
                Target::Array => wasm2bpf::Target::Array,
            },
            isa: self.cpu,
            max_memory_pages: self.max_memory,
            imports: self.bind.iter().cloned().collect(),
            ..Options::default()
        }
    }

    fn refused(&self, refusal: &wasm2bpf::Refusal) -> Error {
        let kind = match refusal.reason {
            wasm2bpf::Reason::Invalid(_) => Kind::BadInput,
            _ => Kind::Refused,
        };
        Error::new(kind, one_line(&refusal.to_string())).context(format!("compiling {}", self.file.display()))
    }

    /// Reads and compiles the module.
    pub(crate) fn compile(&self) -> Result<(Vec<u8>, Object)> {
        let bytes = skep_admit::read_module(&self.file)?;
        let object = wasm2bpf::compile(&bytes, &self.options()).map_err(|refusal| self.refused(&refusal))?;
        Ok((bytes, object))
    }

    /// Loads what was compiled. What the kernel refuses is a defect of the compiler: the listing and the verifier's log
    /// are kept for a report.
    pub(crate) fn load(&self, object: Object, bytes: &[u8]) -> Result<KernelModule> {
        KernelModule::load_or_keep(object, bytes, &std::env::temp_dir())
    }
}

fn output_of(args: &Args) -> PathBuf {
    args.output.clone().unwrap_or_else(|| Path::new(&args.module.file).with_extension("bpf.o"))
}

/// Compiles, prints what was asked for, and loads it with `--check`.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let (bytes, object) = args.module.compile()?;
    let mut out = std::io::stdout().lock();
    for emit in &args.emit {
        match emit {
            Emit::Obj => {
                let path = output_of(args);
                std::fs::write(&path, &object.elf).context(|| format!("writing {}", path.display()))?;
                console::remark(&format!("wrote {}, {} bytes", path.display(), object.elf.len()));
            }
            Emit::Asm => write!(out, "{}", object.listing(&bytes)).context(|| "writing the listing")?,
            Emit::Ir => {
                for function in &object.ir() {
                    writeln!(out, "{function}").context(|| "writing the IR")?;
                }
            }
            Emit::Stages => {
                let text = wasm2bpf::stages(&bytes, &args.module.options());
                let text = text.map_err(|refusal| args.module.refused(&refusal))?;
                write!(out, "{text}").context(|| "writing the stages")?;
            }
            Emit::Header => write!(out, "{}", object.header()).context(|| "writing the header")?,
            Emit::Report => write!(out, "{}", object.report).context(|| "writing the report")?,
        }
    }
    if args.check {
        let module = args.module.load(object, &bytes)?;
        print_check(&mut out, &module).context(|| "writing what the verifier did")?;
    }
    Ok(0)
}

/// What the verifier walked, how long loading took, and the stack that was used.
fn print_check(out: &mut impl std::io::Write, module: &KernelModule) -> std::io::Result<()> {
    for (program, verified) in module.loaded().verified() {
        let (emitted, walked, time) = (verified.emitted, verified.walked, verified.load_time);
        let ratio = f64::from(walked) / f64::from(emitted.max(1));
        writeln!(
            out,
            "{program}: accepted, {emitted} instructions, {walked} walked by the verifier ({ratio:.2} for one)"
        )?;
        writeln!(out, "{program}: loaded in {:.1} ms, verification and JIT", time.as_secs_f64() * 1e3)?;
    }
    let depths = module.loaded().log().lines().filter_map(|line| line.strip_prefix("stack depth "));
    let deepest =
        depths.flat_map(|depths| depths.split('+')).filter_map(|depth| depth.trim().parse::<u32>().ok()).max();
    if let Some(deepest) = deepest {
        writeln!(out, "stack: at most {deepest} of the kernel's 512 bytes in any function")?;
    }
    Ok(())
}
