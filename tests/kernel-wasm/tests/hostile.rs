//! Modules made to be expensive: an answer for each, in time and memory that grow with their size. What takes more than
//! that does not come to an end here.

use skep_bpf::kernel_wasm::KernelModule;
use skep_kernel_wasm::hostile::SHAPES;
use skep_suite::kernel_gate;
use wasm2bpf::{Isa, Options, Reason, Target};

#[test]
fn hostile_modules_of_a_megabyte_get_an_answer() {
    let targets = [
        Options { max_memory_pages: 1, ..Options::default() },
        Options { max_memory_pages: 1, target: Target::Array, isa: Isa::V3, ..Options::default() },
    ];
    for &(name, shape) in SHAPES {
        let bytes = shape(1_000_000);
        for options in &targets {
            if let Err(refusal) = wasm2bpf::compile(&bytes, options) {
                assert!(matches!(refusal.reason, Reason::Limit(_)), "{name}: {refusal}");
            }
        }
    }
}

#[test]
fn kernel_hostile_modules_that_compile_are_taken_by_the_verifier() {
    if !kernel_gate("hostile modules in the kernel") {
        return;
    }
    let options = Options { max_memory_pages: 1, ..Options::default() };
    for size in [3_000, 30_000, 100_000] {
        for &(name, shape) in SHAPES {
            let bytes = shape(size);
            match wasm2bpf::compile(&bytes, &options) {
                Ok(object) => {
                    let module = KernelModule::load(object, &bytes, 1, false)
                        .unwrap_or_else(|error| panic!("{name} of {size} bytes: {}", error.report(30)));
                    for (_, verified) in module.loaded().verified() {
                        let ratio = f64::from(verified.walked) / f64::from(verified.emitted);
                        assert!(ratio < 3.0, "{name} of {size} bytes: {ratio:.2} walked for each instruction");
                    }
                }
                Err(refusal) => assert!(matches!(refusal.reason, Reason::Limit(_)), "{name}: {refusal}"),
            }
        }
    }
}
