//! The compiler on any bytes: no panic, no more than so much time for each KiB, and, as root, nothing compiled that the
//! kernel's verifier refuses.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skep_bpf::kernel_wasm::KernelModule;
use skep_error::Kind;
use skep_fuzz::{computed_ms, module};
use wasm2bpf::{Isa, Options, Target, compile};

/// Milliseconds that a module may take, whatever its size, and for each KiB. What is built for fuzzing is ten times as
/// slow as what is not.
const ANY_MS: usize = 200;
const KIB_MS: usize = 20;

fuzz_target!(|data: &[u8]| {
    let Some(module) = module(data) else { return };
    let arena = Options { partial: true, max_memory_pages: 16, max_table_entries: 256, ..Options::default() };
    let array = Options { target: Target::Array, isa: Isa::V3, max_memory_pages: 1, ..arena.clone() };
    for options in [arena, array] {
        let start = computed_ms();
        let object = compile(&module, &options);
        let took = computed_ms() - start;
        let most = ANY_MS + KIB_MS * (module.len() >> 10);
        assert!(took <= most as i64, "{took} ms for {} bytes", module.len());
        let Ok(object) = object else { continue };
        if rustix::process::geteuid().is_root() {
            let loaded = KernelModule::load(object, &module, 1, false);
            // An instance that has no room is no defect of the compiler.
            if let Err(error) = loaded
                && error.kind() != Kind::Unsupported
            {
                panic!("{}", error.report(60));
            }
        }
    }
});
