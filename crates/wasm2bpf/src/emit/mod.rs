//! IR → eBPF, by the discipline that [`crate::analysis::known`] states.
//!
//! r9 is the instance's base, an arena pointer; r0 and r5 are scratch; r1 to r4 and r6 to r8 hold registers. A function
//! takes the base as a 32-bit number in r1 and its parameters in r2 to r5, the rest in its frame; it returns its first
//! result in r0, the rest in the instance's result cells. A trap stores the number of its site in the instance and
//! returns; callers look after each call that can trap.

mod arithmetic;
pub(crate) mod assemble;
mod calls;
mod compare;
pub(crate) mod insn;
mod memory;
pub(crate) mod peephole;
mod rounds;

pub(crate) use rounds::{STEP, wrapper};

use std::collections::{BTreeMap, HashMap};

use crate::{
    Options,
    analysis::known::Decisions,
    ir::{Arg, BlockId, Function, Inst, Op, Reg, Term, TrapKind, Ty},
    layout::{FUEL, FUEL_EMPTY, Layout, TRAP, ZERO},
    module::Module,
    refusal::Limit,
    regalloc::{Allocation, Place},
    trap::TrapSite,
};
use assemble::Code;
use insn::{Assembler, Label, Target, code};

/// Scratch.
const A: u8 = 0;
/// The other scratch.
const B: u8 = 5;
/// The base.
const BASE: u8 = 9;

/// Branches that the verifier has come by and not walked the other side of: it keeps at most 8192
/// (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
const OPEN_BRANCHES: u32 = 8000;

/// Traps are placed out of line up to this many; beyond, in line, where they are walked at once.
const OUT_OF_LINE: usize = 2000;

/// What emission needs to know about other functions.
pub(crate) struct Program<'a> {
    pub(crate) options: &'a Options,
    pub(crate) layout: &'a Layout,
    pub(crate) module: &'a Module,
    pub(crate) functions: &'a HashMap<u32, Callee>,
    /// Whether the last pass is run; without it the code is for printing.
    pub(crate) peephole: bool,
}

/// A function as its callers see it.
#[derive(Clone, Debug)]
pub(crate) struct Callee {
    /// Where its frame starts in the area of frames.
    pub(crate) frame: u32,
    /// Whether it can leave a trap behind.
    pub(crate) traps: bool,
    /// Whether it spends fuel.
    pub(crate) burns: bool,
    /// Its results.
    pub(crate) results: Vec<Ty>,
    /// For an import: what it stands for.
    pub(crate) binding: Option<crate::Binding>,
}

/// A trap out of line.
struct Stub {
    label: Label,
    kind: TrapKind,
    wasm: u32,
}

struct Emitter<'a> {
    f: &'a Function,
    program: &'a Program<'a>,
    alloc: &'a Allocation,
    decisions: &'a Decisions,
    frame: u32,
    asm: Assembler,
    blocks: Vec<Label>,
    /// Blocks that several others go to, loops' headers aside.
    joins: Vec<bool>,
    loops: bool,
    /// How many instructions there were when the scratch was last known to hold the opaque zero.
    zeroed: usize,
    stubs: Vec<Stub>,
    sites: &'a mut Vec<TrapSite>,
    /// Stores the site and returns.
    trap: Label,
    /// Returns: a callee has stored the site.
    propagate: Label,
    propagates: bool,
    in_line: bool,
    /// Whether this is the code of rounds, see [`rounds`].
    step: bool,
    /// Ends of rounds after which a header is next.
    again: BTreeMap<BlockId, Label>,
    current: BlockId,
}

/// Emits one function. `exported` ones do not trust the upper halves of their 32-bit parameters.
pub(crate) fn function(
    f: &Function,
    alloc: &Allocation,
    decisions: &Decisions,
    program: &Program<'_>,
    sites: &mut Vec<TrapSite>,
    exported: bool,
) -> Result<Code, Limit> {
    let mut emitter = Emitter::new(f, alloc, decisions, program, sites);
    emitter.prologue(exported);
    for id in 0..f.blocks.len() as u32 {
        emitter.current = BlockId(id);
        emitter.block(BlockId(id));
    }
    if emitter.step {
        emitter.ends_of_rounds();
    }
    emitter.epilogue();
    emitter.finish_code()
}

