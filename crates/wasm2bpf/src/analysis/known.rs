//! What the kernel's verifier may know about a register, and where it must be made to forget.
//!
//! The verifier walks every path. It stops early where it has been before in a state at least as general, and three
//! things spoil that: a branch whose outcome it can foresee makes the registers it foresaw it from *precise*, which
//! splits states from then on; a register that holds a narrower range at a loop's entry than at its back edge makes it
//! walk the loop again; and inside of a loop, paths that join with different ranges are walked on one by one. So
//! compiled code keeps one rule: **no branch is ever decided by the verifier, and what lives where a loop begins, or
//! where paths join in one, is unknown there.** Then no register is ever precise, any state is as good as another, and
//! each instruction is walked about once.
//!
//! A register is *known* where the verifier may hold a range for it that is narrower than its type: constants, masked,
//! narrow-loaded and shifted values, results of comparisons, and what an earlier comparison refined. A comparison of a
//! known register works on a laundered copy (plus the opaque zero); one of an unknown register works on the register
//! itself, which is known after.

use smallvec::SmallVec;

use super::{
    NumberMap, RegSet,
    links::{Links, constants, copied},
    liveness::Liveness,
};
use crate::ir::{Arg, BinOp, Block, Cell, Cmp, CmpOp, Function, Inst, Op, Reg, Term, Ty, UnOp, Width};

/// Launder the left operand.
pub(crate) const LEFT: u8 = 1;
/// Launder the right operand.
pub(crate) const RIGHT: u8 = 2;

/// Copies of one register: beyond this many, comparisons launder rather than refine them all.
const MAX_CLASS: usize = 16;

/// What each comparison must launder.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    /// By block, for its terminator.
    pub(crate) terms: Vec<u8>,
    /// By block and position, for instructions; absent is none.
    pub(crate) insts: NumberMap<(u32, u32), u8>,
}

struct Analysis<'a> {
    f: &'a Function,
    liveness: &'a Liveness,
    /// Registers that the verifier takes for copies of each other, so that refining one refines them all.
    classes: NumberMap<Reg, Vec<Reg>>,
    /// Known registers mentioned in one block only; those are written before they are read.
    local: Vec<bool>,
    shared: RegSet,
}

/// Decides where to launder, and adds [`Op::Launder`] where loops are entered and where paths join inside of them.
pub(crate) fn decide(f: &mut Function, liveness: &Liveness) -> Decisions {
    let count = liveness.shared.regs.len();
    let mut entry: Vec<RegSet> = vec![RegSet::new(count); f.blocks.len()];
    let mut decisions = Decisions { terms: vec![0; f.blocks.len()], insts: NumberMap::default() };
    // For each block, registers and the instruction before which they are laundered.
    let mut launders: Vec<(usize, Vec<(usize, Reg)>)> = Vec::new();
    let (constant, joins) = (constants(f), joins(f));
    let mut analysis = Analysis {
        f,
        liveness,
        classes: copy_classes(f, &constant),
        local: vec![false; f.regs.len()],
        shared: RegSet::new(count),
    };
    for index in 0..f.blocks.len() {
        let block = &f.blocks[index];
        analysis.shared = std::mem::replace(&mut entry[index], RegSet::new(0));
        let mut added: Vec<(usize, Reg)> = Vec::new();
        if joins[index] {
            added.extend(analysis.forget(&liveness.live_in[index]).map(|reg| (0, reg)));
        }
        let mut links = Links::default();
        for (position, inst) in block.insts.iter().enumerate() {
            links.inst(&inst.op, |reg| constant[reg.0 as usize] && analysis.known(reg));
            let flags = analysis.inst(inst);
            if flags != 0 {
                decisions.insts.insert((index as u32, (position + added.len()) as u32), flags);
            }
            if block.depth > 0 {
                added.extend(analysis.join_inside(inst, flags).map(|reg| (position + 1, reg)));
            }
        }
        let (end, live) = (block.insts.len(), &liveness.live_out[index]);
        let reaches_loop = |number| live.contains(number) && liveness.in_loops.contains(number);
        for reg in links.to_break(|reg| liveness.shared.number(reg).is_some_and(reaches_loop)) {
            analysis.set(reg, false);
            added.push((end, reg));
        }
        if let Term::Jump(to) = block.term
            && to.0 as usize > index
            && f.block(to).header
        {
            added.extend(analysis.forget(live).map(|reg| (end, reg)));
        }
        if !added.is_empty() {
            launders.push((index, added));
        }
        decisions.terms[index] = analysis.term(&block.term, |to, known| {
            // States that come over a back edge are narrower than the header's and end there.
            if to > index {
                entry[to].union(known);
            }
        });
    }
    for (index, added) in launders {
        f.blocks[index].add_launders(added);
    }
    decisions
}

