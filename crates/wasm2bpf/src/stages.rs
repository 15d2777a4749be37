//! What each stage leaves behind, printed: for goldens, and for whoever asks why the code is as it is.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::{
    emit::assemble::Code,
    ir::{Function, Reg},
    listing,
    regalloc::{Allocation, Place},
};

/// A printer that prints nothing unless it was asked to.
#[derive(Default)]
pub(crate) struct Stages {
    text: Option<String>,
    /// The functions as they were last printed.
    last: String,
}

impl Stages {
    /// One that prints.
    pub(crate) fn printing() -> Self {
        Self { text: Some(String::new()), last: String::new() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.text.is_some()
    }

    /// All that was printed.
    pub(crate) fn into_text(self) -> String {
        self.text.unwrap_or_default()
    }

    /// The functions after a stage; where they are as they were, that is said.
    pub(crate) fn ir<'a>(&mut self, stage: &str, functions: impl Iterator<Item = &'a Function>) {
        let Some(text) = &mut self.text else { return };
        let printed = functions.map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let _ = if printed == self.last {
            writeln!(text, "== {stage}: as before\n")
        } else {
            writeln!(text, "== {stage}\n{printed}")
        };
        self.last = printed;
    }

    /// Where each register lives: a machine register, or a slot at that byte of the frame.
    pub(crate) fn places(&mut self, name: &str, allocation: &Allocation) {
        let Some(text) = &mut self.text else { return };
        let _ = write!(text, "== registers of {name}, {} bytes of frame\n ", allocation.frame);
        for (number, place) in allocation.places.iter().enumerate() {
            let reg = Reg(number as u32);
            let _ = match place {
                Place::None => Ok(()),
                Place::Machine(machine) => write!(text, " {reg}=r{machine}"),
                Place::Slot(at) => write!(text, " {reg}=[{at}]"),
            };
        }
        text.push_str("\n\n");
    }

    /// A function's code before the peephole pass.
    pub(crate) fn code(&mut self, name: &str, code: &Code, symbols: &BTreeMap<u32, String>) {
        let Some(text) = &mut self.text else { return };
        let names = symbols.iter().map(|(&index, symbol)| (index, symbol.as_str())).collect();
        let _ = writeln!(text, "== code of {name}, {} slots, before the peephole pass", code.slots());
        for (slot, insn) in &code.insns {
            let _ = writeln!(text, "{slot:>6}  {}", listing::instruction(insn, *slot, &names));
        }
        text.push('\n');
    }
}
