//! Traps as data: what ends a run early, and where.

use std::fmt;

/// What ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TrapKind {
    /// `unreachable` was reached.
    Unreachable,
    /// An access outside linear memory, a data segment included.
    MemoryBounds,
    /// An access outside a table, an element segment included.
    TableBounds,
    /// Division or remainder by zero.
    DivideByZero,
    /// The quotient of the smallest integer by −1.
    IntegerOverflow,
    /// An indirect call to an entry outside the table.
    UndefinedElement,
    /// An indirect call to a null entry.
    UninitializedElement,
    /// An indirect call to a function of another type.
    IndirectType,
    /// The fuel that the run was given is used up.
    Fuel,
    /// The shadow stack of recursive functions is full.
    Stack,
    /// The kernel ended a loop (`may_goto`: 250 ms, or 8,388,608 rounds before 6.13) before our fuel did.
    KernelLimit,
}

impl TrapKind {
    /// Every kind.
    pub const ALL: [TrapKind; 11] = [
        Self::Unreachable,
        Self::MemoryBounds,
        Self::TableBounds,
        Self::DivideByZero,
        Self::IntegerOverflow,
        Self::UndefinedElement,
        Self::UninitializedElement,
        Self::IndirectType,
        Self::Fuel,
        Self::Stack,
        Self::KernelLimit,
    ];

    /// The words that the WebAssembly specification's test suite uses for it.
    pub fn message(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::MemoryBounds => "out of bounds memory access",
            Self::TableBounds => "out of bounds table access",
            Self::DivideByZero => "integer divide by zero",
            Self::IntegerOverflow => "integer overflow",
            Self::UndefinedElement => "undefined element",
            Self::UninitializedElement => "uninitialized element",
            Self::IndirectType => "indirect call type mismatch",
            Self::Fuel => "out of fuel",
            Self::Stack => "call stack exhausted",
            Self::KernelLimit => "the kernel ended a loop",
        }
    }
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

/// A place that can trap. The number that compiled code stores is its position in the object's list, plus one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrapSite {
    /// What happens there.
    pub kind: TrapKind,
    /// The function, by its index in the module.
    pub function: u32,
    /// The offset of the instruction in the module's bytes.
    pub offset: u32,
}
