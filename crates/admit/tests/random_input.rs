//! Generated modules and mutated real ones: no panic, nothing slow, and nothing let in that imports something where
//! nothing is granted. `SKEP_FUZZ_INPUTS=1000000` sets how many inputs there are; the fuzz target does the same with
//! coverage.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use skep_admit::{Policy, Slot, admit, inspect, rejections};

/// Inputs of an ordinary run of the tests.
const INPUTS: u64 = 3_000;
/// Mutations of each generated module.
const MUTATIONS: u64 = 20;

/// xorshift64*, so that a run repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            // A length or count that claims more than there is.
            3 if bytes.len() > at + 5 => bytes[at..at + 5].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]),
            4 => {
                let from = random.below(bytes.len());
                let piece = bytes[from..bytes.len().min(from + random.below(64))].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let end = bytes.len().min(at + random.below(16));
                bytes.drain(at.min(end)..end);
            }
        }
    }
}

fn real_modules(directory: &Path, found: &mut Vec<Vec<u8>>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() && !path.ends_with("target") {
            real_modules(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "wasm") {
            found.extend(std::fs::read(&path));
        }
    }
}

/// CPU time of this thread: another program's turn is not ours.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Inspects and admits, checks what holds for every input, and returns what CPU time it took and whether a slot let it in.
fn check(bytes: &[u8]) -> (Duration, bool) {
    let start = cpu_time();
    let inspection = inspect(bytes);
    let admitted: Vec<bool> =
        Slot::ALL.iter().map(|slot| admit(&inspection, *slot, &Policy::default()).is_ok()).collect();
    let took = cpu_time() - start;
    for (slot, admitted) in Slot::ALL.iter().zip(&admitted) {
        assert_eq!(*admitted, rejections(&inspection, *slot, &Policy::default()).is_empty());
        assert!(!admitted || inspection.imports.is_empty(), "let in with imports where nothing is granted");
    }
    assert!(inspection.world.is_some() || !inspection.reasons.is_empty(), "no world and no reason");
    (took, admitted.contains(&true))
}

#[test]
fn no_input_panics_or_is_let_in_wrongly() {
    let inputs = std::env::var("SKEP_FUZZ_INPUTS").ok().and_then(|text| text.parse().ok()).unwrap_or(INPUTS);
    let mut real = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for directory in ["examples", "gadgets", "tests"] {
        real_modules(&root.join(directory), &mut real);
    }
    // A flip somewhere in a large module says little more than one in a small one, and costs a hundred times as much.
    real.retain(|module| module.len() < 128 * 1024);
    let mut random = Random(0x5eed);
    let (mut done, mut generated, mut admitted) = (0u64, 0u64, 0u64);
    let mut slowest = Duration::ZERO;
    while done < inputs {
        let base = if random.below(3) == 0 && !real.is_empty() {
            real[random.below(real.len())].clone()
        } else {
            let entropy_len = 64 + random.below(2048);
            let entropy = random.bytes(entropy_len);
            let config = wasm_smith::Config { threads_enabled: random.below(2) == 0, ..wasm_smith::Config::default() };
            match wasm_smith::Module::new(config, &mut arbitrary::Unstructured::new(&entropy)) {
                Ok(module) => {
                    generated += 1;
                    module.to_bytes()
                }
                Err(_) => entropy,
            }
        };
        for round in 0..=MUTATIONS {
            let mut bytes = base.clone();
            if round > 0 {
                mutate(&mut bytes, &mut random);
            }
            let (took, let_in) = check(&bytes);
            slowest = slowest.max(took);
            admitted += u64::from(let_in);
            done += 1;
        }
    }
    println!(
        "{done} inputs ({generated} generated modules, {} real ones, {MUTATIONS} mutations of each), \
         {admitted} let in, slowest {slowest:?} of CPU time",
        real.len()
    );
}