impl<'a> Emitter<'a> {
    fn new(
        f: &'a Function,
        alloc: &'a Allocation,
        decisions: &'a Decisions,
        program: &'a Program<'a>,
        sites: &'a mut Vec<TrapSite>,
    ) -> Self {
        let mut asm = Assembler::default();
        let blocks = f.blocks.iter().map(|_| asm.label()).collect();
        let (trap, propagate) = (asm.label(), asm.label());
        let may_trap = f.blocks.iter().flat_map(|block| &block.insts).filter(|inst| can_trap(&inst.op)).count();
        Self {
            f,
            program,
            alloc,
            decisions,
            frame: program.functions.get(&f.index).map_or(0, |callee| callee.frame),
            asm,
            blocks,
            joins: joins(f),
            loops: f.blocks.iter().any(|block| block.header),
            zeroed: usize::MAX,
            stubs: Vec::new(),
            sites,
            trap,
            propagate,
            propagates: false,
            in_line: may_trap > OUT_OF_LINE,
            step: alloc.rounds.is_some(),
            again: BTreeMap::new(),
            current: BlockId(0),
        }
    }

    fn finish_code(self) -> Result<Code, Limit> {
        let mut asm = self.asm;
        if self.program.peephole {
            peephole::run(&mut asm);
        }
        let open = asm.open_branches();
        if open > OPEN_BRANCHES {
            return Err(Limit::Branches { needed: open });
        }
        asm.assemble(self.program.options.isa >= crate::Isa::V4).ok_or(Limit::Complexity)
    }
}

fn joins(f: &Function) -> Vec<bool> {
    let mut predecessors = vec![0u32; f.blocks.len()];
    for block in &f.blocks {
        block.term.successors(|to| predecessors[to.0 as usize] += 1);
    }
    f.blocks.iter().zip(predecessors).map(|(block, count)| count > 1 && !block.header).collect()
}

/// Whether an instruction can end the run itself.
pub(crate) fn can_trap(op: &Op) -> bool {
    matches!(op, Op::Load { .. } | Op::Store { .. } | Op::TrapIf { .. })
}

