//! Loops without `may_goto`: kernels before 6.9 walk every round of a loop, except one that `bpf_loop` (5.17) makes.
//!
//! A function with loops becomes two. What others call stores the parameters and calls `bpf_loop` with the second, which
//! runs from a loop's header to the next jump back, or to the return: there it notes the header, and returns 0 to be
//! called again; 1 ends it. What lives across a jump back lives in slots of the frame, so that a round begins with
//! nothing in registers.

use super::{A, B, BASE, Code, Emitter, Label, Program, Target, code};
use crate::{
    ir::{BlockId, Function, Reg, TrapKind, Ty},
    layout::SELF,
    refusal::Limit,
    regalloc::{Allocation, REGISTER_PARAMS},
    trap::TrapSite,
};

/// The index of a function's rounds: its own, with this bit.
pub(crate) const STEP: u32 = 1 << 31;

/// `bpf_loop` (`enum bpf_func_id`).
const BPF_LOOP: i32 = 181;
/// The rounds that it makes at most (`BPF_MAX_LOOPS`).
const MAX_ROUNDS: i32 = 1 << 23;
/// What the frame's cell holds when the function has returned or trapped; a header's number while it runs.
const DONE: i32 = -1;

/// Emits what others call of a function with loops.
pub(crate) fn wrapper(
    f: &Function,
    alloc: &Allocation,
    program: &Program<'_>,
    sites: &mut Vec<TrapSite>,
    exported: bool,
) -> Result<Code, Limit> {
    let decisions = Default::default();
    let mut emitter = Emitter::new(f, alloc, &decisions, program, sites);
    emitter.step = false;
    emitter.wrap(exported);
    emitter.finish_code()
}

impl Emitter<'_> {
    /// The cell that says where the next round begins, and the one for the result.
    fn cells(&self) -> (i32, i32) {
        let at = self.alloc.rounds.unwrap_or_default();
        (self.slot(at), self.slot(at + 8))
    }

    fn wrap(&mut self, exported: bool) {
        self.asm.wasm = self.f.blocks.first().map_or(0, |block| block.term_offset);
        self.base();
        for param in (0..self.f.params.min(REGISTER_PARAMS)).filter(|&p| self.alloc.live_params[p as usize]) {
            let from = param as u8 + 2;
            if exported && self.f.ty(Reg(param)) == Ty::I32 {
                self.asm.mov32(from, from);
            }
            self.finish(Reg(param), from);
        }
        let (next, result) = self.cells();
        self.asm.constant(B, 0);
        self.store_base(code::W, next, B, A);
        self.asm.load(code::W, A, BASE, SELF as i16);
        self.asm.store(code::DW, 10, -8, A);
        self.asm.constant(1, i64::from(MAX_ROUNDS));
        self.asm.function(2, self.f.index | STEP);
        self.asm.mov(3, 10);
        self.asm.alu_imm(code::ALU64, code::ADD, 3, -8);
        self.asm.constant(4, 0);
        self.asm.push(code::JMP | code::CALL, 0, 0, 0, BPF_LOOP);
        self.load_base(code::W, A, next);
        let stub = self.stub(TrapKind::KernelLimit);
        self.asm.push_to(code::JMP32 | code::JNE, A, 0, 0, DONE, Target::Label(stub));
        if self.f.results.is_empty() {
            self.asm.constant(A, 0);
        } else {
            self.load_base(code::DW, A, result);
        }
        self.asm.exit();
        self.epilogue();
    }

    /// The beginning of a round: the base comes through the caller's stack, the place to go on from the frame.
    pub(super) fn begin_round(&mut self) {
        self.asm.load(code::DW, 1, 2, 0);
        self.base();
        let (next, _) = self.cells();
        self.load_base(code::W, A, next);
        let headers = self.f.blocks().filter(|(_, block)| block.header).map(|(id, _)| id);
        let mut runs = vec![(0, self.blocks[0])];
        runs.extend(headers.zip(1..).map(|(id, number)| (number, self.blocks[id.0 as usize])));
        self.search(&runs);
    }

    /// Where a jump to a block goes: back to a header by way of the next round.
    pub(super) fn edge(&mut self, to: BlockId) -> Label {
        // What stands earlier and is no header is the exit of merged functions: nothing goes round through it.
        if !self.step || to > self.current || !self.f.block(to).header {
            return self.blocks[to.0 as usize];
        }
        let asm = &mut self.asm;
        *self.again.entry(to).or_insert_with(|| asm.label())
    }

    /// The ends of rounds that are followed by another.
    pub(super) fn ends_of_rounds(&mut self) {
        let (next, _) = self.cells();
        let headers: Vec<BlockId> = self.f.blocks().filter(|(_, block)| block.header).map(|(id, _)| id).collect();
        for (header, label) in std::mem::take(&mut self.again) {
            self.asm.place(label);
            let number = headers.partition_point(|&id| id < header) as i64 + 1;
            self.asm.constant(B, number);
            self.store_base(code::W, next, B, A);
            self.asm.constant(A, 0);
            self.asm.exit();
        }
    }

    /// The end of the last round.
    pub(super) fn end_rounds(&mut self) {
        let (next, _) = self.cells();
        self.asm.constant(B, i64::from(DONE));
        self.store_base(code::W, next, B, A);
        self.asm.constant(A, 1);
        self.asm.exit();
    }

    /// The last round, with the first result in a register.
    pub(super) fn return_from_round(&mut self, value: Option<u8>) {
        if let Some(from) = value {
            let (_, result) = self.cells();
            self.store_base(code::DW, result, from, if from == A { B } else { A });
        }
        self.end_rounds();
    }
}
