//! Inlining: small functions, and those with one caller, become part of it.
//!
//! A call costs six to ten eBPF instructions (arguments to r2 to r5, the base, the call, the trap's test, fuel stored
//! and read again), spills what r1 to r4 held, and takes one of the kernel's eight frames and 256 functions. Semantics
//! stay: fuel is counted by loops wherever they stand, and a trap keeps the offset of its own instruction, from which
//! its function is found.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    ir::{Arg, Block, BlockId, Function, Inst, Op, ROUTINES, Reg, Term},
    merge::Functions,
};

/// A function of at most so many instructions goes into every caller.
const SMALL: usize = 24;
/// A function with one call in the module goes there up to this size.
const ONCE: usize = 1000;
/// What a function may grow to, in instructions and in blocks times registers.
const GROWN: usize = 4000;

/// For each function, those that became part of it, by index, and how often.
pub(crate) type Inlined = BTreeMap<u32, BTreeMap<u32, u32>>;

/// Inlines calls, callees first, and drops the functions that nothing calls any more. `order` is callees before
/// callers; `roots`, in order, are called from outside.
pub(crate) fn inline(functions: &mut Functions, order: &[u32], roots: &[u32]) -> Inlined {
    let mut calls: HashMap<u32, u32> = HashMap::new();
    for callee in functions.values().flat_map(Function::callees) {
        *calls.entry(callee).or_default() += 1;
    }
    let recursive = recursive(functions);
    let mut sizes: HashMap<u32, usize> = functions.iter().map(|(&index, f)| (index, instructions(f))).collect();
    let mut inlined = Inlined::new();
    for &caller in order {
        let Some(mut function) = functions.remove(&caller) else { continue };
        let mut size = sizes[&caller];
        let mut chosen: BTreeMap<u32, u32> = BTreeMap::new();
        for callee in function.callees().filter(|&callee| callee != caller && callee < ROUTINES) {
            let Some(&own) = sizes.get(&callee).filter(|_| !recursive.contains(&callee)) else { continue };
            let once = calls.get(&callee) == Some(&1) && roots.binary_search(&callee).is_err() && own <= ONCE;
            if (once || own <= SMALL) && size + own <= GROWN {
                size += own;
                *chosen.entry(callee).or_default() += 1;
            }
        }
        if !chosen.is_empty() {
            let mut left = chosen.clone();
            function = Splice::new(function, functions).run(&mut left);
            sizes.insert(caller, instructions(&function));
            inlined.insert(caller, chosen);
        }
        functions.insert(caller, function);
    }
    drop_unused(functions, roots);
    inlined
}

fn instructions(function: &Function) -> usize {
    function.blocks.iter().map(|block| block.insts.len() + 1).sum()
}

/// Functions that can come to call themselves.
fn recursive(functions: &Functions) -> BTreeSet<u32> {
    let groups = crate::merge::strongly_connected(functions);
    let calls_itself = |index: u32| functions[&index].callees().any(|callee| callee == index);
    groups.into_iter().filter(|group| group.len() > 1 || calls_itself(group[0])).flatten().collect()
}

fn drop_unused(functions: &mut Functions, roots: &[u32]) {
    let mut used: BTreeSet<u32> = roots.iter().copied().collect();
    let mut work: Vec<u32> = roots.to_vec();
    while let Some(index) = work.pop() {
        if let Some(function) = functions.get(&index) {
            work.extend(function.callees().filter(|&callee| used.insert(callee)));
        }
    }
    functions.retain(|index, _| used.contains(index));
}

/// One caller while calls in it are replaced.
struct Splice<'a> {
    functions: &'a Functions,
    out: Function,
    /// The blocks of the caller as it was.
    blocks: Vec<Block>,
    /// Where each of them starts in the new layout.
    starts: Vec<BlockId>,
}

impl<'a> Splice<'a> {
    fn new(mut function: Function, functions: &'a Functions) -> Self {
        let blocks = std::mem::take(&mut function.blocks);
        Self { functions, out: function, blocks, starts: Vec::new() }
    }

