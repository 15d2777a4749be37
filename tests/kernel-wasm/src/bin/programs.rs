//! The bars of WebAssembly in the kernel: programs against `clang -target bpf` of the same source, native code and
//! wasmtime; what the verifier walks; how fast modules compile and load.
//!
//! Needs root and clang 19. Each figure is the median of interleaved repeats, in the thread's own time; ratios are within
//! this run. A table for
//! people, or with `--figures` lines for `xtask bench`; `--write PAGE` puts the table into the documentation.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use skep_bpf::kernel_wasm::{LoadOptions, Loaded};
use skep_error::{Error, Kind, Result, ResultExt as _};
use skep_kernel_wasm::{
    document,
    figure::{Bar, Figure},
    generated,
    programs::{InKernel, InWasmtime, PROGRAMS, Program},
};

const REPEATS: usize = 9;
/// Nanoseconds that one run should take in native code.
const TARGET: u64 = 3_000_000;

const NATIVE_MAIN: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
unsigned run(unsigned);
int main(int c, char **v)
{
	struct timespec a, b;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
	unsigned sum = run(atoi(v[1]));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
	printf("%u %lld\n", sum, (b.tv_sec - a.tv_sec) * 1000000000ll + b.tv_nsec - a.tv_nsec);
}
"#;

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs")
}

fn clang(arguments: &[&str]) -> Result<()> {
    let status = Command::new("clang-19").args(arguments).status().map_err(Error::io).context(|| "running clang-19")?;
    if status.success() { Ok(()) } else { Err(Error::new(Kind::BadInput, "clang-19 failed")) }
}

fn native(program: &Program, dir: &Path) -> Result<PathBuf> {
    let main = dir.join("main.c");
    std::fs::write(&main, NATIVE_MAIN).map_err(Error::io)?;
    let out = dir.join(program.source());
    let source = sources().join(format!("{}.c", program.source()));
    let text = |path: &Path| path.display().to_string();
    clang(&["-O2", "-w", "-o", &text(&out), &text(&source), &text(&main)])?;
    Ok(out)
}

fn run_native(executable: &Path, rounds: u32) -> Result<(u32, u64)> {
    let output = Command::new(executable).arg(rounds.to_string()).output().map_err(Error::io)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut numbers = text.split_whitespace().map(str::parse::<u64>).map_while(std::result::Result::ok);
    match (numbers.next(), numbers.next()) {
        (Some(sum), Some(time)) => Ok((sum as u32, time)),
        _ => Err(Error::new(Kind::BadInput, "the native build printed nothing")),
    }
}

/// The headers of the kernel that libbpf's crate carries: a distribution's may not know arenas.
fn headers() -> Option<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cargo")))?;
    let registry = home.join("registry/src");
    let mut found: Vec<PathBuf> = std::fs::read_dir(registry)
        .ok()?
        .flatten()
        .flat_map(|source| std::fs::read_dir(source.path()).into_iter().flatten().flatten())
        .map(|package| package.path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libbpf-sys-")))
        .collect();
    found.sort();
    Some(found.pop()?.join("libbpf/include/uapi").display().to_string())
}

fn bpf(program: &Program, dir: &Path) -> Result<Loaded> {
    let source = dir.join(format!("{}.bpf.c", program.source()));
    let include = |name: &str| format!("#include \"{}\"\n", sources().join(name).display());
    std::fs::write(&source, include(&format!("{}.c", program.source())) + &include("entry.bpf.h"))
        .map_err(Error::io)?;
    let out = dir.join(format!("{}.bpf.o", program.source()));
    let headers = headers().ok_or_else(|| Error::new(Kind::NotFound, "no headers of libbpf-sys"))?;
    let text = |path: &Path| path.display().to_string();
    let include = format!("-I{headers}");
    let arch = "-I/usr/include/x86_64-linux-gnu";
    let flags = ["-target", "bpf", "-mcpu=v4", "-g", "-O2", "-w", "-fno-jump-tables", &include, arch, "-c", "-o"];
    let (out_text, source_text) = (text(&out), text(&source));
    clang(&[&flags[..], &[&out_text, &source_text]].concat())?;
    let elf = std::fs::read(&out).map_err(Error::io)?;
    Loaded::load(&elf, &LoadOptions { arena_pages: 64, keep_log: true })
}

