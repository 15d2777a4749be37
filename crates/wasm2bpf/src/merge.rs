//! Recursion, and calls that nest deeper than the kernel's eight frames.
//!
//! Functions that call each other in a circle are merged into one eBPF function. A call between them is a jump: the
//! caller saves what it still needs in its frame on the shadow stack, pushes a frame with the arguments and the number
//! of the place to return to, and jumps to the callee's entry; a return jumps to the dispatcher, which goes to that
//! place. Between members everything passes through memory, so that the verifier knows nothing at an entry or a
//! return: one walk of each member is enough. Each entry spends fuel, as a loop does.
//!
//! Each member keeps a small function of its own that outsiders call. A frame is: the place to return to, the
//! parameters, the saved registers; 8 bytes each.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    analysis::liveness::{self, Liveness},
    ir::{Area, Arg, BinOp, Block, BlockId, Cell, Cmp, CmpOp, Function, Inst, Op, Reg, Term, TrapKind, Ty, Width},
};

/// Merged functions take indices from here on.
pub(crate) const MERGED: u32 = 3 << 29;

/// Functions by index.
pub(crate) type Functions = BTreeMap<u32, Function>;

/// Registers that the functions of a group may save, counted at each call.
const MOST_SAVED: usize = 1 << 20;

/// Heights above this go into one merged function when the whole nests too deep.
const CUT: u32 = 4;

/// How many of the kernel's frames functions take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// One each.
    Plain,
    /// Two with loops.
    Rounds,
}

/// Merges what recurs, and what nests deeper than `max_depth`. True if there was anything.
///
/// # Errors
/// Functions that are too much together; nothing is merged then.
pub(crate) fn merge(functions: &mut Functions, max_depth: u32, shadow: u32, frames: Frames) -> Result<bool, Vec<u32>> {
    let groups = strongly_connected(functions);
    let recursive = |group: &[u32], functions: &Functions| {
        group.len() > 1 || functions[&group[0]].callees().any(|callee| callee == group[0])
    };
    let heights = heights(functions, &groups, recursive, frames);
    let too_deep = heights.values().any(|&height| height > max_depth);
    let mut merged: Vec<Vec<u32>> = Vec::new();
    let mut deep: Vec<u32> = Vec::new();
    for group in groups {
        if too_deep && heights[&group[0]] > CUT {
            deep.extend(group);
        } else if recursive(&group, functions) {
            merged.push(group);
        }
    }
    if !deep.is_empty() {
        merged.push(deep);
    }
    let (mut saved, mut too_much) = (Vec::new(), Vec::new());
    for group in &merged {
        match saved_by(functions, group) {
            Some(by_function) => saved.push(by_function),
            None => too_much.extend(group),
        }
    }
    if !too_much.is_empty() {
        return Err(too_much);
    }
    let pushes = reaching(functions, merged.iter().flatten().copied());
    for (number, saved) in saved.into_iter().enumerate() {
        merge_group(functions, saved, MERGED + number as u32, shadow, &pushes);
    }
    Ok(!merged.is_empty())
}

/// For each function of a group, what it saves over calls of the others. None if they are too much for one function.
fn saved_by(functions: &Functions, group: &[u32]) -> Option<BTreeMap<u32, LiveAcross>> {
    let members: HashSet<u32> = group.iter().copied().collect();
    let shared: u64 = group.iter().map(|index| liveness::shared(&functions[index]) as u64).sum();
    let mut blocks: u64 = group.iter().map(|index| functions[index].blocks.len() as u64).sum();
    // Each member has a register for its place on the shadow stack.
    let own = group.len() as u64;
    if (shared + own) * blocks > liveness::COMPLEXITY {
        return None;
    }
    let (mut left, mut found) = (MOST_SAVED, BTreeMap::new());
    let mut crossing = 0;
    for &index in group {
        let saved = saved_over_calls(&functions[&index], &members, &mut left)?;
        // Each call ends a block, and what is saved over it is used in another one.
        blocks += saved.iter().map(Vec::len).sum::<usize>() as u64;
        crossing += saved.iter().flatten().flatten().collect::<HashSet<_>>().len() as u64;
        if (shared.max(crossing) + own) * blocks > liveness::COMPLEXITY {
            return None;
        }
        found.insert(index, saved);
    }
    Some(found)
}

