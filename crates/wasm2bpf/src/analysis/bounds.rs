//! Which accesses need no check: those whose address cannot be so large, and those that an earlier check on every path
//! covers.
//!
//! A register's largest value comes from what made it (a mask, a narrow load, a shift, a constant) and from the branches
//! passed on the way. A check that was passed says how many bytes from a register on are inside memory; memory never
//! shrinks. Both are followed along the blocks that have one predecessor.

use super::NumberMap;
use crate::ir::{Addr, Arg, BinOp, Check, Cmp, CmpOp, Function, Op, Reg, Term, Ty, UnOp, Width};

/// Facts that pass from block to block: a bound on the work, for a chain of blocks as long as the function.
const MAX_FACTS: usize = 64;

/// What is known at a point, besides what holds everywhere.
#[derive(Clone, Default)]
struct Facts {
    /// How many bytes from the register on are inside that memory.
    covered: NumberMap<(u32, Reg), u64>,
    /// Memories that accesses named: one, but for functions of linked modules.
    memories: Vec<u32>,
    /// The register's largest value.
    most: NumberMap<Reg, u64>,
}

struct Prover<'a, M> {
    tys: &'a [Ty],
    /// Largest values of registers with one definition; what their type can hold for all others.
    everywhere: Vec<u64>,
    once: Vec<bool>,
    /// The bytes that each memory has at least.
    memory_min: M,
}

fn largest(ty: Ty) -> u64 {
    if ty == Ty::I32 { u64::from(u32::MAX) } else { u64::MAX }
}

/// Marks the accesses that need no check.
pub(crate) fn prove(f: &mut Function, memory_min: impl Fn(u32) -> u64) {
    let (once, predecessors) = (written_once(f), predecessors(f));
    let everywhere = f.regs.iter().map(|&ty| largest(ty)).collect();
    let mut prover = Prover { tys: &f.regs, everywhere, once, memory_min };
    let mut waiting: NumberMap<u32, Facts> = NumberMap::default();
    for (index, block) in f.blocks.iter_mut().enumerate() {
        let mut facts = waiting.remove(&(index as u32)).unwrap_or_default();
        for inst in &mut block.insts {
            prover.inst(&mut inst.op, &mut facts);
        }
        if facts.covered.len() + facts.most.len() > MAX_FACTS {
            continue;
        }
        let mut pass = |to: crate::ir::BlockId, facts: Facts| {
            if to.0 as usize > index && predecessors[to.0 as usize] == 1 {
                waiting.insert(to.0, facts);
            }
        };
        match &block.term {
            Term::Jump(to) => pass(*to, facts),
            Term::Branch { cmp, then, otherwise } => {
                let mut holds = facts.clone();
                prover.learn(cmp, true, &mut holds);
                pass(*then, holds);
                prover.learn(cmp, false, &mut facts);
                pass(*otherwise, facts);
            }
            Term::Switch { .. } | Term::Return(_) | Term::Trap(_) => {}
        }
    }
}

/// Registers with one definition, which stands before every use; parameters are written by the caller too.
fn written_once(f: &Function) -> Vec<bool> {
    let mut writes = vec![0u8; f.regs.len()];
    writes[..f.params as usize].fill(1);
    for inst in f.blocks.iter().flat_map(|block| &block.insts) {
        inst.op.defs(|reg| writes[reg.0 as usize] = writes[reg.0 as usize].saturating_add(1));
    }
    writes.into_iter().enumerate().map(|(reg, count)| count == 1 && reg >= f.params as usize).collect()
}

fn predecessors(f: &Function) -> Vec<u32> {
    let mut count = vec![0; f.blocks.len()];
    for block in &f.blocks {
        block.term.successors(|to| count[to.0 as usize] += 1);
    }
    count
}

