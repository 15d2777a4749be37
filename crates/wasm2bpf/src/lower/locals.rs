//! A function's declared locals: a few bytes declare 50,000 of them, so only those that are mentioned get a register.

use crate::{
    analysis::NumberMap,
    ir::{Reg, Ty},
};

#[derive(Default)]
pub(super) struct Locals {
    params: u32,
    /// Runs of one type, by the index after their last.
    runs: Vec<(u32, Ty)>,
    registers: NumberMap<u32, Reg>,
    /// In the order in which they were first mentioned.
    made: Vec<Reg>,
}

impl Locals {
    /// Parameters are the first registers.
    pub(super) fn new(params: u32) -> Self {
        Self { params, ..Self::default() }
    }

    pub(super) fn declare(&mut self, count: u32, ty: Ty) {
        let before = self.runs.last().map_or(self.params, |run| run.0);
        self.runs.push((before.saturating_add(count), ty));
    }

    pub(super) fn any(&self, ty: Ty) -> bool {
        self.runs.iter().any(|run| run.1 == ty)
    }

    /// The register of a parameter, or of a local that was mentioned before.
    pub(super) fn known(&self, index: u32) -> Option<Reg> {
        if index < self.params { Some(Reg(index)) } else { self.registers.get(&index).copied() }
    }

    pub(super) fn ty(&self, index: u32) -> Ty {
        let run = self.runs.partition_point(|run| run.0 <= index);
        // Validation guarantees that there is one.
        self.runs.get(run).map_or(Ty::I32, |run| run.1)
    }

    pub(super) fn make(&mut self, index: u32, reg: Reg) {
        self.registers.insert(index, reg);
        self.made.push(reg);
    }

    /// The registers of declared locals, which are zero when the function begins.
    pub(super) fn made(&self) -> impl Iterator<Item = Reg> + '_ {
        self.made.iter().copied()
    }
}
