//! Blocks, loops and branches.

use wasmparser::BlockType;

use super::{Entry, Lowering, Result};
use crate::{
    Reason,
    ir::{Arg, BlockId, Cmp, Op, Reg, Term, Ty},
    refusal::Limit,
};

/// What kind of construct a frame stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Function,
    Block,
    Loop,
    /// `if` whose `else` has not been met: the block to begin there.
    If(BlockId),
    /// Opened in dead code: nothing was made for it.
    Else,
}

/// An open construct.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    kind: Kind,
    /// Where a branch to it goes: the header of a loop, the end of the others.
    target: BlockId,
    end: BlockId,
    /// The registers that a branch to it fills.
    inputs: Vec<Reg>,
    /// The registers that hold its results after its end.
    results: Vec<Reg>,
    result_types: Vec<Ty>,
    /// Stack height below its parameters.
    height: usize,
    /// Parameters, kept for an `else`.
    params: Vec<Entry>,
}

impl Frame {
    pub(super) fn function(result_types: Vec<Ty>) -> Self {
        let none = BlockId(u32::MAX);
        let (inputs, results, params) = (Vec::new(), Vec::new(), Vec::new());
        Self { kind: Kind::Function, target: none, end: none, inputs, results, result_types, height: 0, params }
    }
}