/// The functions that reach one of `targets`, those among them.
fn reaching(functions: &Functions, targets: impl Iterator<Item = u32>) -> HashSet<u32> {
    let mut callers: HashMap<u32, Vec<u32>> = HashMap::new();
    for (&index, function) in functions {
        for callee in function.callees() {
            callers.entry(callee).or_default().push(index);
        }
    }
    let mut found = HashSet::new();
    let mut work: Vec<u32> = targets.collect();
    while let Some(index) = work.pop() {
        if found.insert(index) {
            work.extend(callers.get(&index).into_iter().flatten());
        }
    }
    found
}

/// Groups of functions that reach each other, callees first (Tarjan).
pub(crate) fn strongly_connected(functions: &Functions) -> Vec<Vec<u32>> {
    #[derive(Default)]
    struct State {
        number: HashMap<u32, (u32, u32)>,
        path: Vec<u32>,
        groups: Vec<Vec<u32>>,
        done: std::collections::HashSet<u32>,
    }
    let callees: HashMap<u32, Vec<u32>> = functions
        .iter()
        .map(|(&index, function)| (index, function.callees().filter(|c| functions.contains_key(c)).collect()))
        .collect();
    let mut state = State::default();
    for &root in functions.keys() {
        if state.number.contains_key(&root) {
            continue;
        }
        let mut work = vec![(root, 0usize)];
        while let Some((index, next)) = work.pop() {
            if next == 0 {
                let number = state.number.len() as u32;
                state.number.insert(index, (number, number));
                state.path.push(index);
            }
            if let Some(&callee) = callees[&index].get(next) {
                work.push((index, next + 1));
                if !state.number.contains_key(&callee) {
                    work.push((callee, 0));
                } else if !state.done.contains(&callee) {
                    let low = state.number[&callee].0;
                    lower(&mut state.number, index, low);
                }
                continue;
            }
            let (number, low) = state.number[&index];
            if let Some(&(caller, _)) = work.last() {
                lower(&mut state.number, caller, low);
            }
            if number == low {
                let at = state.path.iter().rposition(|&member| member == index).unwrap_or(0);
                let group = state.path.split_off(at);
                state.done.extend(&group);
                state.groups.push(group);
            }
        }
    }
    state.groups
}

fn lower(number: &mut HashMap<u32, (u32, u32)>, index: u32, low: u32) {
    if let Some(entry) = number.get_mut(&index) {
        entry.1 = entry.1.min(low);
    }
}

/// How many frames a call of each function takes, a merged group counting two.
fn heights(
    functions: &Functions,
    groups: &[Vec<u32>],
    recursive: impl Fn(&[u32], &Functions) -> bool,
    frames: Frames,
) -> HashMap<u32, u32> {
    let rounds = u32::from(frames == Frames::Rounds);
    let mut heights: HashMap<u32, u32> = HashMap::new();
    for group in groups {
        let loops = group.iter().any(|index| functions[index].blocks.iter().any(|block| block.header));
        let own = match recursive(group, functions) {
            true => 2 + rounds,
            false => 1 + rounds * u32::from(loops),
        };
        let below = group.iter().flat_map(|index| functions[index].callees()).filter_map(|callee| heights.get(&callee));
        let height = below.max().copied().unwrap_or(0) + own;
        heights.extend(group.iter().map(|&index| (index, height)));
    }
    heights
}

/// A function of the group, in the merged one.
#[derive(Clone, Copy)]
struct Member {
    /// Where its blocks start in the merged function.
    blocks: u32,
    /// Where its registers start.
    regs: u32,
    /// The register that has its frame's place on the shadow stack.
    sp: Reg,
    /// Bytes of its frame.
    frame: u32,
    params: u32,
}

