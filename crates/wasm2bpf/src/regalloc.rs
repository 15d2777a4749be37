//! Register allocation: live ranges with holes, in order of weight, over seven machine registers.
//!
//! r9 holds the instance's base; r0 and r5 are scratch. r6 to r8 survive calls, r1 to r4 serve ranges that no call
//! crosses, which in a leaf loop is all of them. What gets no register lives in a slot of the function's frame, in the
//! arena: one load or store through r9.

use smallvec::SmallVec;

use crate::{
    analysis::liveness::{Liveness, implicit_uses},
    ir::{Block, Function, Op, Reg, Term},
};

/// Where a register lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It is never live.
    None,
    /// A machine register.
    Machine(u8),
    /// A slot of the frame, in bytes from the frame's start.
    Slot(u32),
}

/// The outcome for one function.
#[derive(Debug)]
pub(crate) struct Allocation {
    /// By register.
    pub(crate) places: Vec<Place>,
    /// Bytes of the frame; the slots of parameters after the fourth come first.
    pub(crate) frame: u32,
    /// Registers that live in slots.
    pub(crate) spilled: u32,
    /// For a function that runs in rounds: where the two cells for that are in the frame.
    pub(crate) rounds: Option<u32>,
    /// Whether each parameter's value is used.
    pub(crate) live_params: Vec<bool>,
}

/// Parameters that come in r2 to r5.
pub(crate) const REGISTER_PARAMS: u32 = 4;

const CALLER_SAVED: [u8; 4] = [1, 2, 3, 4];
const CALLEE_SAVED: [u8; 3] = [6, 7, 8];

/// Half-open runs of positions. An instruction at position `p` reads at `p` and writes at `p + 1`.
type Ranges = SmallVec<[(u32, u32); 1]>;

struct Builder<'a> {
    f: &'a Function,
    ranges: Vec<Ranges>,
    weight: Vec<f32>,
    /// Where registers cannot be kept over: positions of calls.
    calls: Vec<u32>,
    /// The other side of copies, as hints.
    hints: Vec<Option<Reg>>,
}

/// Allocates; with `rounds`, what is live across a jump back gets a slot, and so do fuel and parameters.
pub(crate) fn allocate(f: &Function, liveness: &Liveness, rounds: bool) -> Allocation {
    let mut builder = Builder {
        f,
        ranges: vec![Ranges::new(); f.regs.len()],
        weight: vec![0.0; f.regs.len()],
        calls: Vec::new(),
        hints: vec![None; f.regs.len()],
    };
    builder.collect(liveness);
    let in_slots = if rounds { across_rounds(f, liveness) } else { vec![false; f.regs.len()] };
    let mut allocation = builder.assign(&in_slots);
    if rounds {
        allocation.rounds = Some(allocation.frame);
        allocation.frame += 16;
    }
    allocation
}

/// What must not be in registers where rounds end.
fn across_rounds(f: &Function, liveness: &Liveness) -> Vec<bool> {
    let mut found = vec![false; f.regs.len()];
    found[..f.params as usize].fill(true);
    if let Some(fuel) = f.fuel {
        found[fuel.0 as usize] = true;
    }
    for (id, block) in f.blocks() {
        let mut back = false;
        block.term.successors(|to| back |= to <= id);
        if back {
            liveness.live_out[id.0 as usize].iter().for_each(|n| found[liveness.shared.regs[n].0 as usize] = true);
        }
    }
    found
}

/// Where each block starts, and where the last one ends.
fn positions(f: &Function) -> (Vec<u32>, u32) {
    let mut starts = Vec::with_capacity(f.blocks.len());
    let mut position = 2;
    for block in &f.blocks {
        starts.push(position);
        // The header's own work, the instructions, the terminator.
        position += 2 * (block.insts.len() as u32 + 2);
    }
    (starts, position)
}

/// The walk back through a block.
struct Walk {
    /// The end of the live range being walked back, by register; 0 is none.
    end: Vec<u32>,
    /// The registers that have had one in this block.
    live: Vec<Reg>,
    /// What a use or definition in this block weighs.
    scale: f32,
}

