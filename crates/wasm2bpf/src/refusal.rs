//! Why a module or a function is not compiled, as data.

use std::fmt;

use crate::module::Mismatch;

/// A module, or a function of it, that was turned down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The function, by its index in the module's function index space; none when it concerns the whole module.
    pub function: Option<u32>,
    /// The function's name, from its export or the module's name section.
    pub name: Option<String>,
    /// The offset in the module's bytes of what was refused; 0 when it has no place.
    pub offset: usize,
}

/// What stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The bytes are no valid module: the validator's words.
    Invalid(String),
    /// An instruction that computes with floats: its name in the text format.
    Float(&'static str),
    /// An instruction or a section of a proposal that is not compiled: its name.
    Feature(String),
    /// An imported function that is called and bound to nothing: module and name.
    UnboundImport(String, String),
    /// An import of a linked module that does not fit what it names.
    Import {
        /// The module named.
        module: String,
        /// What is named in it.
        name: String,
        /// How it does not fit.
        why: Mismatch,
    },
    /// It calls a function that was refused: that function's index.
    Callee(u32),
    /// More than a limit allows.
    Limit(Limit),
}

/// The limits of the kernel, and ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Functions in one program: 256 in the kernel (`BPF_MAX_SUBPROGS`), one of which is the entry.
    Functions {
        /// How many the module needs.
        needed: usize,
    },
    /// Variables of one function times its blocks, what recursive functions save over calls, functions that indirect
    /// calls choose from: compilation is held to linear cost by this.
    Complexity,
    /// Branches on one way through a function: the kernel's verifier keeps 8192 that it has yet to walk.
    Branches {
        /// How many there are.
        needed: u32,
    },
    /// Instructions that one export reaches: the verifier walks a million, of which this leaves it two and a half for
    /// each.
    Instructions {
        /// How many there are.
        needed: u32,
    },
    /// Memory that the module declares, against what was granted, in pages of 64 KiB.
    Memory {
        /// Pages that the module declares as its minimum.
        needed: u64,
        /// Pages that were granted.
        granted: u64,
    },
    /// Room before linear memory for frames, globals, tables and passive segments: 1 GiB.
    Instance,
    /// Room in one array for memory, tables, frames and segments of all instances, each rounded up to a power of two: 4 MiB.
    Array {
        /// Bytes needed.
        needed: u64,
    },
    /// Entries that a table declares: at most 65,536.
    Table,
    /// Results of one function, parameters and results of one block: at most 64.
    Signature,
}

/// A row for each reason; that none is missing, the match sees to.
macro_rules! names {
    ($($reason:pat => $name:literal,)*) => {
        impl Reason {
            /// The names of all reasons; each limit, and each way not to fit, is one.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// Its name, one of [`Self::NAMES`].
            pub fn name(&self) -> &'static str {
                match self {
                    $($reason => $name,)*
                }
            }
        }
    };
}

names! {
    Self::Invalid(_) => "invalid",
    Self::Float(_) => "float",
    Self::Feature(_) => "feature",
    Self::UnboundImport(..) => "unbound import",
    Self::Import { why: Mismatch::Unknown, .. } => "unknown import",
    Self::Import { why: Mismatch::Incompatible, .. } => "incompatible import",
    Self::Callee(_) => "callee",
    Self::Limit(Limit::Functions { .. }) => "functions",
    Self::Limit(Limit::Complexity) => "complexity",
    Self::Limit(Limit::Branches { .. }) => "branches",
    Self::Limit(Limit::Instructions { .. }) => "instructions",
    Self::Limit(Limit::Memory { .. }) => "memory",
    Self::Limit(Limit::Instance) => "instance",
    Self::Limit(Limit::Array { .. }) => "array",
    Self::Limit(Limit::Table) => "table",
    Self::Limit(Limit::Signature) => "signature",
}

impl Reason {
    /// What would help, as one sentence.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "check the module with a validator; it is malformed or uses a proposal that is off",
            Self::Float(_) => "floats are not available in the kernel; use integers or run it in user space",
            Self::Feature(_) => "build the module without this proposal",
            Self::UnboundImport(..) => "bind the import to a helper or an eBPF function, or do not call it",
            Self::Import { .. } => "link it with a module that exports this, of the same type",
            Self::Callee(_) => "see the refusal of the function it calls",
            Self::Limit(Limit::Functions { .. }) => "export less, or let the toolchain inline more",
            Self::Limit(Limit::Array { .. }) => "grant less memory, ask for fewer instances, or use an arena",
            Self::Limit(Limit::Memory { .. }) => "grant more memory, or link with a smaller stack and heap",
            Self::Limit(_) => "split the function or the module",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match (&self.name, self.function) {
            (Some(name), _) => format!("`{name}`"),
            (None, Some(index)) => format!("function {index}"),
            (None, None) => "the module".to_owned(),
        };
        match &self.reason {
            Reason::Invalid(why) => write!(f, "not a valid module: {why}")?,
            Reason::Float(op) => write!(f, "uses {op} in {place}")?,
            Reason::Feature(what) => write!(f, "uses {what} in {place}")?,
            Reason::UnboundImport(module, name) => {
                write!(f, "{place} calls the import {module}.{name}, bound to nothing")?
            }
            Reason::Import { module, name, why } => write!(f, "{why}: {module}.{name}")?,
            Reason::Callee(index) => write!(f, "{place} calls function {index}, which was refused")?,
            Reason::Limit(limit) => match limit {
                Limit::Functions { needed } => write!(f, "needs {needed} functions, a program has room for 255")?,
                Limit::Complexity => write!(f, "{place} has too many variables, blocks or indirect calls")?,
                Limit::Branches { needed } => {
                    write!(f, "{place} has {needed} branches one after another, the verifier takes 8,000")?;
                }
                Limit::Instructions { needed } => {
                    write!(f, "{place} reaches {needed} instructions, the verifier takes 400,000")?;
                }
                Limit::Memory { needed, granted } => {
                    write!(f, "declares {needed} pages of memory, {granted} were granted")?;
                }
                Limit::Instance => write!(f, "its tables, globals and segments need more than 1 GiB")?,
                Limit::Array { needed } => write!(f, "its instances need {needed} bytes, an array has room for 4 MiB")?,
                Limit::Table => write!(f, "declares a table of more than 65,536 entries")?,
                Limit::Signature => write!(f, "{place} has more than 64 results, or a block of that many")?,
            },
        }
        if self.offset != 0 {
            write!(f, " at offset {:#x}", self.offset)?;
        }
        write!(f, ": {}", self.reason.help())
    }
}

impl std::error::Error for Refusal {}