impl<M: Fn(u32) -> u64> Prover<'_, M> {
    fn most(&self, reg: Reg, facts: &Facts) -> u64 {
        let everywhere = self.everywhere[reg.0 as usize];
        facts.most.get(&reg).map_or(everywhere, |&most| most.min(everywhere))
    }

    fn most_arg(&self, arg: Arg, ty: Ty, facts: &Facts) -> u64 {
        match arg {
            Arg::Reg(reg) => self.most(reg, facts),
            Arg::Imm(value) if ty == Ty::I32 => u64::from(value as u32),
            Arg::Imm(value) => i64::from(value) as u64,
        }
    }

    fn inst(&mut self, op: &mut Op, facts: &mut Facts) {
        if let Op::Load { width, addr, .. } | Op::Store { width, addr, .. } = op {
            self.access(addr, *width, facts);
        }
        let made = self.made(op, facts);
        op.defs(|reg| {
            if !facts.covered.is_empty() {
                for &memory in &facts.memories {
                    facts.covered.remove(&(memory, reg));
                }
            }
            if !facts.most.is_empty() {
                facts.most.remove(&reg);
            }
            let ty = self.tys[reg.0 as usize];
            if let Some(most) = made.filter(|&most| most < largest(ty)) {
                if self.once[reg.0 as usize] {
                    self.everywhere[reg.0 as usize] = most;
                } else {
                    facts.most.insert(reg, most);
                }
            }
        });
    }

    fn access(&self, addr: &mut Addr, width: Width, facts: &mut Facts) {
        let extent = addr.offset.saturating_add(u64::from(width.bytes()));
        let memory_min = (self.memory_min)(addr.memory);
        let Some(base) = addr.base else {
            if extent <= memory_min {
                addr.check = Check::Proven;
            }
            return;
        };
        if extent.saturating_add(self.most(base, facts)) <= memory_min {
            addr.check = Check::Proven;
            return;
        }
        if !facts.memories.contains(&addr.memory) {
            facts.memories.push(addr.memory);
        }
        let known = facts.covered.entry((addr.memory, base)).or_insert(0);
        if *known >= extent {
            addr.check = Check::Proven;
        } else {
            *known = extent;
        }
    }

    /// The largest value that an instruction with one result leaves.
    fn made(&self, op: &Op, facts: &Facts) -> Option<u64> {
        Some(match *op {
            Op::Const { value, .. } => value as u64,
            Op::Copy { src, .. } => self.most(src, facts),
            Op::Bin { op, ty, a, b, .. } => {
                return self.bin(op, ty, self.most(a, facts), b, facts).filter(|&most| most <= largest(ty));
            }
            Op::Un { op: UnOp::Low32, a, .. } => self.most(a, facts).min(largest(Ty::I32)),
            Op::Un { op: UnOp::Clz | UnOp::Ctz | UnOp::Popcnt, .. } => 64,
            Op::Set { .. } => 1,
            Op::Select { dst, a, b, .. } => {
                let ty = self.tys[dst.0 as usize];
                self.most_arg(a, ty, facts).max(self.most_arg(b, ty, facts))
            }
            Op::Load { width, sign: None, .. } | Op::LoadArea { width, .. } if width != Width::W64 => {
                (1 << (8 * width.bytes())) - 1
            }
            _ => return None,
        })
    }

    fn bin(&self, op: BinOp, ty: Ty, a: u64, b: Arg, facts: &Facts) -> Option<u64> {
        let bits = if ty == Ty::I32 { 31 } else { 63 };
        let right = self.most_arg(b, ty, facts);
        match (op, b) {
            (BinOp::Add, _) => a.checked_add(right),
            (BinOp::Mul, _) => a.checked_mul(right),
            (BinOp::And, _) => Some(a.min(right)),
            // No more bits than the longer of the two has.
            (BinOp::Or | BinOp::Xor, _) => Some(u64::MAX.checked_shr((a | right).leading_zeros()).unwrap_or(0)),
            (BinOp::ShrU, Arg::Imm(by)) => Some(a >> (by & bits)),
            (BinOp::ShrU, Arg::Reg(_)) => Some(a),
            (BinOp::Shl, Arg::Imm(by)) => a.checked_mul(1 << (by & bits)),
            (BinOp::DivU, _) => Some(a),
            (BinOp::RemU, Arg::Imm(_)) => Some(a.min(right.saturating_sub(1))),
            (BinOp::RemU, Arg::Reg(_)) => Some(a),
            _ => None,
        }
    }

    /// What a branch tells about its left operand, compared with a number.
    fn learn(&self, cmp: &Cmp, holds: bool, facts: &mut Facts) {
        let (Arg::Imm(_), ty) = (cmp.b, cmp.ty) else { return };
        if self.tys[cmp.a.0 as usize] != ty {
            return;
        }
        let limit = self.most_arg(cmp.b, ty, facts);
        let most = match if holds { cmp.op } else { cmp.op.inverse() } {
            CmpOp::Eq | CmpOp::LeU => limit,
            // Below 0 nothing is: this side is never taken, and any number is right.
            CmpOp::LtU => limit.saturating_sub(1),
            _ => return,
        };
        let most = most.min(self.most(cmp.a, facts));
        facts.most.insert(cmp.a, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Options, compile};

    /// Whether each access of the first function is checked, one page of memory being there.
    fn checked(body: &str) -> Vec<bool> {
        let text = format!("(module (memory 1) (func (export \"f\") (param i32 i32) (local i32) {body}))");
        let object = compile(&wat::parse_str(text).unwrap(), &Options::default()).unwrap();
        let insts = object.compiled[0].ir.iter().flat_map(|f| &f.blocks).flat_map(|block| &block.insts);
        insts
            .filter_map(|inst| match &inst.op {
                Op::Load { addr, .. } | Op::Store { addr, .. } => Some(addr.check == Check::Needed),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn masks_shifts_and_narrow_loads_bound_an_address() {
        let store =
            |address: &str, offset: u32| checked(&format!("(i32.store offset={offset} {address} (i32.const 1))"));
        assert_eq!(store("(i32.and (local.get 0) (i32.const 1023))", 65536 - 4 - 1023), [false]);
        assert_eq!(store("(i32.and (local.get 0) (i32.const 1023))", 65536 - 3 - 1023), [true]);
        assert_eq!(store("(i32.shl (i32.shr_u (local.get 0) (i32.const 24)) (i32.const 7))", 0), [false]);
        assert_eq!(store("(i32.shl (i32.shr_u (local.get 0) (i32.const 24)) (i32.const 8))", 300), [true]);
        assert_eq!(store("(i32.add (i32.const -1) (i32.and (local.get 0) (i32.const 1)))", 0), [true]);
        assert_eq!(store("(i32.load16_u (local.get 0))", 0), [true, true]);
        assert_eq!(store("(i32.load8_u (local.get 0))", 0), [true, false]);
    }

    #[test]
    fn an_earlier_check_covers_later_ones_until_the_register_is_written() {
        let twice = "(drop (i32.load offset=8 (local.get 0))) (drop (i32.load offset=4 (local.get 0)))";
        let keep = "(i32.store (local.get 1) (i32.load offset=8 (local.get 0)))
            (if (local.get 1) (then (i32.store offset=8 (local.get 0) (i32.const 1))))";
        assert_eq!(checked(&format!("{twice} (i32.store (local.get 0) (i32.const 1))")), [true, false, false]);
        assert_eq!(checked(keep), [true, true, false]);
        let written = "(i32.store (local.get 0) (i32.const 1)) (local.set 0 (i32.add (local.get 0) (i32.const 4)))
            (i32.store (local.get 0) (i32.const 1))";
        assert_eq!(checked(written), [true, true]);
    }

    #[test]
    fn a_branch_bounds_what_it_compared_on_its_own_side_only() {
        let body = "(if (i32.lt_u (local.get 0) (i32.const 100)) (then (i32.store (local.get 0) (i32.const 1)))
            (else (i32.store (local.get 0) (i32.const 1)))) (i32.store (local.get 0) (i32.const 1))";
        assert_eq!(checked(body), [false, true, true]);
        let signed = "(if (i32.lt_s (local.get 0) (i32.const 100)) (then (i32.store (local.get 0) (i32.const 1))))";
        assert_eq!(checked(signed), [true]);
        // What a loop changes has no bound at its header.
        let looped = "(local.set 2 (i32.const 0)) (loop (i32.store (local.get 2) (i32.const 1))
            (local.set 2 (i32.add (local.get 2) (i32.const 4))) (br_if 0 (local.get 1)))";
        assert_eq!(checked(looped), [true]);
    }
}
