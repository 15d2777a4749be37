//! Sign masks. Since 6.18 the verifier forks its state at `x &= C` and `x |= C` when it knows that `x` is −1 or 0: eight
//! of them in a row, which is what an unrolled CRC is made of, are 256 walks. A mask of one bit becomes a product where
//! that is all it is for, and is laundered otherwise.

use crate::ir::{Arg, BinOp, Function, Inst, Op, Reg, Ty};

fn top(ty: Ty) -> i32 {
    if ty == Ty::I32 { 31 } else { 63 }
}

struct Facts {
    /// How often each register is written and read.
    defs: Vec<u32>,
    uses: Vec<u32>,
    /// Some definition leaves 0 or 1.
    bit: Vec<bool>,
    /// Some definition leaves 0 or −1.
    mask: Vec<bool>,
    zero: Vec<bool>,
}

impl Facts {
    fn new(f: &Function) -> Self {
        let none = || vec![false; f.regs.len()];
        let mut facts =
            Self { defs: vec![0; f.regs.len()], uses: vec![0; f.regs.len()], bit: none(), mask: none(), zero: none() };
        for block in &f.blocks {
            for inst in &block.insts {
                inst.op.defs(|reg| facts.defs[reg.0 as usize] += 1);
                inst.op.uses(|reg| facts.uses[reg.0 as usize] += 1);
                if let Op::Const { dst, value: 0 } = inst.op {
                    facts.zero[dst.0 as usize] = true;
                }
            }
            block.term.uses(|reg| facts.uses[reg.0 as usize] += 1);
        }
        // Masks are made of bits: bits first.
        for op in f.blocks.iter().flat_map(|block| &block.insts).map(|inst| &inst.op) {
            match *op {
                Op::Set { dst, .. } => facts.bit[dst.0 as usize] = true,
                Op::Bin { op: BinOp::And, dst, b: Arg::Imm(1), .. } => facts.bit[dst.0 as usize] = true,
                Op::Bin { op: BinOp::ShrU, dst, b: Arg::Imm(n), ty, .. } if n == top(ty) => {
                    facts.bit[dst.0 as usize] = true;
                }
                Op::Copy { dst, src } => facts.bit[dst.0 as usize] |= facts.bit[src.0 as usize],
                _ => {}
            }
        }
        for op in f.blocks.iter().flat_map(|block| &block.insts).map(|inst| &inst.op) {
            let dst = match *op {
                Op::Bin { op: BinOp::ShrS, dst, b: Arg::Imm(n), ty, .. } if n == top(ty) => dst,
                Op::Bin { op: BinOp::Sub, dst, b: Arg::Reg(b), .. } if facts.bit[b.0 as usize] => dst,
                Op::Bin { op: BinOp::Add, dst, a, b: Arg::Imm(-1), .. } if facts.bit[a.0 as usize] => dst,
                Op::Bin { op: BinOp::Sub, dst, a, b: Arg::Imm(1), .. } if facts.bit[a.0 as usize] => dst,
                Op::Copy { dst, src } if facts.mask[src.0 as usize] => dst,
                Op::Un { op: crate::ir::UnOp::Extend32, dst, a, .. } if facts.mask[a.0 as usize] => dst,
                _ => continue,
            };
            facts.mask[dst.0 as usize] = true;
        }
        facts
    }

    fn is_mask(&self, reg: Reg) -> bool {
        self.mask[reg.0 as usize]
    }

    fn once(&self, reg: Reg) -> bool {
        self.defs[reg.0 as usize] == 1 && self.uses[reg.0 as usize] == 1
    }
}

/// Takes away what the verifier would fork at.
pub(crate) fn prevent(f: &mut Function) {
    let facts = Facts::new(f);
    if !facts.mask.contains(&true) {
        return;
    }
    for block in &mut f.blocks {
        let mut insts: Vec<Inst> = Vec::with_capacity(block.insts.len());
        for mut inst in std::mem::take(&mut block.insts) {
            if let Op::Bin { op: BinOp::And | BinOp::Or, a, b, .. } = inst.op {
                let masks = [Some(a), b.reg()].into_iter().flatten().filter(|&reg| facts.is_mask(reg));
                for mask in masks.collect::<Vec<_>>() {
                    if !product(&facts, &mut insts, &mut inst.op, mask) {
                        insts.push(Inst { op: Op::Launder { reg: mask }, offset: inst.offset });
                    }
                }
            }
            insts.push(inst);
        }
        block.insts = insts;
    }
}

/// `(x >>s 31) & c` and `-bit & c` as `bit * c`.
fn product(facts: &Facts, before: &mut [Inst], op: &mut Op, mask: Reg) -> bool {
    let Op::Bin { op: and @ BinOp::And, a, b: Arg::Imm(_), .. } = op else { return false };
    if *a != mask || !facts.once(mask) {
        return false;
    }
    // A distant definition is not worth a search.
    let maker = before.iter_mut().rev().take(4).find(|inst| {
        let mut makes = false;
        inst.op.defs(|reg| makes |= reg == mask);
        makes
    });
    match maker.map(|inst| &mut inst.op) {
        Some(Op::Bin { op: shift @ BinOp::ShrS, .. }) => {
            *shift = BinOp::ShrU;
            *and = BinOp::Mul;
            true
        }
        Some(Op::Bin { op: BinOp::Sub, a: zero, b: Arg::Reg(bit), .. })
            if facts.zero[zero.0 as usize]
                && facts.defs[zero.0 as usize] == 1
                && facts.defs[bit.0 as usize] == 1
                && facts.bit[bit.0 as usize] =>
        {
            *a = *bit;
            *and = BinOp::Mul;
            true
        }
        _ => false,
    }
}
