//! Builds what runs in the kernel and in the sandbox: eBPF objects, sample guests, the bench's native baselines.
//!
//! Nobody who only runs Skep needs this crate: the samples' modules are committed. Their authors do:
//!
//! - [`Tool`]: finds compilers, says which package to install where one is missing
//! - [`bpf`]: `*.bpf.c` → ELF object, and the C skeleton that `bpftool` makes of it
//! - [`guest`]: C, Rust and Go sources → WASI module
//! - [`plugin`]: C and Rust sources → plugin of world `hooks`
//! - [`native`]: the bench's baselines in C, linked with libbpf
//! - [`catalogue`]: what there is to build (`examples/*`, `tests/suite/guests/*`, `benches/guests/*`)
//! - [`surface`]: a module's imports and exports, to compare a rebuilt module with the committed one
#![forbid(unsafe_code)]

pub mod bpf;
pub mod catalogue;
pub mod guest;
pub mod native;
pub mod plugin;
pub mod surface;
mod tool;

pub use tool::Tool;

use std::path::{Path, PathBuf};

/// The top of the source tree that this crate was built from.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where intermediate files go: `dev` in cargo's target directory.
pub fn build_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("dev")
}

/// The compiler's option that keeps the place of this checkout out of line information and of `__FILE__`, so that what is
/// committed says the same wherever it was built.
fn without_checkout() -> String {
    format!("-ffile-prefix-map={}/=", workspace().display())
}
