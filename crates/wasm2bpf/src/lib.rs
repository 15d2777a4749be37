//! A WebAssembly to eBPF compiler.
//!
//! ```text
//!  bytes ─▶ module ─▶ lower ─▶ ir ─▶ inline ─▶ merge ─▶ analysis ─▶ regalloc ─▶ emit ─▶ peephole ─▶ elf ─▶ object
//!         validated            │             recursion  bounds, liveness,        │                        with BTF
//!                              │                what the verifier knows          └─▶ listing, beside
//!                              └─▶ printed                                           mnemonic and source
//! ```
//!
//! [`compile`] takes a module's bytes and gives an object that libbpf loads, or a [`Refusal`] that says what stands in
//! the way and what would help. It is pure: it needs no kernel. [`layout`] says where an instance's memory, globals
//! and tables lie in the arena, for whoever instantiates and runs it.
#![forbid(unsafe_code)]

mod analysis;
mod compile;
mod elf;
mod emit;
pub mod entry;
mod inline;
pub mod ir;
pub mod layout;
mod listing;
mod lower;
mod merge;
mod mnemonic;
pub mod module;
mod options;
mod refusal;
mod regalloc;
mod report;
mod source;
mod trap;

pub use layout::Layout;
pub use options::{Binding, Isa, Options, Target};
pub use refusal::{Limit, Reason, Refusal};
pub use report::{FunctionReport, Report};
pub use trap::{TrapKind, TrapSite};

/// A compiled module.
#[derive(Clone, Debug)]
pub struct Object {
    /// The ELF object: the functions in `.text`, a `syscall` program called `wasm_entry` (see [`entry`]), the map
    /// `arena`, BTF.
    pub elf: Vec<u8>,
    /// Where an instance's parts lie.
    pub layout: Layout,
    /// What the numbers that traps leave behind stand for; number `n` is element `n - 1`.
    pub sites: Vec<TrapSite>,
    /// What was done to each function.
    pub report: Report,
    /// The module, as instantiation needs it.
    pub module: module::Module,
    /// The functions, for printing.
    compiled: Vec<compile::Compiled>,
}

impl Object {
    /// The IR of each function as it was before emission, printed.
    pub fn ir(&self) -> Vec<String> {
        self.compiled.iter().map(|function| function.ir.to_string()).collect()
    }

    /// Each eBPF instruction with the WebAssembly one it was made for and, where the module has DWARF, the source line.
    /// `bytes` is the module that was compiled.
    pub fn listing(&self, bytes: &[u8]) -> String {
        listing::print(&self.compiled, &self.sites, bytes)
    }
}

/// Compiles a module.
///
/// # Errors
/// A [`Refusal`]: the module is invalid, or uses what the kernel cannot have. With [`Options::partial`] functions are
/// refused one by one, in the report.
pub fn compile(bytes: &[u8], options: &Options) -> Result<Object, Refusal> {
    compile::compile(bytes, options)
}
