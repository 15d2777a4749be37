//! Which registers the verifier takes for copies of each other.
//!
//! It refines them together, and compares states by that too: two registers that are linked where a loop is entered and
//! are not where it comes around, or the other way about, make it walk the loop again, with less known each time. So no
//! two registers that live where a loop begins leave a block linked: one is laundered at its end.

use super::NumberMap;
use crate::ir::{Arg, BinOp, Function, Op, Reg, Ty, UnOp};

/// Registers that are a constant somewhere.
pub(crate) fn constants(f: &Function) -> Vec<bool> {
    let mut constant = vec![false; f.regs.len()];
    for inst in f.blocks.iter().flat_map(|block| &block.insts) {
        if let Op::Const { dst, .. } = inst.op {
            constant[dst.0 as usize] = true;
        }
    }
    constant
}

fn whole_turn(ty: Ty, by: i32) -> bool {
    by % if ty == Ty::I32 { 32 } else { 64 } == 0
}

/// What the verifier takes for copies, whatever the instruction is called: the register written, and of which others.
/// `constant` says whether it may know a register's one value.
pub(crate) fn copied(op: &Op, constant: impl Fn(Reg) -> bool) -> Option<(Reg, [Option<Reg>; 2])> {
    Some(match *op {
        Op::Copy { dst, src } => (dst, [Some(src), None]),
        // A sign extension is a copy where the verifier knows that it changes nothing.
        Op::Un { op: UnOp::Low32 | UnOp::Extend8 | UnOp::Extend16 | UnOp::Extend32, dst, a, .. } => {
            (dst, [Some(a), None])
        }
        Op::Select { dst, a, b, .. } => (dst, [a.reg(), b.reg()]),
        // Since 6.12 it remembers what a constant was added to.
        Op::Bin { op: BinOp::Add, ty: Ty::I64, dst, a, b: Arg::Imm(_) } => (dst, [Some(a), None]),
        Op::Bin { op: BinOp::Add, ty: Ty::I64, dst, a, b: Arg::Reg(b) } => {
            (dst, [Some(a).filter(|_| constant(b)), Some(b).filter(|_| constant(a))])
        }
        Op::Bin { op: BinOp::Rotl | BinOp::Rotr, ty, dst, a, b: Arg::Imm(by) } if whole_turn(ty, by) => {
            (dst, [Some(a), None])
        }
        _ => return None,
    })
}

/// Registers that are copies of each other at a point of a block. None are at its beginning.
#[derive(Default)]
pub(crate) struct Links {
    group: NumberMap<Reg, u32>,
    members: Vec<Vec<Reg>>,
}

impl Links {
    pub(crate) fn inst(&mut self, op: &Op, constant: impl Fn(Reg) -> bool) {
        match copied(op, constant) {
            Some((dst, sources)) => {
                let groups: Vec<u32> = sources.into_iter().flatten().map(|src| self.group_of(src)).collect();
                let group = match groups[..] {
                    [] => return self.forget(dst),
                    [one] => one,
                    [one, other, ..] => self.join(one, other),
                };
                if self.group.insert(dst, group) != Some(group) {
                    self.members[group as usize].push(dst);
                }
            }
            None => op.defs(|reg| self.forget(reg)),
        }
    }

    fn forget(&mut self, reg: Reg) {
        self.group.remove(&reg);
    }

    fn group_of(&mut self, reg: Reg) -> u32 {
        if let Some(&group) = self.group.get(&reg) {
            return group;
        }
        let group = self.members.len() as u32;
        self.members.push(vec![reg]);
        self.group.insert(reg, group);
        group
    }

    /// The smaller becomes part of the larger.
    fn join(&mut self, one: u32, other: u32) -> u32 {
        let longer = self.members[one as usize].len() >= self.members[other as usize].len();
        let (from, to) = if longer { (other, one) } else { (one, other) };
        if from != to {
            for reg in std::mem::take(&mut self.members[from as usize]) {
                if self.group.get(&reg) == Some(&from) {
                    self.group.insert(reg, to);
                    self.members[to as usize].push(reg);
                }
            }
        }
        to
    }

    /// Of those that live on, all but one of each group.
    pub(crate) fn to_break(&self, lives: impl Fn(Reg) -> bool) -> Vec<Reg> {
        let mut found = Vec::new();
        for (group, members) in self.members.iter().enumerate() {
            let linked = |reg: &&Reg| self.group.get(reg) == Some(&(group as u32)) && lives(**reg);
            let mut linked: Vec<Reg> = members.iter().filter(linked).copied().collect();
            // A register that left the group and came back is listed twice.
            linked.sort_unstable();
            linked.dedup();
            found.extend(linked.into_iter().skip(1));
        }
        found
    }
}