fn run_bpf(loaded: &Loaded, rounds: u32) -> Result<u32> {
    let mut context = [0u8; 8];
    context[..4].copy_from_slice(&rounds.to_le_bytes());
    loaded.run(loaded.program("entry")?, &mut context)?;
    Ok(u32::from_le_bytes([context[4], context[5], context[6], context[7]]))
}

fn median(mut times: Vec<u64>) -> u64 {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Nanoseconds that this thread has run, in user space and in the kernel.
fn thread_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The thread's own time: another process on the same processor adds nothing to it.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, u64)> {
    let start = thread_time();
    let value = work()?;
    Ok((value, thread_time() - start))
}

struct Row {
    program: Program,
    walked: u32,
    against_bpf: f64,
    against_native: f64,
    against_wasmtime: f64,
    walked_per_emitted: f64,
}

fn measure(program: &Program, dir: &Path) -> Result<(Row, String)> {
    let native = native(program, dir)?;
    let baseline = bpf(program, dir)?;
    let kernel = InKernel::new(program)?;
    let mut wasmtime = InWasmtime::new(program)?;
    let (_, once) = run_native(&native, 20)?;
    let rounds = (20 * TARGET / once.max(1)).clamp(1, 100_000) as u32;
    let mut times: [Vec<u64>; 4] = Default::default();
    for _ in 0..REPEATS {
        let (expected, time) = run_native(&native, rounds)?;
        times[0].push(time);
        let (sums, measured): (Vec<u32>, Vec<u64>) =
            [timed(|| run_bpf(&baseline, rounds))?, timed(|| kernel.run(rounds))?, timed(|| wasmtime.run(rounds))?]
                .into_iter()
                .unzip();
        if sums.iter().any(|&sum| sum != expected) {
            let why = format!("checksums differ in {}: native {expected}, bpf, wasm, wasmtime {sums:?}", program.name);
            return Err(Error::new(Kind::Internal, why));
        }
        for (times, time) in times[1..].iter_mut().zip(measured) {
            times.push(time);
        }
    }
    let [native, bpf, kernel_time, wasmtime] = times.map(median);
    let verified = kernel.module.loaded().verified().first().map(|(_, v)| v.clone()).unwrap_or_default();
    let baseline =
        baseline.verified().iter().find(|(name, _)| name == "entry").map(|(_, v)| v.clone()).unwrap_or_default();
    let ratio = |other: u64| kernel_time as f64 / other as f64;
    let row = Row {
        program: *program,
        walked: verified.walked,
        against_bpf: ratio(bpf),
        against_native: ratio(native),
        against_wasmtime: ratio(wasmtime),
        walked_per_emitted: f64::from(verified.walked) / f64::from(verified.emitted.max(1)),
    };
    let line = format!(
        "| {} | {:.2} | {:.2} | {:.2} | {} | {} | {:.2} | {} | {} |",
        program.name,
        row.against_bpf,
        row.against_native,
        row.against_wasmtime,
        verified.emitted,
        verified.walked,
        row.walked_per_emitted,
        baseline.emitted,
        baseline.walked,
    );
    Ok((row, line))
}

