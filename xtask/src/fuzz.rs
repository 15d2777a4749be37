//! `xtask fuzz`: each fuzz target for so many seconds or inputs, guided by coverage, with the toolchain that builds the rest.
//!
//! libFuzzer needs the compiler's coverage instrumentation, not a sanitizer, and rustc passes its flags on to LLVM without
//! being a nightly: so there is neither cargo-fuzz nor a second toolchain to install. The seed is printed; the same seed,
//! target and number of inputs give the same run on an empty corpus. The corpus begins with what [`TARGETS`] says, and grows in the
//! target directory.

use crate::process::{self, cargo, root, target};
use skep_error::{Error, Kind, Result, ResultExt as _, did_you_mean};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

/// What `xtask fuzz` takes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The target: a name of fuzz/fuzz_targets; all of them in turn if not said
    name: Option<String>,
    /// Ends each after so many seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Ends each after so many inputs, however long it takes
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

/// Writes the inputs to begin with into a directory, and says what they are.
type Seeds = fn(&Path) -> Result<String>;

/// The targets, and what their corpus begins with.
const TARGETS: &[(&str, Seeds)] = &[("inspect", modules), ("compile", modules), ("record", recordings)];

/// Builds and runs the targets; 1 if one found something.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let chosen: Vec<_> =
        TARGETS.iter().filter(|(name, _)| args.name.as_ref().is_none_or(|wanted| wanted == name)).collect();
    if chosen.is_empty() {
        let names = TARGETS.iter().map(|(name, _)| *name);
        let name = args.name.as_deref().unwrap_or_default();
        return Err(
            Error::new(Kind::NotFound, format!("there is no fuzz target {name}")).help(did_you_mean(name, names))
        );
    }
    let mut all_good = true;
    for (name, seeds) in chosen {
        all_good &= fuzz(name, *seeds, args)?;
    }
    Ok(u8::from(!all_good))
}

/// Whether the target found nothing.
fn fuzz(name: &str, make_seeds: Seeds, args: &Args) -> Result<bool> {
    let out = target().join("fuzz");
    let [corpus, seeds, found] = ["corpus", "seeds", "found"].map(|kind| out.join(kind).join(name));
    for dir in [&corpus, &seeds, &found] {
        fs::create_dir_all(dir).context(|| format!("making {}", dir.display()))?;
    }
    let program = build(name, &out)?;
    let beginning = make_seeds(&seeds)?;
    let seed = args.seed.unwrap_or_else(|| {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |time| time.subsec_nanos() ^ time.as_secs() as u32)
            .max(1)
    });
    println!("fuzz: {name}, seed {seed}, {beginning} to begin with");
    let mut command = Command::new(&program);
    command.args([format!("-seed={seed}"), format!("-max_len={LONGEST_INPUT}")]);
    command.args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-print_funcs=0", "-verbosity=0"]);
    command.arg(match args.inputs {
        Some(inputs) => format!("-runs={inputs}"),
        None => format!("-max_total_time={}", args.seconds),
    });
    command.arg(format!("-artifact_prefix={}/", found.display())).arg(&corpus).arg(&seeds);
    let good = process::status(&mut command)?.success();
    if !good {
        eprintln!("fuzz: run it again on what was found: {} {}/<file>", program.display(), found.display());
    }
    Ok(good)
}

fn build(name: &str, out: &Path) -> Result<PathBuf> {
    let host = crate::test::host_triple()?;
    let manifest = root().join("fuzz/Cargo.toml");
    let mut command = cargo();
    command.args(["build", "--release", "--quiet", "--locked", "--bin", name, "--target", &host, "--manifest-path"]);
    // With --target the flags reach neither build scripts nor macros.
    command.arg(&manifest).arg("--target-dir").arg(out).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"));
    process::succeed(&mut command)?;
    Ok(out.join(host).join("release").join(name))
}

/// Every committed module of a moderate size, and entropy for generated ones.
fn modules(seeds: &Path) -> Result<String> {
    let mut modules = Vec::new();
    for dir in ["examples", "gadgets", "tests", "benches"] {
        collect(&root().join(dir), &mut modules);
    }
    modules.sort();
    for (number, module) in modules.iter().enumerate() {
        let seed = seeds.join(format!("module-{number}"));
        fs::copy(module, &seed).context(|| format!("copying {} to {}", module.display(), seed.display()))?;
    }
    entropy(seeds)?;
    Ok(format!("{} modules and {ENTROPY_SEEDS} entropies", modules.len()))
}

/// A record file in the form that the target puts together. All fields lie at the start of records of 8 bytes.
fn recordings(seeds: &Path) -> Result<String> {
    const SCHEMA: &str = r#"{"name":"cpu","stride":8,"fields":[
        {"name":"pid","kind":8,"offset":0,"size":4},{"name":"comm","kind":13,"offset":0,"size":8},
        {"name":"user_stack_id","kind":5,"offset":0,"size":8},{"name":"kernel_stack_id","kind":5,"offset":0,"size":8},
        {"name":"count","kind":9,"offset":0,"size":8,"hidden":true,"tags":["t"],"annotations":{"columns.width":"9"}}]}"#;
    const STACKS: &str = r#"[[1,[[4096,"main","/bin/x","c0ffee",16,"x.c",7,false]]],[2,[]]]"#;
    const COUNTERS: &str = r#"{"events":3,"kept":3,"lost_kernel":1,"lost_filter":0,"lost_queue":0,"elapsed_ns":5}"#;
    let index = format!(r#"{{"blocks":[[2,700,2,1,2]],"counters":{COUNTERS}}}"#);
    let records = [1u64, 2, u64::from_le_bytes(*b"worker\0\0")].map(u64::to_le_bytes).concat();
    let mut seed = vec![b'!'];
    for (kind, plain) in [
        (1, SCHEMA.as_bytes()),
        (3, STACKS.as_bytes()),
        (2, &records),
        (4, COUNTERS.as_bytes()),
        (5, index.as_bytes()),
        (6, &700u64.to_le_bytes()),
    ] {
        seed.push(kind);
        seed.extend_from_slice(&(plain.len() as u32).to_le_bytes()[..3]);
        seed.extend_from_slice(plain);
    }
    for (name, bytes) in [("blocks", seed.as_slice()), ("magic", b"SKEPREC\x01SKBK\x01")] {
        let path = seeds.join(name);
        fs::write(&path, bytes).context(|| format!("writing {}", path.display()))?;
    }
    Ok("2 files".to_owned())
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
