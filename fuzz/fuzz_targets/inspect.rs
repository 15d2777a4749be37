//! Inspection and admission of any bytes: no panic, no hang, and nothing let in that imports something where nothing is
//! granted. Inputs that start with `!` are the entropy of a valid module; the rest are the module itself, so that the
//! samples under `examples/` make a corpus: `cargo fuzz run inspect -- ../examples`.
#![no_main]

use libfuzzer_sys::{arbitrary::Unstructured, fuzz_target};
use skep_admit::{Policy, Slot, admit, inspect, rejections};

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((b'!', entropy)) => {
            let config = wasm_smith::Config::default();
            if let Ok(module) = wasm_smith::Module::new(config, &mut Unstructured::new(entropy)) {
                check(&module.to_bytes());
            }
        }
        _ => check(data),
    }
});

fn check(bytes: &[u8]) {
    let inspection = inspect(bytes);
    for slot in Slot::ALL {
        let admitted = admit(&inspection, *slot, &Policy::default());
        assert_eq!(admitted.is_ok(), rejections(&inspection, *slot, &Policy::default()).is_empty());
        assert!(admitted.is_err() || inspection.imports.is_empty());
    }
}