impl Member {
    /// Where its frame has a saved register, after the place to return to and the parameters.
    fn slot(&self, number: usize) -> i32 {
        8 * (1 + self.params as i32 + number as i32)
    }
}

struct Merge<'a> {
    out: Function,
    members: BTreeMap<u32, Member>,
    /// Where each return goes; the first leaves the merged function.
    returns: Vec<BlockId>,
    shadow: u32,
    originals: &'a BTreeMap<u32, (Function, LiveAcross)>,
    /// Functions that push frames on the shadow stack, themselves or further down.
    pushes: &'a HashSet<u32>,
}

/// For each block and instruction, the registers that are live across it.
type LiveAcross = Vec<Vec<Vec<Reg>>>;

const ENTRY: BlockId = BlockId(0);
const EXIT: BlockId = BlockId(1);
const DISPATCH: BlockId = BlockId(2);

fn merge_group(
    functions: &mut Functions,
    saved: BTreeMap<u32, LiveAcross>,
    index: u32,
    shadow: u32,
    pushes: &HashSet<u32>,
) {
    let taken = saved.into_iter().filter_map(|(member, saved)| Some((member, (functions.remove(&member)?, saved))));
    let originals: BTreeMap<u32, (Function, LiveAcross)> = taken.collect();
    let name = originals.values().map(|(f, _)| f.name.as_str()).collect::<Vec<_>>().join("+");
    let name: String = name.chars().take(64).collect();
    let out =
        Function { index, name, params: 1, results: Vec::new(), regs: vec![Ty::I32], blocks: Vec::new(), fuel: None };
    let mut merge = Merge { out, members: BTreeMap::new(), returns: vec![EXIT], shadow, originals: &originals, pushes };
    merge.frame_sizes();
    merge.dispatcher();
    for &member in originals.keys() {
        merge.member(member);
    }
    merge.finish_dispatcher();
    let entries = merge.members.iter().map(|(&index, member)| (index, BlockId(member.blocks))).collect();
    let frames: BTreeMap<u32, u32> = merge.members.iter().map(|(&index, member)| (index, member.frame)).collect();
    let mut out = merge.out;
    out.resolve(&entries);
    out.remove_unreachable();
    for (which, (&member, (function, _))) in originals.iter().enumerate() {
        let limit = shadow.saturating_sub(frames[&member]);
        functions.insert(member, outside(function, which as i32, index, limit));
    }
    functions.insert(index, out);
}

/// For each block and each call of a member in it, the registers that are live over the call; none if there are more
/// than `left`, from which they are taken.
fn saved_over_calls(f: &Function, members: &HashSet<u32>, left: &mut usize) -> Option<LiveAcross> {
    let liveness = Liveness::new(f);
    let mut all = Vec::with_capacity(f.blocks.len());
    for (index, block) in f.blocks.iter().enumerate() {
        let mut live: std::collections::BTreeSet<Reg> =
            liveness.live_out[index].iter().map(|number| liveness.shared.regs[number]).collect();
        block.term.uses(|reg| {
            live.insert(reg);
        });
        let mut calls = Vec::new();
        for inst in block.insts.iter().rev() {
            inst.op.defs(|reg| {
                live.remove(&reg);
            });
            if let Op::Call { function, .. } = &inst.op
                && members.contains(function)
            {
                *left = left.checked_sub(live.len())?;
                calls.push(live.iter().copied().collect());
            }
            inst.op.uses(|reg| {
                live.insert(reg);
            });
        }
        calls.reverse();
        all.push(calls);
    }
    Some(all)
}

fn inst(op: Op, offset: u32) -> Inst {
    Inst { op, offset }
}