/// The geometric mean over the programs whose source is the baseline's too.
fn mean(rows: &[Row], figure: fn(&Row) -> f64) -> f64 {
    let logs: Vec<f64> = rows.iter().filter(|row| row.program.is_c()).map(|row| figure(row).ln()).collect();
    (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp()
}

const HEAD: &str = "\
| program | ÷ clang bpf | ÷ native | ÷ wasmtime | emitted | walked | ratio | clang's | walked |
|---|--:|--:|--:|--:|--:|--:|--:|--:|
";

/// How long compilation takes for modules of growing size.
fn compile_speed() -> Result<Vec<Figure>> {
    let options = wasm2bpf::Options::default();
    let sizes = [("10 KB", 10_000), ("100 KB", 100_000), ("1 MB", 1_000_000), ("10 MB", 10_000_000)];
    let modules: Vec<Vec<u8>> = sizes.iter().map(|&(_, size)| generated::of_size(size)).collect();
    let mut times: Vec<Vec<u64>> = vec![Vec::new(); sizes.len()];
    for _ in 0..5 {
        for (module, times) in modules.iter().zip(&mut times) {
            let compiled = timed(|| {
                wasm2bpf::compile(module, &options).map_err(|refusal| Error::new(Kind::Refused, refusal.to_string()))
            });
            times.push(compiled?.1);
        }
    }
    let speeds = sizes.iter().zip(modules).zip(times).map(|((&(name, _), module), times)| {
        let speed = module.len() as f64 / 1e6 / (median(times) as f64 / 1e9);
        Figure::plain(format!("compilation of a module of {name}"), "MB/s", speed, Bar::AtLeast(5.0))
    });
    Ok(speeds.collect())
}

/// How long a function of 4,000 statements takes to load.
fn load_time() -> Result<Vec<Figure>> {
    let bytes = generated::module(1, 4000);
    let options = wasm2bpf::Options { max_memory_pages: 1, ..wasm2bpf::Options::default() };
    let (mut times, mut walked) = (Vec::new(), 0.0);
    for _ in 0..REPEATS {
        let object =
            wasm2bpf::compile(&bytes, &options).map_err(|refusal| Error::new(Kind::Refused, refusal.to_string()))?;
        let module = skep_bpf::kernel_wasm::KernelModule::load(object, &bytes, 1, false)?;
        let (_, verified) = module.loaded().verified().first().cloned().unwrap_or_default();
        times.push(verified.load_time.as_nanos() as u64);
        walked = f64::from(verified.walked) / f64::from(verified.emitted.max(1));
    }
    Ok(vec![
        Figure::plain("load of a function of 4,000 statements", "s", median(times) as f64 / 1e9, Bar::AtMost(0.5)),
        Figure::plain("instructions walked for one emitted, the same function", "", walked, Bar::None),
    ])
}

fn program_figures(rows: &[Row]) -> Vec<Figure> {
    let most = rows.iter().map(|row| row.walked).max().unwrap_or(0);
    let mean = |name: &str, figure: fn(&Row) -> f64, bar| Figure::plain(name, "", mean(rows, figure), bar);
    let mut figures = vec![
        mean("Wasm in the kernel ÷ clang -target bpf, geometric mean", |row| row.against_bpf, Bar::AtMost(1.5)),
        mean("Wasm in the kernel ÷ native clang -O2, geometric mean", |row| row.against_native, Bar::None),
        mean("Wasm in the kernel ÷ wasmtime, geometric mean", |row| row.against_wasmtime, Bar::None),
        mean("instructions walked for one emitted, geometric mean", |row| row.walked_per_emitted, Bar::AtMost(2.0)),
        Figure::plain("instructions walked for any one program", "", f64::from(most), Bar::AtMost(100_000.0)),
    ];
    figures.extend(rows.iter().map(|row| {
        let name =
            format!("{} ÷ clang -target bpf{}", row.program.name, if row.program.is_c() { "" } else { " of the C" });
        Figure::plain(name, "", row.against_bpf, Bar::None)
    }));
    figures
}

fn bars(dir: &Path, as_figures: bool) -> Result<bool> {
    std::fs::create_dir_all(dir).map_err(Error::io)?;
    let mut table = HEAD.to_owned();
    let mut rows = Vec::new();
    for program in PROGRAMS {
        let (row, line) = measure(program, dir)?;
        if as_figures {
            eprintln!("{line}")
        } else {
            println!("{line}")
        }
        table += &(line + "\n");
        rows.push(row);
    }
    let line = format!(
        "| **geometric mean**, C | {:.2} | {:.2} | {:.2} | | | {:.2} | | |",
        mean(&rows, |row| row.against_bpf),
        mean(&rows, |row| row.against_native),
        mean(&rows, |row| row.against_wasmtime),
        mean(&rows, |row| row.walked_per_emitted),
    );
    table += &line;
    let mut figures = program_figures(&rows);
    figures.extend(load_time()?);
    figures.extend(compile_speed()?);
    if !as_figures {
        println!("{line}");
    }
    for figure in &figures {
        println!("{figure}");
    }
    if let Some(page) = document::file_to_write() {
        document::replace(&page, "programs", &table)?;
    }
    Ok(figures.iter().any(Figure::missed))
}

fn main() -> std::process::ExitCode {
    let dir = std::env::temp_dir().join(format!("skep-programs-{}", std::process::id()));
    let as_figures = std::env::args().any(|argument| argument == "--figures");
    let outcome = bars(&dir, as_figures);
    // What cannot be removed is a temporary file left behind, no failure of the run.
    let _ = std::fs::remove_dir_all(&dir);
    match outcome {
        Ok(missed) => std::process::ExitCode::from(u8::from(missed && !as_figures)),
        Err(error) => {
            eprintln!("{}", error.report(40));
            std::process::ExitCode::from(error.kind().exit_code())
        }
    }
}
