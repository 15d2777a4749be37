//! Where fuel is spent, and how much: see the [crate](crate#fuel).
//!
//! What lies between two places that spend is bounded by the function's size. A recursive function's headers count the
//! longest way on from them, as a return may take a round anywhere.

use std::collections::HashMap;

use crate::{
    ir::{Block, Function, Op, Ty},
    merge::{Functions, MERGED},
};

/// Instructions that one unit pays for.
const UNIT: u32 = 8;
/// A function with no longer way through spends nothing itself.
const FREE: u32 = 64;
/// What a bound function counts as.
const OUTSIDE: u32 = 64;
/// The most that is spent at once.
pub(crate) const MOST: u32 = 1 << 20;

/// Says for each block what it spends. `order` is callees before callers.
pub(crate) fn charge(functions: &mut Functions, order: &[u32]) {
    let mut free: HashMap<u32, u32> = HashMap::new();
    for &index in order {
        let Some(function) = functions.get_mut(&index) else { continue };
        let through = charge_function(function, &free);
        free.insert(index, through);
    }
}

/// What a call of the function costs its caller.
fn charge_function(f: &mut Function, free: &HashMap<u32, u32>) -> u32 {
    let sizes: Vec<u32> = f.blocks.iter().map(|block| size(block, free)).collect();
    let onward = onward(f, &sizes);
    let round = if f.index >= MERGED { None } else { Some(rounds(f, &sizes)) };
    for (index, block) in f.blocks.iter_mut().enumerate().filter(|(_, block)| block.header) {
        block.spends = price(round.as_ref().map_or(onward[index], |round| round[index]));
    }
    let through = onward.first().copied().unwrap_or(0);
    if through > FREE
        && let Some(entry) = f.blocks.first_mut()
    {
        entry.spends = price(through);
    }
    if f.blocks.iter().any(|block| block.spends > 0) {
        f.fuel = Some(f.reg(Ty::I64));
    }
    if through > FREE { 0 } else { through }
}

fn price(instructions: u32) -> u32 {
    (instructions / UNIT).clamp(1, MOST)
}

fn size(block: &Block, free: &HashMap<u32, u32>) -> u32 {
    let cost = |op: &Op| match op {
        Op::Call { function, .. } => 1 + free.get(function).copied().unwrap_or(OUTSIDE),
        _ => 1,
    };
    block.insts.iter().map(|inst| cost(&inst.op)).fold(1, u32::saturating_add)
}

/// For each block, the longest way from its beginning on that takes no jump back.
fn onward(f: &Function, sizes: &[u32]) -> Vec<u32> {
    let mut longest = sizes.to_vec();
    for (id, block) in f.blocks().collect::<Vec<_>>().into_iter().rev() {
        let mut after = 0;
        block.term.successors(|to| {
            if to > id {
                after = longest[to.0 as usize].max(after);
            }
        });
        longest[id.0 as usize] = longest[id.0 as usize].saturating_add(after);
    }
    longest
}

/// For each header, the longest way round its loop. A way to a block of the loop passes the header, so that it is what
/// the longest way there has beyond the header.
fn rounds(f: &Function, sizes: &[u32]) -> Vec<u32> {
    let mut there = vec![0u32; sizes.len()];
    let mut round = vec![0u32; sizes.len()];
    for (id, block) in f.blocks() {
        let index = id.0 as usize;
        let end = there[index].saturating_add(sizes[index]);
        block.term.successors(|to| {
            let to = to.0 as usize;
            if to > index {
                there[to] = there[to].max(end);
            } else {
                round[to] = round[to].max(end - there[to]);
            }
        });
    }
    round
}
