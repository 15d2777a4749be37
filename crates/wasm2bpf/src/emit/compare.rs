//! Comparisons: branches, traps, selections, switches.

use super::{A, B, BASE, Emitter, Label, Target, code};
use crate::{
    analysis::known::{LEFT, RIGHT},
    ir::{Arg, BlockId, Cmp, CmpOp, Reg, TrapKind, Ty},
    layout::ZERO,
    regalloc::Place,
};

fn jump_op(op: CmpOp) -> u8 {
    match op {
        CmpOp::Eq => code::JEQ,
        CmpOp::Ne => code::JNE,
        CmpOp::LtS => code::JSLT,
        CmpOp::LtU => code::JLT,
        CmpOp::GtS => code::JSGT,
        CmpOp::GtU => code::JGT,
        CmpOp::LeS => code::JSLE,
        CmpOp::LeU => code::JLE,
        CmpOp::GeS => code::JSGE,
        CmpOp::GeU => code::JGE,
    }
}

impl Emitter<'_> {
    /// An operand of a comparison, laundered if it must be: what comes from a slot is unknown already.
    fn operand(&mut self, reg: Reg, launder: bool, scratch: u8) -> u8 {
        match self.place(reg) {
            Place::Machine(machine) if launder => {
                self.asm.load(code::DW, scratch, BASE, ZERO as i16);
                self.asm.alu(code::ALU64, code::ADD, scratch, machine);
                scratch
            }
            _ => self.read(reg, scratch),
        }
    }

    /// Jumps to a label if the comparison holds, or if it fails.
    pub(super) fn branch(&mut self, cmp: &Cmp, flags: u8, to: Label, if_fails: bool) {
        let op = jump_op(if if_fails { cmp.op.inverse() } else { cmp.op });
        let class = if cmp.ty == Ty::I32 { code::JMP32 } else { code::JMP };
        let a = self.operand(cmp.a, flags & LEFT != 0, A);
        let to = Target::Label(to);
        match cmp.b {
            Arg::Imm(value) => self.asm.push_to(class | op, a, 0, 0, value, to),
            Arg::Reg(b) => {
                let b = self.operand(b, flags & RIGHT != 0, B);
                self.asm.push_to(class | op | code::X, a, b, 0, 0, to);
            }
        }
    }

    pub(super) fn trap_if(&mut self, cmp: &Cmp, kind: TrapKind, flags: u8) {
        if self.in_line {
            let next = self.asm.label();
            self.branch(cmp, flags, next, true);
            self.trap_code(kind);
            self.asm.place(next);
        } else {
            let stub = self.stub(kind);
            self.branch(cmp, flags, stub, false);
        }
    }

    fn mentions(cmp: &Cmp, reg: Reg) -> bool {
        cmp.a == reg || cmp.b == Arg::Reg(reg)
    }

    pub(super) fn set(&mut self, dst: Reg, cmp: &Cmp, flags: u8) {
        self.choose(dst, cmp, Arg::Imm(1), Arg::Imm(0), flags);
    }

    /// `dst = arg`, in a machine register.
    fn put_arg(&mut self, dst: Reg, machine: u8, arg: Arg) {
        match arg {
            Arg::Imm(value) => self.asm.constant(machine, i64::from(value)),
            Arg::Reg(reg) => {
                let from = self.read(reg, machine);
                self.move_as(dst, machine, from);
            }
        }
    }

    pub(super) fn select(&mut self, dst: Reg, cmp: &Cmp, a: Arg, b: Arg, flags: u8) {
        self.choose(dst, cmp, a, b, flags);
    }

    fn choose(&mut self, dst: Reg, cmp: &Cmp, a: Arg, b: Arg, flags: u8) {
        let Some(machine) = self.machine(dst) else {
            return self.choose_by_jumps(dst, A, cmp, a, b, flags);
        };
        let done = self.asm.label();
        if a == Arg::Reg(dst) {
            self.branch(cmp, flags, done, false);
            self.put_arg(dst, machine, b);
        } else if b == Arg::Reg(dst) {
            self.branch(cmp, flags, done, true);
            self.put_arg(dst, machine, a);
        } else if Self::mentions(cmp, dst) {
            return self.choose_by_jumps(dst, machine, cmp, a, b, flags);
        } else {
            self.put_arg(dst, machine, a);
            self.branch(cmp, flags, done, false);
            self.put_arg(dst, machine, b);
        }
        self.asm.place(done);
    }

    fn choose_by_jumps(&mut self, dst: Reg, machine: u8, cmp: &Cmp, a: Arg, b: Arg, flags: u8) {
        let (holds, done) = (self.asm.label(), self.asm.label());
        self.branch(cmp, flags, holds, false);
        self.put_arg(dst, machine, b);
        self.asm.jump(done);
        self.asm.place(holds);
        self.put_arg(dst, machine, a);
        self.asm.place(done);
        self.finish(dst, machine);
    }

    /// A binary search over runs of equal targets.
    pub(super) fn switch(&mut self, index: Reg, targets: &[BlockId], default: BlockId, flags: u8) {
        let from = self.operand(index, flags & LEFT != 0, A);
        self.asm.mov32(A, from);
        let mut runs: Vec<(u32, Label)> = Vec::new();
        for (position, &target) in targets.iter().chain([&default]).enumerate() {
            let target = self.edge(target);
            if runs.last().is_none_or(|&(_, last)| last != target) {
                runs.push((position as u32, target));
            }
        }
        self.search(&runs);
    }

    pub(super) fn search(&mut self, runs: &[(u32, Label)]) {
        match runs {
            [] => {}
            [(_, target)] => self.asm.jump(*target),
            _ => {
                let (low, high) = runs.split_at(runs.len() / 2);
                let upper = self.asm.label();
                let at_least = code::JMP32 | code::JGE;
                self.asm.push_to(at_least, A, 0, 0, high[0].0 as i32, Target::Label(upper));
                self.search(low);
                self.asm.place(upper);
                self.search(high);
            }
        }
    }
}
