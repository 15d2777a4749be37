//! Which instructions a module uses: one walk over the code, no instruction kept.

use std::fmt;

use wasmparser::{
    BinaryReader, FunctionBody, OperatorsReader, OperatorsReaderAllocations, ValType, VisitOperator, VisitSimdOperator,
    for_each_visit_operator, for_each_visit_simd_operator,
};

use crate::scan;

macro_rules! features {
    ($($variant:ident, $name:literal, $about:literal, [$($proposal:literal)*];)*) => {
        /// A part of WebAssembly that not every module uses.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Feature {
            $(#[doc = $about] $variant,)*
        }

        impl Feature {
            /// Every feature.
            pub const ALL: &'static [Feature] = &[$(Feature::$variant,)*];

            /// Its name in reports and policies.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it is, in one line.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }

            /// Whether Skep's engine runs a guest that uses it; a test of the engine holds the two together.
            pub const fn runs(self) -> bool {
                !matches!(
                    self,
                    Self::Threads
                        | Self::Memory64
                        | Self::MultiMemory
                        | Self::CustomPageSizes
                        | Self::Exceptions
                        | Self::Gc
                        | Self::StackSwitching
                        | Self::WideArithmetic
                        | Self::MemoryControl
                        | Self::CompactImports
                )
            }

            /// The feature of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|feature| feature.name() == name)
            }
        }

        /// The bit of the feature that a group of wasmparser's instructions belongs to.
        const fn bit_of_group(group: &str) -> u32 {
            $($(if same(group, $proposal) { return Feature::$variant.bit(); })*)*
            0
        }
    };
}

features! {
    Float, "float", "Floating point numbers", ["saturating_float_to_int"];
    SignExtension, "sign-extension", "Sign extension instructions", ["sign_extension"];
    BulkMemory, "bulk-memory", "memory.copy, memory.fill and their like", ["bulk_memory"];
    ReferenceTypes, "reference-types", "References as values", ["reference_types"];
    MultiValue, "multi-value", "Functions with several results", [];
    Simd, "simd", "128-bit vectors", ["simd"];
    RelaxedSimd, "relaxed-simd", "Vectors whose results vary between machines", ["relaxed_simd"];
    TailCall, "tail-call", "Tail calls", ["tail_call"];
    Threads, "threads", "Shared memory and atomic instructions", ["threads" "shared_everything_threads" "acquire_release_atomics"];
    Memory64, "memory64", "Memories with addresses of 64 bits", [];
    MultiMemory, "multi-memory", "More than one memory", [];
    CustomPageSizes, "custom-page-sizes", "Memories with small pages", [];
    Exceptions, "exceptions", "Exceptions", ["exceptions" "legacy_exceptions"];
    Gc, "gc", "Garbage-collected objects", ["gc" "custom_descriptors" "function_references"];
    StackSwitching, "stack-switching", "Continuations", ["stack_switching"];
    WideArithmetic, "wide-arithmetic", "128-bit integer arithmetic", ["wide_arithmetic"];
    MemoryControl, "memory-control", "memory.discard", ["memory_control"];
    CompactImports, "compact-imports", "Imports in groups", [];
    MemoryGrow, "memory-grow", "Memory that grows while the module runs", [];
    IndirectCall, "indirect-call", "Calls through a table", [];
}

impl Feature {
    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the readers of function bodies allocate once for all of them.
#[derive(Default)]
pub(crate) struct Room {
    stack: OperatorsReaderAllocations,
    open: Vec<bool>,
}

/// Features seen, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(u32);

impl Seen {
    pub(crate) fn of_bits(bits: u32) -> Self {
        Self(bits)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    pub(crate) fn add(&mut self, feature: Feature) {
        self.0 |= feature.bit();
    }

    pub(crate) fn value_type(&mut self, ty: ValType) {
        self.0 |= match ty {
            ValType::F32 | ValType::F64 => Feature::Float.bit(),
            ValType::V128 => Feature::Simd.bit(),
            _ => 0,
        };
    }

    /// Walks a function's body.
    pub(crate) fn body(&mut self, body: &FunctionBody<'_>, room: &mut Room) -> wasmparser::Result<()> {
        let mut locals = body.get_locals_reader()?;
        for _ in 0..locals.get_count() {
            self.value_type(locals.read()?.1);
        }
        let reader = locals.get_binary_reader();
        let code = reader.clone().read_bytes(reader.bytes_remaining())?;
        if let Some(seen) = scan::plain(code, &mut room.open) {
            self.0 |= seen.0;
            return Ok(());
        }
        self.operators(reader, &mut room.stack)
    }

    /// Walks instructions with wasmparser, which knows all of them and says what is wrong.
    pub(crate) fn operators(
        &mut self,
        code: BinaryReader<'_>,
        stack: &mut OperatorsReaderAllocations,
    ) -> wasmparser::Result<()> {
        let mut operators = OperatorsReader::new_with_allocs(code, std::mem::take(stack));
        while !operators.eof() {
            operators.visit_operator(self)?;
        }
        operators.finish()?;
        *stack = operators.into_allocations();
        Ok(())
    }

    pub(crate) fn list(&self) -> Vec<Feature> {
        Feature::ALL.iter().copied().filter(|feature| self.0 & feature.bit() != 0).collect()
    }
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

const fn contains(text: &str, part: &str) -> bool {
    let (text, part) = (text.as_bytes(), part.as_bytes());
    let mut start = 0;
    while start + part.len() <= text.len() {
        let mut i = 0;
        while i < part.len() && text[start + i] == part[i] {
            i += 1;
        }
        if i == part.len() {
            return true;
        }
        start += 1;
    }
    false
}

/// The features of one instruction, told by its group and by the name of its visitor (`visit_f32_load`).
const fn bits(group: &str, visitor: &str) -> u32 {
    let mut bits = bit_of_group(group);
    if contains(visitor, "f32") || contains(visitor, "f64") {
        bits |= Feature::Float.bit();
    }
    if same(visitor, "visit_memory_grow") {
        bits |= Feature::MemoryGrow.bit();
    }
    if contains(visitor, "call_indirect") {
        bits |= Feature::IndirectCall.bit();
    }
    bits
}

macro_rules! visitors {
    ($(@$group:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        $(
            #[inline(always)]
            fn $visit(&mut self $($(, _: $ty)*)?) {
                self.0 |= const { bits(stringify!($group), stringify!($visit)) };
            }
        )*
    };
}

impl<'a> VisitOperator<'a> for Seen {
    type Output = ();

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = ()>> {
        Some(self)
    }

    for_each_visit_operator!(visitors);
}

impl VisitSimdOperator<'_> for Seen {
    for_each_visit_simd_operator!(visitors);
}