impl Block {
    /// Adds them, each before the instruction of that position.
    fn add_launders(&mut self, added: Vec<(usize, Reg)>) {
        let mut insts = Vec::with_capacity(self.insts.len() + added.len());
        let mut added = added.into_iter().peekable();
        let old = std::mem::take(&mut self.insts);
        let mut offset = old.first().map_or(self.term_offset, |inst| inst.offset);
        for (position, inst) in old.into_iter().map(Some).chain([None]).enumerate() {
            while let Some((_, reg)) = added.next_if(|&(at, _)| at == position) {
                insts.push(Inst { op: Op::Launder { reg }, offset });
            }
            if let Some(inst) = inst {
                offset = inst.offset;
                insts.push(inst);
            }
        }
        self.insts = insts;
    }
}

/// Which blocks inside of loops are come to from several earlier ones.
fn joins(f: &Function) -> Vec<bool> {
    let mut from = vec![0u32; f.blocks.len()];
    for (id, block) in f.blocks() {
        block.term.successors(|to| from[to.0 as usize] += u32::from(to > id));
    }
    f.blocks.iter().zip(from).map(|(block, from)| from > 1 && block.depth > 0 && !block.header).collect()
}

fn copy_classes(f: &Function, constant: &[bool]) -> NumberMap<Reg, Vec<Reg>> {
    fn root(parent: &mut NumberMap<Reg, Reg>, mut reg: Reg) -> Reg {
        while let Some(&next) = parent.get(&reg) {
            if next == reg {
                break;
            }
            if let Some(&over) = parent.get(&next) {
                parent.insert(reg, over);
            }
            reg = next;
        }
        reg
    }
    let mut parent = NumberMap::default();
    for inst in f.blocks.iter().flat_map(|block| &block.insts) {
        let Some((dst, sources)) = copied(&inst.op, |reg| constant[reg.0 as usize]) else { continue };
        for src in sources.into_iter().flatten() {
            parent.entry(dst).or_insert(dst);
            parent.entry(src).or_insert(src);
            let (dst, src) = (root(&mut parent, dst), root(&mut parent, src));
            parent.insert(dst, src);
        }
    }
    let regs: Vec<Reg> = parent.keys().copied().collect();
    let mut by_root: NumberMap<Reg, Vec<Reg>> = NumberMap::default();
    for &reg in &regs {
        let root = root(&mut parent, reg);
        by_root.entry(root).or_default().push(reg);
    }
    let mut classes = NumberMap::default();
    for members in by_root.into_values() {
        for &reg in &members {
            let short: Vec<Reg> = if members.len() > MAX_CLASS { Vec::new() } else { members.clone() };
            classes.insert(reg, short);
        }
    }
    classes
}

