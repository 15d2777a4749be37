//! Inspection and admission of any bytes: no panic, nothing that takes 100 ms, and nothing let in that imports something
//! where nothing is granted.
//!
//! An input is a module as it stands, so that the modules under `examples/` make a corpus. One that starts with `!` is
//! the entropy of a valid module of wasm-smith's; one that starts with `?` is entropy and changes to the module made of
//! it: `?`, a count, so many times a place (three bytes) and a byte, entropy.
#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use rustix::time::{ClockId, clock_gettime};
use skep_admit::{Policy, Slot, admit, inspect, rejections};

/// Milliseconds of this thread's own computing that one input may take.
const LONGEST_MS: i64 = 100;

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((b'!', entropy)) => {
            if let Some(module) = generated(entropy) {
                check(&module);
            }
        }
        Some((b'?', rest)) => {
            if let Some(module) = changed(rest) {
                check(&module);
            }
        }
        _ => check(data),
    }
});

fn generated(entropy: &[u8]) -> Option<Vec<u8>> {
    let config = wasm_smith::Config::default();
    wasm_smith::Module::new(config, &mut Unstructured::new(entropy)).ok().map(|module| module.to_bytes())
}

fn changed(data: &[u8]) -> Option<Vec<u8>> {
    let (count, rest) = data.split_first()?;
    let (changes, entropy) = rest.split_at_checked(usize::from(*count) * 4)?;
    let mut module = generated(entropy)?;
    for change in changes.chunks_exact(4) {
        let place = usize::from(change[0]) | usize::from(change[1]) << 8 | usize::from(change[2]) << 16;
        if let Some(byte) = module.len().checked_sub(1).and_then(|last| module.get_mut(place % (last + 1))) {
            *byte = change[3];
        }
    }
    Some(module)
}

fn computed_ms() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}

fn check(bytes: &[u8]) {
    let start = computed_ms();
    let inspection = inspect(bytes);
    for slot in Slot::ALL {
        let admitted = admit(&inspection, *slot, &Policy::default());
        assert_eq!(admitted.is_ok(), rejections(&inspection, *slot, &Policy::default()).is_empty());
        assert!(admitted.is_err() || inspection.imports.is_empty(), "let in with imports where nothing is granted");
    }
    assert!(inspection.world.is_some() || !inspection.reasons.is_empty(), "no world and no reason");
    let took = computed_ms() - start;
    assert!(took <= LONGEST_MS, "{took} ms for {} bytes", bytes.len());
}
