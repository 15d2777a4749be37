//! A WebAssembly to eBPF compiler.
//!
//! ```text
//!  bytes ─▶ module ─▶ lower ─▶ ir ─▶ merge ─▶ analysis ─▶ regalloc ─▶ emit ─▶ peephole ─▶ elf ─▶ object
//!         validated           │     recursion   bounds, liveness,        │                         with BTF
//!                             │     what the verifier knows  └─▶ listing
//!                             └─▶ printed
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
pub mod ir;
pub mod layout;
mod listing;
mod lower;
mod merge;
pub mod module;
mod options;
mod refusal;
mod regalloc;
mod report;
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
    /// The IR of each function, printed.
    pub ir: Vec<String>,
    /// Each eBPF instruction with the WebAssembly one it was made for.
    pub listing: String,
    /// The module, as instantiation needs it.
    pub module: module::Module,
}

/// Compiles a module.
///
/// # Errors
/// A [`Refusal`]: the module is invalid, or uses what the kernel cannot have. With [`Options::partial`] functions are
/// refused one by one, in the report.
pub fn compile(bytes: &[u8], options: &Options) -> Result<Object, Refusal> {
    compile::compile(bytes, options)
}
