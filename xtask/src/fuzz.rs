//! `xtask fuzz`: a fuzz target for so many seconds or inputs, guided by coverage, with the toolchain that builds the rest.
//!
//! libFuzzer needs the compiler's coverage instrumentation, not a sanitizer, and rustc passes its flags on to LLVM without
//! being a nightly: so there is neither cargo-fuzz nor a second toolchain to install. The seed is printed; the same seed,
//! target and number of inputs give the same run on an empty corpus. The corpus begins with every committed module up to 128 KiB and with
//! entropy for generated ones, and grows in the target directory.

use crate::process::{self, cargo, root, target};
use skep_error::{Error, Kind, Result, ResultExt as _};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

/// What `xtask fuzz` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The target: a name of fuzz/fuzz_targets
    #[arg(default_value = "inspect")]
    name: String,
    /// Ends after so many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Ends after so many inputs, however long it takes
    #[arg(long)]
    inputs: Option<u64>,
    /// Where the random numbers begin; the time if not said
    #[arg(long)]
    seed: Option<u32>,
}

/// The instrumentation that cargo-fuzz asks for, without a sanitizer.
const FLAGS: &[&str] = &[
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];
/// Modules longer than this make no seeds: a change in a large one says little more and costs a hundred times as much.
const LARGEST_SEED: u64 = 128 << 10;
/// Bytes of the longest input.
const LONGEST_INPUT: u64 = 256 << 10;
/// Seeds of entropy, for modules of wasm-smith's.
const ENTROPY_SEEDS: u64 = 200;

/// Builds and runs the target; 1 if it found something.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let out = target().join("fuzz");
    let (corpus, seeds, found) =
        (out.join("corpus").join(&args.name), out.join("seeds"), out.join("found").join(&args.name));
    for dir in [&corpus, &seeds, &found] {
        fs::create_dir_all(dir).context(|| format!("making {}", dir.display()))?;
    }
    let program = build(&args.name, &out)?;
    let mut modules = Vec::new();
    for dir in ["examples", "gadgets", "tests", "benches"] {
        collect(&root().join(dir), &mut modules);
    }
    modules.sort();
    for (number, module) in modules.iter().enumerate() {
        let seed = seeds.join(format!("module-{number}"));
        fs::copy(module, &seed).context(|| format!("copying {} to {}", module.display(), seed.display()))?;
    }
    entropy(&seeds)?;
    let seed = args.seed.unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |time| time.subsec_nanos() ^ time.as_secs() as u32)
            .max(1)
    });
    println!("fuzz: {}, seed {seed}, {} modules and {ENTROPY_SEEDS} entropies to begin with", args.name, modules.len());
    let mut command = Command::new(&program);
    command.args([format!("-seed={seed}"), format!("-max_len={LONGEST_INPUT}")]);
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"]);
    command.arg(match args.inputs {
        Some(inputs) => format!("-runs={inputs}"),
        None => format!("-max_total_time={}", args.seconds),
    });
    command.arg(format!("-artifact_prefix={}/", found.display())).arg(&corpus).arg(&seeds);
    let good = process::status(&mut command)?.success();
    if !good {
        eprintln!("fuzz: run it again on what was found: {} {}/<file>", program.display(), found.display());
    }
    Ok(u8::from(!good))
}

fn build(name: &str, out: &Path) -> Result<PathBuf> {
    let host = crate::test::host_triple()?;
    let manifest = root().join("fuzz/Cargo.toml");
    if !root().join("fuzz/fuzz_targets").join(format!("{name}.rs")).is_file() {
        return Err(Error::new(Kind::NotFound, format!("there is no fuzz target {name}")).help("see fuzz/fuzz_targets"));
    }
    let mut command = cargo();
    command.args(["build", "--release", "--quiet", "--locked", "--bin", name, "--target", &host, "--manifest-path"]);
    // With --target the flags reach neither build scripts nor macros.
    command.arg(&manifest).arg("--target-dir").arg(out).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    process::succeed(&mut command)?;
    Ok(out.join(host).join("release").join(name))
}

fn collect(dir: &Path, modules: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let small = fs::metadata(&path).is_ok_and(|meta| meta.len() <= LARGEST_SEED);
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, modules);
        } else if small && path.extension().is_some_and(|extension| extension == "wasm") {
            modules.push(path);
        }
    }
}

/// Inputs that stand for generated modules, always the same ones: half of them as they come, half with a change.
fn entropy(seeds: &Path) -> Result<()> {
    let mut state = 0x5eed_u64;
    let mut random = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u8
    };
    for number in 0..ENTROPY_SEEDS {
        let mut bytes = if number % 2 == 0 { vec![b'!'] } else { vec![b'?', 1, random(), random(), 0, random()] };
        let len = 256 + usize::from(random()) * 8;
        bytes.extend((0..len).map(|_| random()));
        let path = seeds.join(format!("entropy-{number}"));
        fs::write(&path, &bytes).context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
