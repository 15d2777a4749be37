//! Live registers at the end of each block: the backward dataflow, to a fixed point.

use smallvec::SmallVec;

use super::{RegSet, Shared};
use crate::ir::{Block, Function, Op, Reg, Term};

/// Registers that blocks share times blocks, of one function: sets of that size are kept.
pub(crate) const COMPLEXITY: u64 = 1 << 26;

/// How many registers more than one block mentions.
pub(crate) fn shared(f: &Function) -> usize {
    Shared::new(f).regs.len()
}

/// What [`COMPLEXITY`] limits; all registers are counted where that is few enough.
pub(crate) fn complexity(f: &Function) -> u64 {
    let blocks = f.blocks.len() as u64;
    let all = f.regs.len() as u64 * blocks;
    if all > COMPLEXITY { shared(f) as u64 * blocks } else { all }
}

/// Which shared registers are live at the beginning and at the end of each block.
pub(crate) struct Liveness {
    pub(crate) shared: Shared,
    pub(crate) live_in: Vec<RegSet>,
    pub(crate) live_out: Vec<RegSet>,
    /// Those that are live where some loop begins.
    pub(crate) in_loops: RegSet,
}

/// Calls `f` with the registers that a block's beginning and end read besides what its instructions say: fuel, where it
/// is spent and where returns store it.
pub(crate) fn implicit_uses(function: &Function, block: &Block, mut f: impl FnMut(Reg)) {
    if let Some(fuel) = function.fuel
        && (block.spends > 0 || matches!(block.term, Term::Return(_)))
    {
        f(fuel);
    }
}

impl Liveness {
    pub(crate) fn new(f: &Function) -> Self {
        let shared = Shared::new(f);
        let count = shared.regs.len();
        let effects: Vec<Effect> = f.blocks.iter().map(|block| Effect::of(f, block, &shared)).collect();
        let (live_in, live_out) = fixed_point(f, &effects, count);
        let mut in_loops = RegSet::new(count);
        for (live, _) in live_in.iter().zip(&f.blocks).filter(|(_, block)| block.header) {
            in_loops.union(live);
        }
        Self { shared, live_in, live_out, in_loops }
    }
}

/// What a block does to the shared registers.
struct Effect {
    /// Those that it reads before it writes them.
    uses: RegSet,
    /// Those that it writes.
    defs: RegSet,
}

impl Effect {
    fn of(f: &Function, block: &Block, shared: &Shared) -> Self {
        let (mut uses, mut defs) = (RegSet::new(shared.regs.len()), RegSet::new(shared.regs.len()));
        if block.spends > 0
            && let Some(number) = f.fuel.and_then(|fuel| shared.number(fuel))
        {
            uses.insert(number);
        }
        for inst in &block.insts {
            inst.op.uses(|reg| {
                if let Some(number) = shared.number(reg)
                    && !defs.contains(number)
                {
                    uses.insert(number);
                }
            });
            inst.op.defs(|reg| {
                if let Some(number) = shared.number(reg) {
                    defs.insert(number);
                }
            });
        }
        let mut last = |reg| {
            if let Some(number) = shared.number(reg)
                && !defs.contains(number)
            {
                uses.insert(number);
            }
        };
        block.term.uses(&mut last);
        implicit_uses(f, block, last);
        Self { uses, defs }
    }
}

/// The sets at the beginnings and at the ends of the blocks: a block is looked at again when one after it has changed.
fn fixed_point(f: &Function, effects: &[Effect], count: usize) -> (Vec<RegSet>, Vec<RegSet>) {
    let mut predecessors = vec![SmallVec::<[u32; 2]>::new(); f.blocks.len()];
    let successors: Vec<_> = f.blocks.iter().map(|block| block.term.next_blocks()).collect();
    for (id, successors) in successors.iter().enumerate() {
        successors.iter().for_each(|to| predecessors[to.0 as usize].push(id as u32));
    }
    let mut live_in: Vec<RegSet> = effects.iter().map(|effect| effect.uses.clone()).collect();
    let mut live_out = vec![RegSet::new(count); f.blocks.len()];
    let mut work: Vec<u32> = (0..f.blocks.len() as u32).collect();
    let mut queued = vec![true; f.blocks.len()];
    while let Some(id) = work.pop() {
        let index = id as usize;
        queued[index] = false;
        let mut out = std::mem::replace(&mut live_out[index], RegSet::new(0));
        for to in &successors[index] {
            out.union(&live_in[to.0 as usize]);
        }
        let mut new_in = RegSet::new(count);
        new_in.assign(&out, &effects[index].defs, &effects[index].uses);
        live_out[index] = out;
        if new_in != live_in[index] {
            live_in[index] = new_in;
            for &before in &predecessors[index] {
                if !std::mem::replace(&mut queued[before as usize], true) {
                    work.push(before);
                }
            }
        }
    }
    (live_in, live_out)
}

/// Removes instructions whose result nothing reads and that do nothing else.
pub(crate) fn remove_dead(f: &mut Function, liveness: &Liveness) {
    let mut local = vec![false; f.regs.len()];
    for (index, block) in f.blocks.iter_mut().enumerate() {
        let mut live = liveness.live_out[index].clone();
        let shared = &liveness.shared;
        block.term.uses(|reg| match shared.number(reg) {
            Some(number) => live.insert(number),
            None => local[reg.0 as usize] = true,
        });
        let mut keep = vec![true; block.insts.len()];
        for (position, inst) in block.insts.iter().enumerate().rev() {
            let mut needed = !is_pure(&inst.op);
            inst.op.defs(|reg| match shared.number(reg) {
                Some(number) => {
                    needed |= live.contains(number);
                    live.remove(number);
                }
                None => needed |= std::mem::take(&mut local[reg.0 as usize]),
            });
            keep[position] = needed;
            if needed {
                inst.op.uses(|reg| match shared.number(reg) {
                    Some(number) => live.insert(number),
                    None => local[reg.0 as usize] = true,
                });
            }
        }
        let mut keep = keep.into_iter();
        block.insts.retain(|_| keep.next().unwrap_or(true));
    }
}

fn is_pure(op: &Op) -> bool {
    matches!(
        op,
        Op::Const { .. }
            | Op::Copy { .. }
            | Op::Bin { .. }
            | Op::Un { .. }
            | Op::Set { .. }
            | Op::Select { .. }
            | Op::Get { .. }
    )
}
