//! A WebAssembly to eBPF compiler.
//!
//! ```text
//!  bytes ─▶ module ─▶ lower ─▶ ir ─▶ inline ─▶ merge ─▶ fuel ─▶ analysis ─▶ regalloc ─▶ emit ─▶ peephole ─▶ elf ─▶ object
//!         validated            │             recursion       bounds, liveness,        │                        with BTF
//!                              │                     what the verifier knows          └─▶ listing, beside
//!                              └─▶ printed                                                mnemonic and source
//! ```
//!
//! [`compile()`] takes a module's bytes and gives an object that libbpf loads, or a [`Refusal`] that says what stands in
//! the way and what would help. It is pure: it needs no kernel. [`layout`] says where an instance's memory, globals
//! and tables lie in the arena, for whoever instantiates and runs it.
//!
//! # Fuel
//! What a run may spend before it is ended, about one for eight instructions of the [`ir`]. Each round of a loop spends,
//! when it begins, for the longest way round, and at least one. A call spends for the longest way through the function,
//! unless that is so short (64 instructions) that the caller counts it as part of its own: a tree of calls ends too.
#![forbid(unsafe_code)]

mod analysis;
mod compile;
mod elf;
mod emit;
pub mod entry;
mod fuel;
mod header;
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
mod stages;
mod trap;

pub use layout::Layout;
pub use options::{Binding, Isa, Options, Target};
pub use refusal::{Limit, Reason, Refusal};
pub use report::{FunctionReport, Report};
pub use trap::{TrapKind, TrapSite};

/// A compiled module.
#[derive(Clone, Debug)]
pub struct Object {
    /// The ELF object: the functions in `.text`, `syscall` programs that call them (see [`entry`]), the map `arena`,
    /// BTF.
    pub elf: Vec<u8>,
    /// Where an instance's parts lie.
    pub layout: Layout,
    /// What the numbers that traps leave behind stand for; number `n` is element `n - 1`.
    pub sites: Vec<TrapSite>,
    /// What was done to each function.
    pub report: Report,
    /// The programs that call exported functions.
    pub entries: Vec<entry::Entry>,
    /// The module, as instantiation needs it.
    pub module: module::Module,
    /// The functions, for printing.
    compiled: Vec<compile::Compiled>,
}

impl Object {
    /// The IR of each function as it was before emission, printed.
    pub fn ir(&self) -> Vec<String> {
        self.compiled.iter().filter_map(|function| function.ir.as_ref()).map(ToString::to_string).collect()
    }

    /// A C header for eBPF programs that call the exported functions and are linked with the object: their prototypes,
    /// and how an instance's fuel and trap are reached.
    pub fn header(&self) -> String {
        header::print(self)
    }

    /// Each eBPF instruction with the WebAssembly one it was made for and, where the module has DWARF, the source line.
    /// `bytes` is the module that was compiled, or all of them one after another.
    pub fn listing(&self, bytes: &[u8]) -> String {
        let lines = source::Lines::new(bytes, self.module.parts.iter().map(|part| part.bytes.clone()));
        listing::print(&self.compiled, &self.sites, bytes, &lines)
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

/// What each stage of a compilation leaves behind, printed: the functions as they were lowered, inlined, merged, charged with
/// fuel and analysed, where their registers live, and their code before the last pass. [`Object::listing`] has it after that.
///
/// # Errors
/// As [`compile()`].
pub fn stages(bytes: &[u8], options: &Options) -> Result<String, Refusal> {
    compile::stages(bytes, options)
}

/// Compiles several modules into one object, in the order in which they are to be instantiated. Each comes with the
/// names that it imports from and which of the modules before it they stand for; what it imports from others stays an
/// import. Functions call each other directly; memories, tables and globals are shared.
///
/// [`Object::module`] is all of them; its `parts` say what each module's indices are there. Ranges in it are in the
/// modules' bytes one after another; offsets of trap sites and refusals are in the function's own module.
///
/// # Errors
/// As [`compile()`], and `Import` when an import does not fit what it names.
pub fn link(modules: &[(&[u8], &module::Providers)], options: &Options) -> Result<Object, Refusal> {
    compile::link(modules, options)
}
