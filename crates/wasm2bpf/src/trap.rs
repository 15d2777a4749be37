//! Traps as data: what ends a run early, and where.

use std::fmt;

/// The enum, the list of all, and the words for each, from one table.
macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident: $message:literal,)*) => {
        /// What ended a run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum TrapKind {
            $($(#[$doc])* $kind,)*
        }

        impl TrapKind {
            /// Every kind.
            pub const ALL: &'static [TrapKind] = &[$(Self::$kind),*];

            /// The words that the WebAssembly specification's test suite uses for it.
            pub fn message(self) -> &'static str {
                match self {
                    $(Self::$kind => $message,)*
                }
            }
        }
    };
}

kinds! {
    /// `unreachable` was reached.
    Unreachable: "unreachable",
    /// An access outside linear memory, a data segment included.
    MemoryBounds: "out of bounds memory access",
    /// An access outside a table, an element segment included.
    TableBounds: "out of bounds table access",
    /// Division or remainder by zero.
    DivideByZero: "integer divide by zero",
    /// The quotient of the smallest integer by −1.
    IntegerOverflow: "integer overflow",
    /// An indirect call to an entry outside the table.
    UndefinedElement: "undefined element",
    /// An indirect call to a null entry.
    UninitializedElement: "uninitialized element",
    /// An indirect call to a function of another type.
    IndirectType: "indirect call type mismatch",
    /// The fuel that the run was given is used up.
    Fuel: "out of fuel",
    /// The shadow stack of recursive functions is full.
    Stack: "call stack exhausted",
    /// The kernel ended a loop (`may_goto`: 250 ms, or 8,388,608 rounds before 6.13) before our fuel did.
    KernelLimit: "the kernel ended a loop",
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
