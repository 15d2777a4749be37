//! Random modules in the kernel against wasmtime: `random [COUNT [FIRST_SEED]]`, as root.

use std::{collections::BTreeMap, process::ExitCode};

use skep_kernel_wasm::random::{Verdict, bytes_of, compare, engine};

fn main() -> ExitCode {
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
    let (mut modules, mut calls, mut differences) = (0u64, 0u64, 0u64);
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    for seed in first..first + count {
        match compare(&engine, &bytes_of(seed, 4096)) {
            Ok(Verdict::Same(same)) => {
                modules += 1;
                calls += u64::from(same);
            }
            Ok(Verdict::Refused(why)) => *refused.entry(why).or_default() += 1,
            Ok(Verdict::Nothing) => {}
            Err(why) => {
                differences += 1;
                println!("seed {seed}: {why}");
            }
        }
    }
    println!("{modules} modules ran, {calls} calls were the same, {differences} differed");
    for (why, count) in refused {
        println!("{count} refused: {why}");
    }
    if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