impl Emitter<'_> {
    fn place(&self, reg: Reg) -> Place {
        self.alloc.places[reg.0 as usize]
    }

    fn machine(&self, reg: Reg) -> Option<u8> {
        match self.place(reg) {
            Place::Machine(machine) => Some(machine),
            _ => None,
        }
    }

    /// The offset from the base of a slot of this function's frame.
    fn slot(&self, offset: u32) -> i32 {
        self.program.layout.slot(self.frame + offset)
    }

    fn slot_of(&self, reg: Reg) -> Option<i32> {
        match self.place(reg) {
            Place::Slot(_) if self.f.fuel == Some(reg) => Some(FUEL),
            Place::Slot(offset) => Some(self.slot(offset)),
            _ => None,
        }
    }

    /// `dst = *(size *)(base + off)`
    fn load_base(&mut self, size: u8, dst: u8, off: i32) {
        match i16::try_from(off) {
            Ok(off) => self.asm.load(size, dst, BASE, off),
            Err(_) => {
                self.asm.mov(dst, BASE);
                self.asm.alu_imm(code::ALU64, code::ADD, dst, off);
                self.asm.load(size, dst, dst, 0);
            }
        }
    }

    /// `*(size *)(base + off) = src`; `scratch` is lost if the offset is far.
    fn store_base(&mut self, size: u8, off: i32, src: u8, scratch: u8) {
        match i16::try_from(off) {
            Ok(off) => self.asm.store(size, BASE, off, src),
            Err(_) => {
                self.asm.mov(scratch, BASE);
                self.asm.alu_imm(code::ALU64, code::ADD, scratch, off);
                self.asm.store(size, scratch, 0, src);
            }
        }
    }

    /// The machine register that holds `reg`, loaded into `scratch` if it lives in a slot.
    fn read(&mut self, reg: Reg, scratch: u8) -> u8 {
        match self.place(reg) {
            Place::Machine(machine) => machine,
            Place::Slot(_) => {
                let slot = self.slot_of(reg).unwrap_or_default();
                self.load_base(self.size_of(reg), scratch, slot);
                scratch
            }
            // Never written on any path that comes here; any number will do, and 0 needs no memory.
            Place::None => {
                self.asm.constant(scratch, 0);
                scratch
            }
        }
    }

    /// The machine register to make `reg` in: its own, or the scratch if it lives in a slot.
    fn target(&self, reg: Reg) -> u8 {
        self.machine(reg).unwrap_or(A)
    }

    /// `machine = from`, for what `reg` holds. Of 32 bits, so that the verifier knows that the upper half is 0 whatever it
    /// came from: a loop must not change more than it is entered with.
    fn move_as(&mut self, reg: Reg, machine: u8, from: u8) {
        match self.f.ty(reg) {
            Ty::I32 if machine != from => self.asm.mov32(machine, from),
            _ => self.asm.mov(machine, from),
        }
    }

    /// How much is read of a cell of 64 bits for what `reg` holds.
    fn size_of(&self, reg: Reg) -> u8 {
        if self.f.ty(reg) == Ty::I32 { code::W } else { code::DW }
    }

    /// Stores what [`Self::target`] gave.
    fn finish(&mut self, reg: Reg, from: u8) {
        match self.place(reg) {
            Place::Machine(machine) => self.move_as(reg, machine, from),
            Place::Slot(_) => {
                let slot = self.slot_of(reg).unwrap_or_default();
                let scratch = if from == A { B } else { A };
                self.store_base(code::DW, slot, from, scratch);
            }
            Place::None => {}
        }
    }

    /// An operand in a machine register.
    fn read_arg(&mut self, arg: Arg, scratch: u8) -> u8 {
        match arg {
            Arg::Reg(reg) => self.read(reg, scratch),
            Arg::Imm(value) => {
                self.asm.constant(scratch, i64::from(value));
                scratch
            }
        }
    }

    fn prologue(&mut self, exported: bool) {
        self.asm.wasm = self.f.blocks.first().and_then(|block| block.insts.first()).map_or(0, |inst| inst.offset);
        if self.step {
            return self.begin_round();
        }
        self.base();
        self.parameters(exported);
        if let Some(fuel) = self.f.fuel.and_then(|fuel| self.machine(fuel)) {
            self.load_base(code::DW, fuel, FUEL);
        }
    }

    /// Makes the instance's base a pointer, from the number in r1.
    fn base(&mut self) {
        let Some(array) = self.program.layout.array else { return self.asm.cast(BASE, 1) };
        self.asm.array(BASE, self.program.layout.header as i32);
        if array.instances > 1 {
            let mask = (u64::from(array.instances) - 1) * array.stride;
            self.asm.alu_imm(code::ALU64, code::AND, 1, mask as i32);
            self.asm.alu(code::ALU64, code::ADD, BASE, 1);
        }
    }

    fn block(&mut self, id: BlockId) {
        let block = self.f.block(id);
        let label = self.blocks[id.0 as usize];
        // Where paths join, the verifier is to compare them once they are equal.
        let forgets = block.insts.iter().take_while(|inst| matches!(inst.op, Op::Launder { .. })).count();
        let joins = self.joins[id.0 as usize];
        if joins && forgets == 0 {
            self.asm.checkpoint();
        }
        self.asm.place(label);
        self.zeroed = usize::MAX;
        if block.spends > 0 {
            self.asm.wasm = block.insts.first().map_or(block.term_offset, |inst| inst.offset);
            self.spend(block.spends);
            if block.header && self.program.layout.array.is_none() {
                let stub = self.stub(TrapKind::KernelLimit);
                self.asm.may_goto(stub);
            }
        }
        for (position, inst) in block.insts.iter().enumerate() {
            self.asm.wasm = inst.offset;
            let flags = self.decisions.insts.get(&(id.0, position as u32)).copied().unwrap_or(0);
            self.inst(inst, flags);
            if joins && position + 1 == forgets {
                self.asm.checkpoint();
            }
        }
        self.asm.wasm = block.term_offset;
        self.term(id, &block.term);
    }

    /// Spends fuel, and traps when there was not as much. One unit cannot miss the number that stands for none, which
    /// spares an instruction; more is compared on a copy, as an inequality tells the verifier about what it compares.
    fn spend(&mut self, units: u32) {
        let Some(fuel) = self.f.fuel else { return };
        let stub = Target::Label(self.stub(TrapKind::Fuel));
        let at = self.read(fuel, A);
        self.asm.alu_imm(code::ALU64, code::ADD, at, -(units as i32));
        self.finish(fuel, at);
        if units == 1 {
            self.asm.push_to(code::JMP | code::JEQ, at, 0, 0, FUEL_EMPTY, stub);
        } else {
            self.asm.mov32(A, at);
            self.asm.push_to(code::JMP32 | code::JSLE, A, 0, 0, FUEL_EMPTY, stub);
        }
    }

    fn inst(&mut self, inst: &Inst, flags: u8) {
        match &inst.op {
            Op::Const { dst, value } => {
                let at = self.target(*dst);
                self.asm.constant(at, *value);
                self.finish(*dst, at);
            }
            Op::Copy { dst, src } => {
                let at = self.target(*dst);
                let from = self.read(*src, at);
                self.move_as(*dst, at, from);
                self.finish(*dst, at);
            }
            Op::Bin { op, ty, dst, a, b } => self.bin(*op, *ty, *dst, *a, *b),
            Op::Un { op, ty, dst, a } => self.un(*op, *ty, *dst, *a),
            Op::Set { dst, cmp } => self.set(*dst, cmp, flags),
            Op::Select { dst, cmp, a, b } => self.select(*dst, cmp, *a, *b, flags),
            Op::Load { width, dst, addr, sign } => self.load(*width, *dst, addr, *sign),
            Op::Store { width, addr, value } => self.store(*width, addr, *value),
            Op::Get { dst, cell } => self.get(*dst, *cell),
            Op::Put { cell, value } => self.put(*cell, *value),
            Op::LoadArea { width, dst, area, index, offset } => self.load_area(*width, *dst, *area, *index, *offset),
            Op::StoreArea { width, area, index, offset, value } => {
                self.store_area(*width, *area, *index, *offset, *value);
            }
            Op::TrapIf { cmp, kind } => self.trap_if(cmp, *kind, flags),
            Op::Call { function, args, results } => self.call(*function, args, results),
            Op::Launder { reg } => {
                // What lives in a slot is unknown whenever it is read.
                if let Some(machine) = self.machine(*reg) {
                    let class = if self.f.ty(*reg) == Ty::I32 { code::ALU } else { code::ALU64 };
                    if self.zeroed != self.asm.insns.len() {
                        self.asm.load(code::DW, A, BASE, ZERO as i16);
                    }
                    self.asm.alu(class, code::ADD, machine, A);
                    self.zeroed = self.asm.insns.len();
                }
            }
        }
    }

    fn term(&mut self, id: BlockId, term: &Term) {
        let next = BlockId(id.0 + 1);
        match term {
            Term::Jump(to) => {
                if *to != next {
                    let to = self.edge(*to);
                    self.asm.jump(to);
                }
            }
            Term::Branch { cmp, then, otherwise } => {
                let flags = self.decisions.terms[id.0 as usize];
                if *then == next {
                    let to = self.edge(*otherwise);
                    self.branch(cmp, flags, to, true);
                } else {
                    let to = self.edge(*then);
                    self.branch(cmp, flags, to, false);
                    if *otherwise != next {
                        let to = self.edge(*otherwise);
                        self.asm.jump(to);
                    }
                }
            }
            Term::Switch { index, targets, default } => {
                let flags = self.decisions.terms[id.0 as usize];
                self.switch(*index, targets, *default, flags);
            }
            Term::Return(values) => self.return_(values),
            Term::Trap(kind) => {
                let stub = self.stub(*kind);
                self.asm.jump(stub);
            }
        }
    }

    /// The place that traps so for the present instruction.
    fn stub(&mut self, kind: TrapKind) -> Label {
        let label = self.asm.label();
        self.stubs.push(Stub { label, kind, wasm: self.asm.wasm });
        label
    }

    /// Stores the site's number; the rest is common.
    fn trap_code(&mut self, kind: TrapKind) {
        self.sites.push(TrapSite { kind, function: self.f.index, offset: self.asm.wasm });
        self.asm.alu_imm(code::ALU, code::MOV, A, self.sites.len() as i32);
        self.asm.jump(self.trap);
    }

    fn epilogue(&mut self) {
        for stub in std::mem::take(&mut self.stubs) {
            self.asm.wasm = stub.wasm;
            self.asm.place(stub.label);
            self.trap_code(stub.kind);
        }
        let trap = self.trap;
        let refers = |target: Label, asm: &Assembler| asm.insns.iter().any(|insn| insn.target == Target::Label(target));
        let traps = refers(trap, &self.asm);
        self.asm.place(trap);
        if traps {
            self.asm.store(code::W, BASE, TRAP as i16, A);
            if let Some(fuel) = self.f.fuel.and_then(|fuel| self.machine(fuel)) {
                self.asm.store(code::DW, BASE, FUEL as i16, fuel);
            }
            // A program that links this function needs the map, whatever else it refers to.
            if self.program.layout.array.is_none() {
                self.asm.arena(1);
            }
        }
        let propagate = self.propagate;
        self.asm.place(propagate);
        if (traps || self.propagates) && self.step {
            self.end_rounds();
        } else if traps || self.propagates {
            self.asm.constant(A, 0);
            self.asm.exit();
        }
    }
}