impl Analysis<'_> {
    fn known(&self, reg: Reg) -> bool {
        match self.liveness.shared.number(reg) {
            Some(number) => self.shared.contains(number),
            None => self.local[reg.0 as usize],
        }
    }

    fn known_arg(&self, arg: Arg) -> bool {
        arg.reg().is_none_or(|reg| self.known(reg))
    }

    fn set(&mut self, reg: Reg, known: bool) {
        match self.liveness.shared.number(reg) {
            Some(number) if known => self.shared.insert(number),
            Some(number) => self.shared.remove(number),
            None => self.local[reg.0 as usize] = known,
        }
    }

    /// What is known of those that live is to be forgotten: which they are.
    fn forget(&mut self, live: &RegSet) -> impl Iterator<Item = Reg> + use<'_> {
        let known: Vec<usize> = live.iter().filter(|&number| self.shared.contains(number)).collect();
        known.iter().for_each(|&number| self.shared.remove(number));
        known.into_iter().map(|number| self.liveness.shared.regs[number])
    }

    /// An instruction that becomes a branch, both of whose paths go on: what they know differently is to be forgotten.
    fn join_inside(&mut self, inst: &Inst, flags: u8) -> impl Iterator<Item = Reg> + use<> {
        let mut regs = SmallVec::<[Reg; 3]>::new();
        if let Op::Set { dst, cmp } | Op::Select { dst, cmp, .. } = &inst.op {
            regs.push(*dst);
            regs.extend(self.refined(cmp, flags, true, true).into_iter().filter(|reg| reg != dst));
        }
        regs.iter().for_each(|&reg| self.set(reg, false));
        regs.into_iter()
    }

    /// As an operand of that width: a 32-bit register is known to fit in 64 bits.
    fn known_as(&self, ty: Ty, arg: Arg) -> bool {
        arg.reg().is_none_or(|reg| self.known(reg) || (ty == Ty::I64 && self.f.ty(reg) == Ty::I32))
    }

    fn inst(&mut self, inst: &Inst) -> u8 {
        let mut flags = 0;
        match &inst.op {
            Op::Const { dst, .. } => self.set(*dst, true),
            Op::Copy { dst, src } => self.set(*dst, self.known_as(self.f.ty(*dst), Arg::Reg(*src))),
            Op::Bin { op, ty, dst, a, b } => self.set(*dst, self.bin(*op, *ty, *a, *b)),
            Op::Un { op, ty, dst, a } => {
                let known = match (op, ty) {
                    (UnOp::Low32, Ty::I32) => self.known(*a),
                    _ => true,
                };
                self.set(*dst, known);
            }
            Op::Set { dst, cmp } => {
                flags = self.compare(cmp, true, true);
                self.set(*dst, true);
            }
            Op::Select { dst, cmp, a, b } => {
                flags = self.compare(cmp, true, true);
                let known = self.known_arg(*a) || self.known_arg(*b);
                self.set(*dst, known);
            }
            Op::TrapIf { cmp, .. } => flags = self.compare(cmp, false, true),
            Op::Load { width, dst, sign, .. } => self.set(*dst, sign.is_some() || self.narrow(*width, *dst)),
            Op::LoadArea { width, dst, .. } => self.set(*dst, self.narrow(*width, *dst)),
            Op::Get { dst, cell } => {
                let wide =
                    matches!(cell, Cell::Global(_) | Cell::MemoryBytes(_) | Cell::ShadowPointer | Cell::Result(_));
                self.set(*dst, !wide && self.f.ty(*dst) == Ty::I64);
            }
            Op::Call { results, .. } => results.iter().for_each(|&dst| self.set(dst, false)),
            Op::Launder { reg } => self.set(*reg, false),
            Op::Store { .. } | Op::Put { .. } | Op::StoreArea { .. } => {}
        }
        flags
    }

    fn narrow(&self, width: Width, dst: Reg) -> bool {
        !matches!((width, self.f.ty(dst)), (Width::W32, Ty::I32) | (Width::W64, _))
    }

    fn bin(&self, op: BinOp, ty: Ty, a: Reg, b: Arg) -> bool {
        let (known_a, known_b) = (self.known_as(ty, Arg::Reg(a)), self.known_as(ty, b));
        match op {
            // A full range plus anything wraps: it stays full.
            BinOp::Add | BinOp::Sub | BinOp::Xor => known_a && known_b,
            // An even factor leaves low bits that are known to be 0.
            BinOp::Mul => match b {
                Arg::Imm(factor) => known_a || factor & 1 == 0,
                Arg::Reg(_) => known_a || known_b,
            },
            BinOp::Rotl | BinOp::Rotr => known_a,
            BinOp::And | BinOp::Or | BinOp::Shl | BinOp::ShrS | BinOp::ShrU => known_a || known_b,
            BinOp::DivS | BinOp::DivU | BinOp::RemS | BinOp::RemU => true,
        }
    }

    /// What a comparison must launder; after it, marks what it refined on the sides that go on.
    fn compare(&mut self, cmp: &Cmp, holds: bool, fails: bool) -> u8 {
        let flags = self.launder(cmp);
        for reg in self.refined(cmp, flags, holds, fails) {
            self.refine(reg);
        }
        flags
    }

    fn too_many_copies(&self, reg: Reg) -> bool {
        self.classes.get(&reg).is_some_and(Vec::is_empty)
    }

    fn launder(&self, cmp: &Cmp) -> u8 {
        let known = |arg: Arg| match arg {
            Arg::Reg(reg) => self.known_as(cmp.ty, arg) || self.too_many_copies(reg),
            Arg::Imm(_) => true,
        };
        let (a, b) = (known(Arg::Reg(cmp.a)), known(cmp.b));
        let same = cmp.b == Arg::Reg(cmp.a);
        match (cmp.op, cmp.b) {
            _ if same => LEFT,
            (_, Arg::Imm(_)) => u8::from(a) * LEFT,
            // One side that can be anything leaves equality open.
            (CmpOp::Eq | CmpOp::Ne, _) => u8::from(a && b) * LEFT,
            _ => (u8::from(a) * LEFT) | (u8::from(b) * RIGHT),
        }
    }

    /// The registers that a comparison tells the verifier about, where it holds and where it fails.
    fn refined(&self, cmp: &Cmp, flags: u8, holds: bool, fails: bool) -> SmallVec<[Reg; 2]> {
        let direct_a = (flags & LEFT == 0).then_some(cmp.a);
        let direct_b = cmp.b.reg().filter(|_| flags & RIGHT == 0);
        let equality = matches!(cmp.op, CmpOp::Eq | CmpOp::Ne);
        let equal_side = if cmp.op == CmpOp::Eq { holds } else { fails };
        let unequal_side = if cmp.op == CmpOp::Eq { fails } else { holds };
        match cmp.b {
            Arg::Imm(value) if equality => {
                // Unequal to a number in the middle says nothing about a range.
                let boundary = matches!(value, 0 | -1 | i32::MIN | i32::MAX);
                direct_a.into_iter().filter(|_| equal_side || (unequal_side && boundary)).collect()
            }
            Arg::Reg(_) if equality => {
                // Equal: each learns what is known about the other.
                direct_a.into_iter().chain(direct_b).filter(|_| equal_side).collect()
            }
            _ => direct_a.into_iter().chain(direct_b).collect(),
        }
    }

    fn refine(&mut self, reg: Reg) {
        self.set(reg, true);
        if let Some(class) = self.classes.get(&reg).cloned() {
            for other in class {
                self.set(other, true);
            }
        }
    }

    fn term(&mut self, term: &Term, mut leave: impl FnMut(usize, &RegSet)) -> u8 {
        match term {
            Term::Branch { cmp, then, otherwise } => {
                let flags = self.launder(cmp);
                let before = self.shared.clone();
                for reg in self.refined(cmp, flags, true, false) {
                    self.refine(reg);
                }
                leave(then.0 as usize, &self.shared);
                self.shared = before;
                for reg in self.refined(cmp, flags, false, true) {
                    self.refine(reg);
                }
                leave(otherwise.0 as usize, &self.shared);
                flags
            }
            Term::Switch { index, .. } => {
                let flags = u8::from(self.known(*index) || self.too_many_copies(*index)) * LEFT;
                if flags == 0 {
                    self.refine(*index);
                }
                for to in term.next_blocks() {
                    leave(to.0 as usize, &self.shared);
                }
                flags
            }
            _ => {
                term.successors(|to| leave(to.0 as usize, &self.shared));
                0
            }
        }
    }
}