impl Lowering<'_> {
    /// Parameters' and results' types. Each block has registers for them, so that they are few.
    fn block_types(&self, ty: BlockType) -> Result<(Vec<Ty>, Vec<Ty>)> {
        Ok(match ty {
            BlockType::Empty => (Vec::new(), Vec::new()),
            BlockType::Type(ty) => (Vec::new(), vec![ty.into()]),
            BlockType::FuncType(index) => {
                let signature = &self.module.types[self.part.ty(index)];
                if signature.params.len().max(signature.results.len()) > 64 {
                    return Err(self.refuse(Reason::Limit(Limit::Signature)));
                }
                (signature.param_types().collect(), signature.result_types().collect())
            }
        })
    }

    fn new_regs(&mut self, types: &[Ty]) -> Vec<Reg> {
        types.iter().map(|&ty| self.new_reg(ty)).collect()
    }

    pub(super) fn open_block(&mut self, ty: BlockType) -> Result<()> {
        let (params, result_types) = self.block_types(ty)?;
        self.settle_stack();
        let end = self.new_block();
        let results = self.new_regs(&result_types);
        let height = self.stack.len() - params.len();
        let inputs = results.clone();
        let kind = Kind::Block;
        self.frames.push(Frame { kind, target: end, end, inputs, results, result_types, height, params: Vec::new() });
        Ok(())
    }

    pub(super) fn open_loop(&mut self, ty: BlockType) -> Result<()> {
        let (params, result_types) = self.block_types(ty)?;
        self.settle_stack();
        let end = self.new_block();
        let results = self.new_regs(&result_types);
        let inputs = self.new_regs(&params);
        let height = self.stack.len() - params.len();
        self.fill(&inputs);
        self.depth += 1;
        let header = self.new_block();
        self.terminate(Term::Jump(header));
        self.begin(header);
        self.stack.extend(inputs.iter().map(|&reg| Entry::Temp(reg)));
        let kind = Kind::Loop;
        self.frames.push(Frame {
            kind,
            target: header,
            end,
            inputs,
            results,
            result_types,
            height,
            params: Vec::new(),
        });
        Ok(())
    }

    pub(super) fn open_if(&mut self, ty: BlockType) -> Result<()> {
        let (params, result_types) = self.block_types(ty)?;
        let entry = self.pop();
        // The condition is taken last so that it can be the branch's own; copies must not come between.
        let cmp = self.condition_after_settling(entry);
        let end = self.new_block();
        let results = self.new_regs(&result_types);
        let height = self.stack.len() - params.len();
        let (then, otherwise) = (self.new_block(), self.new_block());
        self.terminate(Term::Branch { cmp, then, otherwise });
        self.begin(then);
        let kept = self.stack[height..].to_vec();
        let inputs = results.clone();
        let kind = Kind::If(otherwise);
        self.frames.push(Frame { kind, target: end, end, inputs, results, result_types, height, params: kept });
        Ok(())
    }

    fn condition_after_settling(&mut self, entry: Entry) -> Cmp {
        let cmp = self.condition(entry);
        self.settle_stack();
        cmp
    }

    pub(super) fn reach_else(&mut self) {
        if let Some(depth) = self.dead {
            if depth > 0 {
                return;
            }
        } else {
            self.leave_to_end();
        }
        let Some(frame) = self.frames.last_mut() else { return };
        let Kind::If(otherwise) = frame.kind else { return };
        frame.kind = Kind::Else;
        let (height, params) = (frame.height, frame.params.clone());
        self.truncate(height);
        self.stack.extend(params);
        self.dead = None;
        self.begin(otherwise);
    }

    pub(super) fn reach_end(&mut self) {
        if let Some(depth) = self.dead {
            if depth > 0 {
                self.dead = Some(depth - 1);
                return;
            }
        } else if self.frames.len() == 1 {
            let count = self.frames[0].result_types.len();
            let values = self.pop_values(count);
            self.terminate(Term::Return(values));
        } else {
            self.leave_to_end();
        }
        let Some(frame) = self.frames.pop() else { return };
        if let Kind::If(otherwise) = frame.kind {
            // No else: its parameters are its results.
            self.truncate(frame.height);
            self.stack.extend(&frame.params);
            self.begin(otherwise);
            self.fill(&frame.results);
            self.terminate(Term::Jump(frame.end));
        }
        if frame.kind == Kind::Function {
            return;
        }
        if frame.kind == Kind::Loop {
            self.depth -= 1;
        }
        self.truncate(frame.height);
        if !self.reached[frame.end.0 as usize] {
            self.dead = Some(0);
            return;
        }
        self.dead = None;
        self.begin(frame.end);
        self.stack.extend(frame.results.iter().map(|&reg| Entry::Temp(reg)));
    }

    /// Falls through to the end of the innermost frame.
    fn leave_to_end(&mut self) {
        let Some(frame) = self.frames.last() else { return };
        let (results, end) = (frame.results.clone(), frame.end);
        self.fill(&results);
        self.terminate(Term::Jump(end));
    }

    /// Moves the top of the stack to `regs`, and pops it. The registers may be read by the entries themselves (a loop
    /// whose parameters are exchanged), so that several go through fresh ones.
    fn fill(&mut self, regs: &[Reg]) {
        let entries = self.pop_above(self.stack.len() - regs.len());
        self.fill_from(regs, &entries);
    }

    fn fill_from(&mut self, regs: &[Reg], entries: &[Entry]) {
        if let ([reg], [entry]) = (regs, entries) {
            self.assign_input(*reg, *entry);
            return;
        }
        let overlaps = entries.iter().any(|entry| match entry {
            Entry::Temp(reg) | Entry::Local(reg) => regs.contains(reg),
            Entry::Const(..) => false,
        });
        if !overlaps {
            for (&reg, &entry) in regs.iter().zip(entries) {
                self.assign_input(reg, entry);
            }
            return;
        }
        let copies: Vec<Reg> = entries
            .iter()
            .map(|&entry| {
                let src = self.reg_of(entry);
                let ty = self.f.ty(src);
                self.compute(ty, |dst| Op::Copy { dst, src })
            })
            .collect();
        for (&dst, src) in regs.iter().zip(copies) {
            self.push_op(Op::Copy { dst, src });
        }
    }

    fn assign_input(&mut self, reg: Reg, entry: Entry) {
        if entry != Entry::Temp(reg) {
            self.assign(reg, entry);
        }
    }

    fn frame_at(&self, depth: u32) -> usize {
        self.frames.len() - 1 - depth as usize
    }

    /// Goes to a label with the values on top of the stack, which are popped.
    fn go(&mut self, depth: u32) {
        let index = self.frame_at(depth);
        if index == 0 {
            let count = self.frames[0].result_types.len();
            let values = self.pop_values(count);
            self.terminate(Term::Return(values));
            return;
        }
        let (inputs, target) = (self.frames[index].inputs.clone(), self.frames[index].target);
        self.fill(&inputs);
        self.mark_back_edge(index);
        self.terminate(Term::Jump(target));
    }

    fn mark_back_edge(&mut self, index: usize) {
        if self.frames[index].kind == Kind::Loop {
            let target = self.frames[index].target;
            self.f.blocks[target.0 as usize].header = true;
        }
    }

    pub(super) fn branch(&mut self, depth: u32) {
        self.go(depth);
        self.dead = Some(0);
    }

    pub(super) fn branch_if(&mut self, depth: u32) {
        let entry = self.pop();
        let cmp = self.condition(entry);
        let then = self.edge_to(depth);
        let next = self.new_block();
        let from = self.block;
        self.terminate(Term::Branch { cmp, then, otherwise: next });
        self.fill_edge(depth, then, from);
        self.begin(next);
    }

    /// The block that a conditional branch to a label goes to: the label's own if no values are passed.
    fn edge_to(&mut self, depth: u32) -> BlockId {
        let index = self.frame_at(depth);
        if index != 0 && self.frames[index].inputs.is_empty() {
            self.mark_back_edge(index);
            return self.frames[index].target;
        }
        self.new_block()
    }

    /// Fills the block that [`Self::edge_to`] made, with the stack as it is; the stack stays.
    fn fill_edge(&mut self, depth: u32, edge: BlockId, from: BlockId) {
        let index = self.frame_at(depth);
        if index != 0 && self.frames[index].target == edge {
            return;
        }
        // What the label takes is popped, the rest of the stack is left alone.
        let taken = if index == 0 { self.frames[0].result_types.len() } else { self.frames[index].inputs.len() };
        let top = self.stack[self.stack.len().saturating_sub(taken)..].to_vec();
        let settled = self.settled;
        self.begin(edge);
        self.go(depth);
        self.stack.extend(top);
        self.settled = settled;
        self.block = from;
    }

    pub(super) fn branch_table(&mut self, depths: &[u32], default: u32) {
        let entry = self.pop();
        let index = self.reg_of(entry);
        let mut edges: Vec<(u32, BlockId)> = Vec::new();
        let mut by_depth = std::collections::HashMap::new();
        let mut targets = Vec::with_capacity(depths.len());
        for &depth in depths.iter().chain([&default]) {
            let edge = *by_depth.entry(depth).or_insert_with(|| {
                let edge = self.edge_to(depth);
                edges.push((depth, edge));
                edge
            });
            targets.push(edge);
        }
        let default = targets.pop().unwrap_or(self.block);
        let from = self.block;
        self.terminate(Term::Switch { index, targets, default });
        for (depth, edge) in edges {
            self.fill_edge(depth, edge, from);
        }
        self.dead = Some(0);
    }

    pub(super) fn return_(&mut self) {
        let count = self.frames[0].result_types.len();
        let values: Vec<Arg> = self.pop_values(count);
        self.terminate(Term::Return(values));
        self.dead = Some(0);
    }
}