impl Merge<'_> {
    fn frame_sizes(&mut self) {
        for (&index, (function, saved)) in self.originals {
            let most = saved.iter().flatten().map(Vec::len).max().unwrap_or(0) as u32;
            let frame = 8 * (1 + function.params + most);
            self.members.insert(index, Member { blocks: 0, regs: 0, sp: Reg(0), frame, params: function.params });
        }
    }

    fn block(&mut self, block: Block) -> BlockId {
        self.out.blocks.push(block);
        BlockId(self.out.blocks.len() as u32 - 1)
    }

    fn empty(term: Term) -> Block {
        Block { term, ..Block::new(0) }
    }

    /// The entry, the exit and the dispatcher, whose targets are not known yet.
    fn dispatcher(&mut self) {
        let sp = self.out.reg(Ty::I32);
        let mut entry = Self::empty(Term::Trap(TrapKind::Unreachable));
        entry.insts.push(inst(Op::Get { dst: sp, cell: Cell::ShadowPointer }, 0));
        let (area, index) = (Area::Shadow, sp);
        entry.insts.push(inst(Op::StoreArea { width: Width::W64, area, index, offset: 0, value: Arg::Imm(0) }, 0));
        self.block(entry);
        self.block(Self::empty(Term::Return(Vec::new())));
        let (sp, place) = (self.out.reg(Ty::I32), self.out.reg(Ty::I32));
        let mut dispatch = Self::empty(Term::Trap(TrapKind::Unreachable));
        dispatch.header = true;
        dispatch.depth = 1;
        dispatch.insts.push(inst(Op::Get { dst: sp, cell: Cell::ShadowPointer }, 0));
        let (width, area, index) = (Width::W64, Area::Shadow, sp);
        dispatch.insts.push(inst(Op::LoadArea { width, dst: place, area, index, offset: 0 }, 0));
        let index = place;
        dispatch.term = Term::Switch { index, targets: Vec::new(), default: EXIT };
        self.block(dispatch);
    }

    fn finish_dispatcher(&mut self) {
        let targets: Vec<BlockId> = self.members.values().map(|member| BlockId(member.blocks)).collect();
        let default = targets.last().copied().unwrap_or(EXIT);
        self.out.blocks[ENTRY.0 as usize].term = Term::Switch { index: Reg(0), targets, default };
        let returns = std::mem::take(&mut self.returns);
        if let Term::Switch { targets, .. } = &mut self.out.blocks[DISPATCH.0 as usize].term {
            *targets = returns;
        }
    }

    fn member(&mut self, index: u32) {
        let Some((function, saved)) = self.originals.get(&index) else { return };
        let regs = self.out.regs.len() as u32;
        self.out.regs.extend(&function.regs);
        let sp = self.out.reg(Ty::I32);
        let start = self.out.blocks.len() as u32;
        if let Some(member) = self.members.get_mut(&index) {
            member.blocks = start;
            member.regs = regs;
            member.sp = sp;
        }
        // The entry: everything comes from memory.
        let mut entry = Self::empty(Term::Trap(TrapKind::Unreachable));
        entry.header = true;
        entry.depth = 1;
        entry.term_offset = function.blocks.first().map_or(0, |b| b.insts.first().map_or(b.term_offset, |i| i.offset));
        entry.insts.push(inst(Op::Get { dst: sp, cell: Cell::ShadowPointer }, entry.term_offset));
        for param in 0..function.params {
            let (width, dst, offset) = (Width::W64, Reg(regs + param), 8 + 8 * param as i32);
            let load = Op::LoadArea { width, dst, area: Area::Shadow, index: sp, offset };
            entry.insts.push(inst(load, entry.term_offset));
        }
        self.block(entry);
        // Each original block becomes one or, with calls, several: first find where each will stand.
        let mut at = start + 1;
        let starts: Vec<u32> = saved
            .iter()
            .map(|calls| {
                let here = at;
                at += 1 + calls.len() as u32;
                here
            })
            .collect();
        self.out.blocks[start as usize].term = Term::Jump(BlockId(start + 1));
        for (position, block) in function.blocks.iter().enumerate() {
            self.member_block(index, block, &saved[position], &starts);
        }
    }

    /// A call of a function that is no member. If there are frames of others further down, they go above this one's.
    fn outsider(&mut self, block: &mut Block, call: Inst, pushes: bool, sp: Reg, frame: u32) {
        let offset = call.offset;
        if !pushes {
            return block.insts.push(call);
        }
        let above = self.out.reg(Ty::I32);
        let (a, b) = (sp, Arg::Imm(frame as i32));
        block.insts.push(inst(Op::Bin { op: BinOp::Add, ty: Ty::I32, dst: above, a, b }, offset));
        block.insts.push(inst(Op::Put { cell: Cell::ShadowPointer, value: Arg::Reg(above) }, offset));
        block.insts.push(call);
        block.insts.push(inst(Op::Put { cell: Cell::ShadowPointer, value: Arg::Reg(sp) }, offset));
    }

    fn member_block(&mut self, member: u32, block: &Block, saved: &[Vec<Reg>], starts: &[u32]) {
        let caller = self.members[&member];
        let mut current = Self::empty(Term::Trap(TrapKind::Unreachable));
        current.header = block.header;
        current.depth = block.depth + 1;
        let mut calls = saved.iter();
        for original in &block.insts {
            let mut op = original.op.clone();
            op.map_regs(|reg| Reg(reg.0 + caller.regs));
            let offset = original.offset;
            let Op::Call { function, args, results } = &op else {
                current.insts.push(inst(op, offset));
                continue;
            };
            let Some(&callee) = self.members.get(function) else {
                let pushes = self.pushes.contains(function);
                self.outsider(&mut current, inst(op, offset), pushes, caller.sp, caller.frame);
                continue;
            };
            let saved: Vec<Reg> =
                calls.next().map_or(Vec::new(), |s| s.iter().map(|r| Reg(r.0 + caller.regs)).collect());
            self.leave(&mut current, caller, callee, args, &saved, offset);
            // The callee's entry may not be placed yet: it is named by its index until all are.
            current.term = Term::Jump(BlockId(MERGED + function));
            current.term_offset = offset;
            let next = Block { depth: current.depth, ..Self::empty(Term::Trap(TrapKind::Unreachable)) };
            let id = self.block(std::mem::replace(&mut current, next));
            self.returns.push(BlockId(id.0 + 1));
            come_back(&mut current, caller, results, &saved, offset);
        }
        current.term_offset = block.term_offset;
        current.term = block.term.clone();
        current.term.map_regs(|reg| Reg(reg.0 + caller.regs));
        current.term.successors_mut(|to| *to = BlockId(starts[to.0 as usize]));
        if let Term::Return(values) = &current.term {
            for (number, &value) in values.iter().enumerate() {
                let put = Op::Put { cell: Cell::Result(number as u32), value };
                current.insts.push(inst(put, block.term_offset));
            }
            current.term = Term::Jump(DISPATCH);
        }
        self.block(current);
    }

    /// Before the jump to a member: what is saved goes into the caller's frame. The callee gets a frame of its own, if
    /// there is room for it, with the number of the next place to return to and the arguments.
    fn leave(&mut self, block: &mut Block, caller: Member, callee: Member, args: &[Arg], saved: &[Reg], offset: u32) {
        let store =
            |index, offset, value| Op::StoreArea { width: Width::W64, area: Area::Shadow, index, offset, value };
        for (number, &reg) in saved.iter().enumerate() {
            block.insts.push(inst(store(caller.sp, caller.slot(number), Arg::Reg(reg)), offset));
        }
        let new = self.out.reg(Ty::I32);
        let (a, b) = (caller.sp, Arg::Imm(caller.frame as i32));
        block.insts.push(inst(Op::Bin { op: BinOp::Add, ty: Ty::I32, dst: new, a, b }, offset));
        let limit = self.shadow.saturating_sub(callee.frame);
        let full = Cmp { op: CmpOp::GtU, ty: Ty::I32, a: new, b: Arg::Imm(limit as i32) };
        block.insts.push(inst(Op::TrapIf { cmp: full, kind: TrapKind::Stack }, offset));
        let place = self.returns.len() as i32;
        block.insts.push(inst(store(new, 0, Arg::Imm(place)), offset));
        for (number, &arg) in args.iter().enumerate() {
            block.insts.push(inst(store(new, 8 + 8 * number as i32, arg), offset));
        }
        block.insts.push(inst(Op::Put { cell: Cell::ShadowPointer, value: Arg::Reg(new) }, offset));
    }
}