    /// Replaces the calls that `left` has room for. Blocks stay in the order in which loops are runs of blocks: the
    /// callee's stand where its call stood.
    fn run(mut self, left: &mut BTreeMap<u32, u32>) -> Function {
        for block in std::mem::take(&mut self.blocks) {
            self.starts.push(self.next());
            self.block(block, left);
        }
        // Jumps of the caller's own were left with their old targets, marked by an offset.
        for block in &mut self.out.blocks {
            block.term.successors_mut(|to| {
                if let Some(old) = to.0.checked_sub(OLD) {
                    *to = self.starts[old as usize];
                }
            });
        }
        // A callee that never returns leaves the rest of its caller without a way in, which the kernel refuses.
        self.out.remove_unreachable();
        self.out
    }

    fn next(&self) -> BlockId {
        BlockId(self.out.blocks.len() as u32)
    }

    fn block(&mut self, block: Block, left: &mut BTreeMap<u32, u32>) {
        let mut term = block.term;
        term.successors_mut(|to| to.0 += OLD);
        let (header, depth, term_offset) = (block.header, block.depth, block.term_offset);
        let mut current = Block { term, term_offset, header, ..Block::new(depth) };
        for inst in block.insts {
            let callee = match &inst.op {
                Op::Call { function, .. } => {
                    left.get_mut(function).filter(|left| **left > 0).map(|left| (function, left))
                }
                _ => None,
            };
            let Some((body, left)) = callee.and_then(|(index, left)| Some((self.functions.get(index)?, left))) else {
                current.insts.push(inst);
                continue;
            };
            *left -= 1;
            let Op::Call { args, results, .. } = inst.op else { continue };
            let rest = Block { term: current.term.clone(), term_offset, ..Block::new(depth) };
            let mut before = std::mem::replace(&mut current, rest);
            let base = self.out.regs.len() as u32;
            self.pass(&mut before, &args, base, inst.offset);
            before.term = Term::Jump(BlockId(self.next().0 + 1));
            before.term_offset = inst.offset;
            self.out.blocks.push(before);
            self.body(body, base, &results, depth);
        }
        self.out.blocks.push(current);
    }

    /// The arguments, into what were the callee's parameters.
    fn pass(&mut self, before: &mut Block, args: &[Arg], base: u32, offset: u32) {
        for (&arg, index) in args.iter().zip(0..) {
            let dst = Reg(base + index);
            let op = match arg {
                Arg::Reg(src) => Op::Copy { dst, src },
                Arg::Imm(value) => Op::Const { dst, value: i64::from(value) },
            };
            before.insts.push(Inst { op, offset });
        }
    }

    /// The callee's blocks; what comes after them is where they return to.
    fn body(&mut self, body: &Function, base: u32, results: &[Reg], depth: u32) {
        let start = self.next();
        let after = BlockId(start.0 + body.blocks.len() as u32);
        self.out.regs.extend(&body.regs);
        for block in &body.blocks {
            let mut block = block.clone();
            block.depth = block.depth.saturating_add(depth);
            for inst in &mut block.insts {
                inst.op.map_regs(|reg| Reg(reg.0 + base));
            }
            block.term.map_regs(|reg| Reg(reg.0 + base));
            block.term.successors_mut(|to| to.0 += start.0);
            if let Term::Return(values) = &block.term {
                for (&value, &dst) in values.iter().zip(results) {
                    let op = match value {
                        Arg::Reg(src) => Op::Copy { dst, src },
                        Arg::Imm(value) => Op::Const { dst, value: i64::from(value) },
                    };
                    block.insts.push(Inst { op, offset: block.term_offset });
                }
                block.term = Term::Jump(after);
            }
            self.out.blocks.push(block);
        }
    }
}

/// Added to the targets of a caller's own jumps until all of its blocks are placed.
const OLD: u32 = 1 << 31;
