//! Why a guest stopped in the middle.

use skep_error::{Error, Kind};
use wasmtime::{Trap, WasmBacktrace};

use crate::stop::{Reason, Stop};

/// The kinds of trap, as data: worlds count by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TrapKind {
    /// A load or store outside linear memory, or a store to memory that may only be read.
    Memory,
    /// An `unreachable`: an abort or a panic.
    Unreachable,
    /// Calls nested too deeply.
    StackOverflow,
    /// The fuel of the call ran out.
    OutOfFuel,
    /// The time of the call was over.
    Interrupted,
    /// A division by zero, an overflow or a bad conversion.
    Arithmetic,
    /// A call through a table that has no such function.
    IndirectCall,
    /// Anything else.
    Other,
}

impl TrapKind {
    /// The kind of `error`, when a trap is behind it.
    pub fn of(error: &wasmtime::Error) -> Option<Self> {
        Some(match error.downcast_ref::<Trap>()? {
            Trap::MemoryOutOfBounds | Trap::HeapMisaligned => Self::Memory,
            Trap::UnreachableCodeReached => Self::Unreachable,
            Trap::StackOverflow => Self::StackOverflow,
            Trap::OutOfFuel => Self::OutOfFuel,
            Trap::Interrupt => Self::Interrupted,
            Trap::IntegerDivisionByZero | Trap::IntegerOverflow | Trap::BadConversionToInteger => Self::Arithmetic,
            Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => Self::IndirectCall,
            _ => Self::Other,
        })
    }

    /// What happened, in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Memory => "it read or wrote outside its memory, or wrote where a map may only be read",
            Self::Unreachable => "it gave up (abort, panic or unreachable code)",
            Self::StackOverflow => "its calls were nested too deeply",
            Self::OutOfFuel => "its fuel ran out",
            Self::Interrupted => "its time was over",
            Self::Arithmetic => "it divided by zero or overflowed",
            Self::IndirectCall => "it called through a pointer to no such function",
            Self::Other => "it trapped",
        }
    }
}

/// The error for a guest that did not return: a trap with its place, or the end that was asked for.
pub(crate) fn explain(error: &wasmtime::Error, stop: &Stop) -> Error {
    let kind = TrapKind::of(error);
    match (kind, stop.requested()) {
        (Some(TrapKind::Interrupted), Some(Reason::TimedOut)) => return ended(Reason::TimedOut),
        (Some(TrapKind::Interrupted), Some(reason)) => return ended(reason),
        _ => {}
    }
    let message = match kind {
        Some(kind) => format!("the guest trapped: {}", kind.text()),
        None => format!("the guest stopped: {}", error.root_cause()),
    };
    let error_of_ours = Error::new(Kind::Trap, message);
    match error.downcast_ref::<WasmBacktrace>() {
        Some(trace) if !trace.frames().is_empty() => error_of_ours.detail(frames(trace)),
        _ => error_of_ours,
    }
}

/// The error for a run that was cut off because it had been asked to end.
pub(crate) fn ended(reason: Reason) -> Error {
    match reason {
        Reason::Interrupted => Error::new(Kind::Interrupted, "interrupted"),
        Reason::TimedOut => Error::new(Kind::TimedOut, "the time given to the run is over"),
        Reason::OutputClosed => Error::new(Kind::Io, "whoever read the output has gone"),
    }
}

fn frames(trace: &WasmBacktrace) -> String {
    let line = |(n, frame): (usize, &wasmtime::FrameInfo)| {
        let name = frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), str::to_owned);
        match frame.module_offset() {
            Some(offset) => format!("{n}: {name} at offset {offset:#x}"),
            None => format!("{n}: {name}"),
        }
    };
    trace.frames().iter().enumerate().map(line).collect::<Vec<_>>().join("\n")
}