/// Where a member comes back to: the caller's frame is the top again; what was saved comes out of it, results come out of
/// the cells.
fn come_back(block: &mut Block, caller: Member, results: &[Reg], saved: &[Reg], offset: u32) {
    let sp = caller.sp;
    block.insts.push(inst(Op::Get { dst: sp, cell: Cell::ShadowPointer }, offset));
    let (a, b) = (sp, Arg::Imm(caller.frame as i32));
    block.insts.push(inst(Op::Bin { op: BinOp::Sub, ty: Ty::I32, dst: sp, a, b }, offset));
    block.insts.push(inst(Op::Put { cell: Cell::ShadowPointer, value: Arg::Reg(sp) }, offset));
    for (number, &dst) in saved.iter().enumerate() {
        let (width, area, index) = (Width::W64, Area::Shadow, sp);
        let load = Op::LoadArea { width, dst, area, index, offset: caller.slot(number) };
        block.insts.push(inst(load, offset));
    }
    for (number, &dst) in results.iter().enumerate() {
        block.insts.push(inst(Op::Get { dst, cell: Cell::Result(number as u32) }, offset));
    }
}

impl Function {
    /// Names of entries become their blocks.
    fn resolve(&mut self, entries: &BTreeMap<u32, BlockId>) {
        for block in &mut self.blocks {
            block.term.successors_mut(|to| {
                if let Some(index) = to.0.checked_sub(MERGED)
                    && let Some(&entry) = entries.get(&index)
                {
                    *to = entry;
                }
            });
        }
    }
}