impl Builder<'_> {
    fn collect(&mut self, liveness: &Liveness) {
        let f = self.f;
        let (starts, end) = positions(f);
        let mut walk = Walk { end: vec![0; f.regs.len()], live: Vec::new(), scale: 0.0 };
        for (index, &start) in starts.iter().enumerate().rev() {
            walk.scale = 10f32.powi(f.blocks[index].depth.min(6) as i32);
            let live_out = liveness.live_out[index].iter().map(|number| liveness.shared.regs[number]);
            self.block(&f.blocks[index], start, live_out, &mut walk);
        }
        for param in 0..f.params {
            // Parameters are written before the first block.
            if let Some(first) = self.ranges[param as usize].last_mut()
                && first.0 == 2
            {
                first.0 = 1;
            }
        }
        if let Some(fuel) = f.fuel {
            // Every trap stores it.
            self.ranges[fuel.0 as usize] = smallvec::smallvec![(1, end)];
        }
        self.calls.reverse();
        self.ranges.iter_mut().for_each(|ranges| ranges.reverse());
    }

    fn block(&mut self, block: &Block, start: u32, live_out: impl Iterator<Item = Reg>, walk: &mut Walk) {
        let mut at = start + 2 * (block.insts.len() as u32 + 1);
        for reg in live_out {
            walk.end[reg.0 as usize] = at + 2;
            walk.live.push(reg);
        }
        block.term.uses(|reg| self.read(reg, at + 1, walk));
        implicit_uses(self.f, block, |reg| {
            if block.spends == 0 || matches!(block.term, Term::Return(_)) {
                self.read(reg, at + 1, walk);
            }
        });
        for inst in block.insts.iter().rev() {
            at -= 2;
            self.inst(&inst.op, at, walk);
        }
        at -= 2;
        if block.spends > 0
            && let Some(fuel) = self.f.fuel
        {
            self.weight[fuel.0 as usize] += walk.scale;
            self.read(fuel, at + 2, walk);
        }
        for reg in walk.live.drain(..) {
            let until = std::mem::take(&mut walk.end[reg.0 as usize]);
            if until != 0 {
                self.push_range(reg, start, until);
            }
        }
    }

    fn inst(&mut self, op: &Op, at: u32, walk: &mut Walk) {
        op.defs(|reg| {
            self.weight[reg.0 as usize] += walk.scale;
            let until = std::mem::take(&mut walk.end[reg.0 as usize]).max(at + 2);
            self.push_range(reg, at + 1, until);
        });
        if let Op::Copy { dst, src } = *op {
            self.hints[dst.0 as usize].get_or_insert(src);
            self.hints[src.0 as usize].get_or_insert(dst);
        }
        let late = needs_operands_late(op);
        op.uses(|reg| self.read(reg, if late { at + 2 } else { at }, walk));
        if let Op::Call { .. } = op {
            self.calls.push(at);
            if let Some(fuel) = self.f.fuel {
                self.read(fuel, at, walk);
                self.weight[fuel.0 as usize] += walk.scale;
            }
        }
    }

    /// A register is read at `at`: its range ends there, unless it is read later too.
    fn read(&mut self, reg: Reg, at: u32, walk: &mut Walk) {
        self.weight[reg.0 as usize] += walk.scale;
        if walk.end[reg.0 as usize] == 0 {
            walk.end[reg.0 as usize] = at;
            walk.live.push(reg);
        }
    }

    /// Ranges come from the end to the start; those that touch are joined.
    fn push_range(&mut self, reg: Reg, start: u32, end: u32) {
        let ranges = &mut self.ranges[reg.0 as usize];
        match ranges.last_mut() {
            Some(last) if last.0 <= end => last.0 = last.0.min(start),
            _ => ranges.push((start, end)),
        }
    }

    fn crosses_call(&self, ranges: &Ranges) -> bool {
        ranges.iter().any(|&(start, end)| {
            // Live over a call at `p`: live at both `p` and `p + 1`, with `p` not its own definition or last use.
            let next = self.calls.partition_point(|&p| p < start);
            self.calls.get(next).is_some_and(|&p| p + 1 < end)
        })
    }

    fn assign(self, in_slots: &[bool]) -> Allocation {
        let mut order: Vec<u32> =
            (0..self.f.regs.len() as u32).filter(|&r| !self.ranges[r as usize].is_empty()).collect();
        let priority = |reg: u32| {
            let length: u32 = self.ranges[reg as usize].iter().map(|&(start, end)| end - start).sum();
            self.weight[reg as usize] / (length as f32 + 4.0)
        };
        let mut priorities: Vec<f32> = vec![0.0; self.f.regs.len()];
        for &reg in &order {
            priorities[reg as usize] = priority(reg);
        }
        order.sort_by(|&a, &b| priorities[b as usize].total_cmp(&priorities[a as usize]).then(a.cmp(&b)));
        let mut busy: Vec<std::collections::BTreeMap<u32, u32>> = vec![Default::default(); 10];
        let mut places = vec![Place::None; self.f.regs.len()];
        let extra_params = self.f.params.saturating_sub(REGISTER_PARAMS);
        let mut frame = extra_params * 8;
        let mut spilled = 0;
        for reg in order {
            let ranges = &self.ranges[reg as usize];
            let mut candidates: SmallVec<[u8; 8]> = SmallVec::new();
            if !self.crosses_call(ranges) {
                candidates.extend(CALLER_SAVED);
            }
            candidates.extend(CALLEE_SAVED);
            if let Some(hint) = self.hint(Reg(reg), &places)
                && let Some(position) = candidates.iter().position(|&machine| machine == hint)
            {
                candidates.swap(0, position);
            }
            if in_slots[reg as usize] {
                candidates.clear();
            }
            let free = candidates.into_iter().find(|&machine| is_free(&busy[machine as usize], ranges));
            places[reg as usize] = match free {
                Some(machine) => {
                    busy[machine as usize].extend(ranges.iter().copied());
                    Place::Machine(machine)
                }
                None if (REGISTER_PARAMS..self.f.params).contains(&reg) => Place::Slot((reg - REGISTER_PARAMS) * 8),
                None => {
                    frame += 8;
                    spilled += 1;
                    Place::Slot(frame - 8)
                }
            };
        }
        let params = 0..self.f.params as usize;
        let live_params = params.map(|param| self.ranges[param].first().is_some_and(|range| range.0 == 1)).collect();
        Allocation { places, frame, spilled, rounds: None, live_params }
    }

    fn hint(&self, reg: Reg, places: &[Place]) -> Option<u8> {
        if reg.0 < self.f.params.min(3) {
            return Some(reg.0 as u8 + 2);
        }
        match places[self.hints[reg.0 as usize]?.0 as usize] {
            Place::Machine(machine) => Some(machine),
            _ => None,
        }
    }
}

/// Whether the code of an instruction still reads an operand after it has written its result: the two must not share
/// a register.
fn needs_operands_late(op: &Op) -> bool {
    matches!(op, Op::Select { .. } | Op::Set { .. })
}

fn is_free(busy: &std::collections::BTreeMap<u32, u32>, ranges: &Ranges) -> bool {
    ranges.iter().all(|&(start, end)| busy.range(..end).next_back().is_none_or(|(_, &until)| until <= start))
}
