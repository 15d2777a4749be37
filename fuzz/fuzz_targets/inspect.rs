//! Inspection and admission of any bytes: no panic, nothing that takes 100 ms, and nothing let in that imports something
//! where nothing is granted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_admit::{Policy, Slot, admit, inspect, rejections};
use skep_fuzz::{computed_ms, module};

/// Milliseconds of this thread's own computing that one input may take.
const LONGEST_MS: i64 = 100;

fuzz_target!(|data: &[u8]| {
    if let Some(module) = module(data) {
        check(&module);
    }
});

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
