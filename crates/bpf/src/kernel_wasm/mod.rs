//! Runs modules that `wasm2bpf` compiled, in the kernel: load → instantiate in the arena → PROG_TEST_RUN.

mod instance;
#[allow(unsafe_code)]
mod loaded;

pub use instance::{DEFAULT_FUEL, ImportedGlobals, InstanceId, Instantiated, KernelModule, Outcome, Run};
pub use loaded::{LoadOptions, Loaded, Verified};