impl Function {
    /// Leaves out blocks that the entry, the first one, does not reach: the places after calls that never return.
    pub(crate) fn remove_unreachable(&mut self) {
        let mut reached = vec![false; self.blocks.len()];
        let mut work = vec![ENTRY];
        while let Some(id) = work.pop() {
            if !std::mem::replace(&mut reached[id.0 as usize], true) {
                self.block(id).term.successors(|to| work.push(to));
            }
        }
        let mut new_id = Vec::with_capacity(reached.len());
        let mut next = 0;
        for &reached in &reached {
            new_id.push(BlockId(next));
            next += u32::from(reached);
        }
        let mut keep = reached.into_iter();
        self.blocks.retain(|_| keep.next().unwrap_or(true));
        for block in &mut self.blocks {
            block.term.successors_mut(|to| *to = new_id[to.0 as usize]);
        }
    }
}

/// The function that outsiders call: arguments into a frame, if there is room for it; the merged function; results out
/// of the cells.
fn outside(original: &Function, which: i32, merged: u32, limit: u32) -> Function {
    let mut f = Function { blocks: Vec::new(), ..original.clone() };
    f.regs.truncate(original.params as usize);
    let sp = f.reg(Ty::I32);
    let offset = original.blocks.first().map_or(0, |b| b.insts.first().map_or(b.term_offset, |i| i.offset));
    let mut insts = vec![inst(Op::Get { dst: sp, cell: Cell::ShadowPointer }, offset)];
    let full = Cmp { op: CmpOp::GtU, ty: Ty::I32, a: sp, b: Arg::Imm(limit as i32) };
    insts.push(inst(Op::TrapIf { cmp: full, kind: TrapKind::Stack }, offset));
    for param in 0..original.params {
        let (width, area, value) = (Width::W64, Area::Shadow, Arg::Reg(Reg(param)));
        insts.push(inst(Op::StoreArea { width, area, index: sp, offset: 8 + 8 * param as i32, value }, 0));
    }
    insts.push(inst(Op::Call { function: merged, args: vec![Arg::Imm(which)], results: Vec::new() }, 0));
    let mut values = Vec::new();
    for (number, &ty) in original.results.iter().enumerate() {
        let dst = f.reg(ty);
        insts.push(inst(Op::Get { dst, cell: Cell::Result(number as u32) }, 0));
        values.push(Arg::Reg(dst));
    }
    f.blocks.push(Block { insts, term: Term::Return(values), ..Block::new(0) });
    f
}
