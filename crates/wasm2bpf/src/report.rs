//! What was done to each function.

use std::fmt;

use crate::Refusal;

/// One compiled function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionReport {
    /// Its index in the module; routines of the compiler's own have large ones.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its symbol in the object.
    pub symbol: String,
    /// eBPF instructions, in slots of 8 bytes.
    pub slots: u32,
    /// Registers that live in the frame.
    pub spilled: u32,
    /// Bytes of its frame in the instance. The kernel's stack is not used.
    pub frame: u32,
    /// Loops.
    pub loops: u32,
    /// Where the first slot of its frame is, from the instance's base; parameters after the fourth go here and below.
    pub frame_slot: i32,
    /// Functions that became part of it, by name, and how many of their calls.
    pub inlined: Vec<(String, u32)>,
    /// Its accesses to linear memory.
    pub bounds: Bounds,
    /// Places where the verifier is made to forget what it knows of a value.
    pub laundered: u32,
}

/// Accesses to linear memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// How many there are.
    pub accesses: u32,
    /// How many of them were proven to be inside memory and are not checked.
    pub proven: u32,
}

/// What was compiled and what was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The functions of the object.
    pub functions: Vec<FunctionReport>,
    /// The functions that are not in it, and why.
    pub refused: Vec<Refusal>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Mangled names go on for long.
        let width =
            self.functions.iter().map(|function| function.name.chars().count()).max().unwrap_or(0).clamp(16, 48);
        writeln!(
            f,
            "{:<width$} {:>7} {:>7} {:>7} {:>5} {:>7} {:>7} {:>9}",
            "function", "insns", "spilled", "frame", "loops", "checked", "proven", "laundered"
        )?;
        for function in &self.functions {
            let FunctionReport { name, slots, spilled, frame, loops, bounds, laundered, .. } = function;
            let Bounds { accesses, proven } = bounds;
            let checked = accesses - proven;
            writeln!(
                f,
                "{name:<width$.width$} {slots:>7} {spilled:>7} {frame:>7} {loops:>5} {checked:>7} {proven:>7} {laundered:>9}"
            )?;
            for (name, times) in &function.inlined {
                let calls = if *times == 1 { "1 call".to_owned() } else { format!("{times} calls") };
                writeln!(f, "  inlined: {name}, {calls}")?;
            }
        }
        for refusal in &self.refused {
            writeln!(f, "refused: {refusal}")?;
        }
        Ok(())
    }
}
