//! Random modules in the kernel against wasmtime: `random [COUNT [FIRST_SEED]]`, as root; or a given one, which differed
//! before: `random MODULE`.

use std::{collections::BTreeMap, process::ExitCode};

use arbitrary::Unstructured;
use skep_kernel_wasm::random::{Verdict, bytes_of, compare, compare_module, engine, generate};

/// Bytes that a module is made of.
const LENGTH: usize = 4096;
/// Differences after which there is no point in going on.
const MOST: u64 = 50;

/// Keeps the module in a file, for a report.
fn keep(seed: u64) {
    let data = bytes_of(seed, LENGTH);
    let Ok(module) = generate(&mut Unstructured::new(&data)) else { return };
    let path = std::env::temp_dir().join(format!("skep-random-{seed}.wasm"));
    match std::fs::write(&path, module) {
        Ok(()) => println!("    the module is in {}", path.display()),
        Err(error) => println!("    the module cannot be kept in {}: {error}", path.display()),
    }
}

/// Compares the module of a file.
fn one(path: &str) -> ExitCode {
    let data = bytes_of(0, LENGTH);
    let compared = std::fs::read(path)
        .map_err(|error| error.to_string())
        .and_then(|module| engine().and_then(|engine| compare_module(&engine, &module, &mut Unstructured::new(&data))));
    match compared {
        Ok(verdict) => {
            println!("{verdict:?}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn main() -> ExitCode {
    if let Some(path) = std::env::args().nth(1).filter(|argument| argument.ends_with(".wasm")) {
        return one(&path);
    }
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Some(Ok(count)), first) = (numbers.next().or(Some(Ok(1000))), numbers.next()) else {
        eprintln!("usage: random [COUNT [FIRST_SEED]]");
        return ExitCode::from(2);
    };
    let first = first.and_then(Result::ok).unwrap_or(0);
    let engine = match engine() {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let (mut modules, mut without, mut calls, mut differences) = (0u64, 0u64, 0u64, 0u64);
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    for seed in first..first + count {
        match compare(&engine, &bytes_of(seed, LENGTH)) {
            Ok(Verdict::Same(same)) => {
                modules += 1;
                without += u64::from(same == 0);
                calls += u64::from(same);
            }
            Ok(Verdict::Refused(why)) => *refused.entry(why).or_default() += 1,
            Ok(Verdict::Nothing) => {}
            Err(why) => {
                differences += 1;
                println!("seed {seed}: {why}");
                keep(seed);
                if differences == MOST {
                    println!("that is enough");
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    println!(
        "{modules} modules ran ({without} ended before a call could be compared), {calls} calls were the same, {differences} differed"
    );
    for (why, count) in refused {
        println!("{count} refused: {why}");
    }
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
