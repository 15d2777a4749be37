//! WebAssembly → IR, one pass over a function's operators.
//!
//! The operand stack is followed at compile time: an entry is a constant, a local (read where it is used, copied to a
//! register only if the local is set before that), or a register. A value computed for `local.set` is computed into
//! the local's register; a comparison that a branch consumes becomes the branch's own.

mod bulk;
mod control;
pub(crate) mod indirect;
mod locals;
mod numeric;
mod operators;
pub(crate) mod routines;

use wasmparser::{BinaryReader, FunctionBody, MemArg};

use crate::{
    Binding, Options, Reason, Refusal,
    analysis::liveness::{self, COMPLEXITY},
    ir::{Addr, Arg, Block, BlockId, Check, Cmp, CmpOp, Function, Inst, Op, Reg, Term, TrapKind, Ty},
    module::{Module, Part},
    refusal::Limit,
};
use control::Frame;
use locals::Locals;

/// An entry of the operand stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// A number; 32-bit ones are kept zero-extended.
    Const(i64, Ty),
    /// The local's present value.
    Local(Reg),
    /// A register that nothing else reads.
    Temp(Reg),
}

/// Instructions and registers that may be made of each byte of a function, and of any function: a block of three bytes
/// can have 64 results. Toolchains' code takes less than one.
const MADE_OF_A_BYTE: i64 = 8;
const MADE_OF_ANY: i64 = 1024;

/// More entries of the stack than this are not searched again and again for one local: all are copied at once.
const TALL: usize = 64;

pub(crate) struct Lowering<'m> {
    module: &'m Module,
    /// The one of the linked modules that the function comes from.
    part: &'m Part,
    options: &'m Options,
    routines: &'m mut routines::Routines,
    targets: &'m mut indirect::Targets,
    f: Function,
    locals: Locals,
    /// Whether a register is a stack value with one definition and one use.
    temp: Vec<bool>,
    stack: Vec<Entry>,
    /// The lowest entries of the stack, as many as this, are no locals.
    settled: usize,
    frames: Vec<Frame>,
    /// Blocks in the order they were begun.
    layout: Vec<BlockId>,
    /// Blocks that something jumps to.
    reached: Vec<bool>,
    block: BlockId,
    /// Whether the present code can be reached; when not, how many blocks were opened since.
    dead: Option<u32>,
    depth: u32,
    /// Where the body starts.
    start: u32,
    /// Instructions and registers that may still be made of the body.
    left: i64,
    offset: u32,
}

type Result<T, E = Refusal> = std::result::Result<T, E>;

impl<'m> Lowering<'m> {
    /// Lowers the function of this index, which is not imported.
    pub(crate) fn function(
        module: &'m Module,
        options: &'m Options,
        (routines, targets): (&'m mut routines::Routines, &'m mut indirect::Targets),
        bytes: &[u8],
        index: u32,
    ) -> Result<Function> {
        let signature = module.signature(index);
        let name = module.function_name(index).map_or_else(|| format!("f{index}"), str::to_owned);
        let f = Function {
            index,
            name,
            params: signature.params.len() as u32,
            results: signature.result_types().collect(),
            regs: signature.param_types().collect(),
            blocks: Vec::new(),
            fuel: None,
        };
        let mut this = Self {
            module,
            part: module.part_of(index),
            options,
            routines,
            targets,
            f,
            locals: Locals::default(),
            temp: Vec::new(),
            stack: Vec::new(),
            settled: 0,
            frames: Vec::new(),
            layout: Vec::new(),
            reached: Vec::new(),
            block: BlockId(0),
            dead: None,
            depth: 0,
            start: 0,
            left: 0,
            offset: 0,
        };
        if signature.results.len() > 64 {
            return Err(this.refuse(Reason::Limit(Limit::Signature)));
        }
        let range = module.bodies[index as usize - module.imported_functions.len()].range.clone();
        let body = FunctionBody::new(BinaryReader::new(&bytes[range.clone()], range.start as u64));
        this.start = range.start as u32;
        this.offset = this.start;
        this.left = MADE_OF_ANY + MADE_OF_A_BYTE * range.len() as i64;
        this.run(&body)?;
        this.finish()
    }

    fn run(&mut self, body: &FunctionBody<'_>) -> Result<()> {
        let invalid = |error: wasmparser::BinaryReaderError| Refusal {
            reason: Reason::Invalid(error.message().to_owned()),
            function: None,
            name: None,
            offset: error.offset() as usize,
        };
        self.locals = Locals::new(self.f.params);
        for local in body.get_locals_reader().map_err(invalid)? {
            let (count, ty) = local.map_err(invalid)?;
            self.locals.declare(count, ty.into());
        }
        self.temp = vec![false; self.f.regs.len()];
        if self.f.regs.contains(&Ty::Other) || self.locals.any(Ty::Other) {
            return Err(self.refuse(Reason::Feature("vectors (SIMD)".to_owned())));
        }
        let entry = self.new_block();
        self.begin(entry);
        self.frames.push(Frame::function(self.f.results.clone()));
        let mut reader = body.get_operators_reader().map_err(invalid)?;
        while !reader.eof() {
            let (op, offset) = reader.read_with_offset().map_err(invalid)?;
            self.offset = offset as u32;
            self.operator(&op)?;
            if self.left < 0 {
                return Err(self.refuse(Reason::Limit(Limit::Complexity)));
            }
        }
        Ok(())
    }

    /// Puts the blocks in layout order and leaves out those that nothing reaches.
    fn finish(mut self) -> Result<Function> {
        let mut new_id = vec![None; self.f.blocks.len()];
        let mut blocks = Vec::with_capacity(self.layout.len());
        for (position, &id) in self.layout.iter().enumerate() {
            new_id[id.0 as usize] = Some(BlockId(position as u32));
            let empty = Block { insts: Vec::new(), term: Term::Return(Vec::new()), ..self.f.block(id).clone() };
            blocks.push(std::mem::replace(&mut self.f.blocks[id.0 as usize], empty));
        }
        for block in &mut blocks {
            block.term.successors_mut(|to| *to = new_id[to.0 as usize].unwrap_or(*to));
        }
        if let Some(entry) = blocks.first_mut() {
            let offset = self.start;
            let zero = |dst| Inst { op: Op::Const { dst, value: 0 }, offset };
            entry.insts.splice(0..0, self.locals.made().map(zero));
        }
        self.f.blocks = blocks;
        if liveness::complexity(&self.f) > COMPLEXITY {
            return Err(self.refuse(Reason::Limit(Limit::Complexity)));
        }
        Ok(self.f)
    }

    fn refuse(&self, reason: Reason) -> Refusal {
        let name = self.module.function_name(self.f.index).map(str::to_owned);
        Refusal { reason, function: Some(self.f.index), name, offset: self.offset as usize - self.part.bytes.start }
    }

    fn new_block(&mut self) -> BlockId {
        let id = BlockId(self.f.blocks.len() as u32);
        self.f.blocks.push(Block::new(self.depth));
        self.reached.push(false);
        id
    }

    fn begin(&mut self, block: BlockId) {
        self.layout.push(block);
        self.f.blocks[block.0 as usize].depth = self.depth;
        self.block = block;
    }

    fn current(&mut self) -> &mut Block {
        &mut self.f.blocks[self.block.0 as usize]
    }

    fn push_op(&mut self, op: Op) {
        self.left -= 1;
        let offset = self.offset;
        self.current().insts.push(Inst { op, offset });
    }

    fn terminate(&mut self, term: Term) {
        term.successors(|to| self.reached[to.0 as usize] = true);
        let offset = self.offset;
        let block = self.current();
        block.term = term;
        block.term_offset = offset;
    }

    fn new_reg(&mut self, ty: Ty) -> Reg {
        self.left -= 1;
        self.temp.push(false);
        self.f.reg(ty)
    }

    fn new_temp(&mut self, ty: Ty) -> Reg {
        let reg = self.new_reg(ty);
        self.temp[reg.0 as usize] = true;
        reg
    }

    /// A new register, pushed as the result of the operation that `op` makes of it.
    fn define(&mut self, ty: Ty, op: impl FnOnce(Reg) -> Op) {
        let dst = self.new_temp(ty);
        self.push_op(op(dst));
        self.stack.push(Entry::Temp(dst));
    }

    /// A new register, defined but not pushed.
    fn compute(&mut self, ty: Ty, op: impl FnOnce(Reg) -> Op) -> Reg {
        let dst = self.new_reg(ty);
        self.push_op(op(dst));
        dst
    }

    fn pop(&mut self) -> Entry {
        // Validation guarantees that the entry is there.
        let entry = self.stack.pop().unwrap_or(Entry::Const(0, Ty::I32));
        self.settled = self.settled.min(self.stack.len());
        entry
    }

    /// Takes what is above that height off the stack.
    fn pop_above(&mut self, height: usize) -> Vec<Entry> {
        let entries = self.stack.split_off(height.min(self.stack.len()));
        self.settled = self.settled.min(self.stack.len());
        entries
    }

    fn truncate(&mut self, height: usize) {
        self.stack.truncate(height);
        self.settled = self.settled.min(height);
    }

    /// The register of a local.
    fn local(&mut self, index: u32) -> Reg {
        if let Some(reg) = self.locals.known(index) {
            return reg;
        }
        let reg = self.new_reg(self.locals.ty(index));
        self.locals.make(index, reg);
        reg
    }

    fn entry_ty(&self, entry: Entry) -> Ty {
        match entry {
            Entry::Const(_, ty) => ty,
            Entry::Local(reg) | Entry::Temp(reg) => self.f.ty(reg),
        }
    }

    /// The entry in a register.
    fn reg_of(&mut self, entry: Entry) -> Reg {
        match entry {
            Entry::Const(value, ty) => self.compute(ty, |dst| Op::Const { dst, value }),
            Entry::Local(reg) | Entry::Temp(reg) => reg,
        }
    }

    /// The entry as an operand of arithmetic, a comparison or a store of its own width, which see only the low half of
    /// a 32-bit number.
    fn arg_of(&mut self, entry: Entry) -> Arg {
        match entry {
            Entry::Const(value, Ty::I32) => Arg::Imm(value as i32),
            Entry::Const(value, _) if i32::try_from(value).is_ok() => Arg::Imm(value as i32),
            _ => Arg::Reg(self.reg_of(entry)),
        }
    }

    /// The entry as a whole 64-bit value: a 32-bit number with its top bit set is no immediate then.
    fn value_of(&mut self, entry: Entry) -> Arg {
        match entry {
            Entry::Const(value, _) if i32::try_from(value).is_ok() => Arg::Imm(value as i32),
            _ => Arg::Reg(self.reg_of(entry)),
        }
    }

    fn pop_reg(&mut self) -> Reg {
        let entry = self.pop();
        self.reg_of(entry)
    }

    fn pop_arg(&mut self) -> Arg {
        let entry = self.pop();
        self.arg_of(entry)
    }

    fn pop_value(&mut self) -> Arg {
        let entry = self.pop();
        self.value_of(entry)
    }

    fn pop_values(&mut self, count: usize) -> Vec<Arg> {
        let entries = self.pop_above(self.stack.len().saturating_sub(count));
        entries.into_iter().map(|entry| self.value_of(entry)).collect()
    }

    /// Gives a register the value of an entry that was popped. If the last instruction made that value for the stack,
    /// it makes it for the register instead.
    fn assign(&mut self, dst: Reg, entry: Entry) {
        let op = match entry {
            Entry::Const(value, _) => Op::Const { dst, value },
            Entry::Local(src) if src == dst => return,
            Entry::Local(src) => Op::Copy { dst, src },
            Entry::Temp(src) => {
                let is_temp = self.temp[src.0 as usize];
                let last = self.current().insts.last_mut().and_then(|inst| inst.op.dst_mut());
                match last {
                    Some(last) if *last == src && is_temp => {
                        *last = dst;
                        return;
                    }
                    _ => Op::Copy { dst, src },
                }
            }
        };
        self.push_op(op);
    }

    /// Sets a local: what the stack still holds of its old value is copied before the instruction that makes the new.
    fn set_local(&mut self, local: Reg, entry: Entry) {
        if self.stack[self.settled..].contains(&Entry::Local(local)) {
            let made_last = match entry {
                Entry::Temp(reg) => {
                    self.current().insts.last_mut().and_then(|i| i.op.dst_mut()).is_some_and(|dst| *dst == reg)
                }
                _ => false,
            };
            let insts = &mut self.current().insts;
            let last = if made_last { insts.pop() } else { None };
            if self.stack.len() - self.settled > TALL {
                self.settle_stack();
            } else {
                self.copy_local(local);
            }
            self.current().insts.extend(last);
        }
        self.assign(local, entry);
    }

    /// Copies one local's value, for the entries of the stack that stand for it.
    fn copy_local(&mut self, local: Reg) {
        let ty = self.f.ty(local);
        let saved = self.compute(ty, |dst| Op::Copy { dst, src: local });
        for entry in &mut self.stack[self.settled..] {
            if *entry == Entry::Local(local) {
                *entry = Entry::Temp(saved);
            }
        }
    }

    /// Copies every local that the stack refers to: control flow follows, after which the local may have changed.
    fn settle_stack(&mut self) {
        for index in self.settled..self.stack.len() {
            if let Entry::Local(src) = self.stack[index] {
                let ty = self.f.ty(src);
                let saved = self.compute(ty, |dst| Op::Copy { dst, src });
                self.stack[index] = Entry::Temp(saved);
            }
        }
        self.settled = self.stack.len();
    }

    /// The condition that an entry stands for: the comparison that made it, if that is the last instruction.
    fn condition(&mut self, entry: Entry) -> Cmp {
        if let Entry::Temp(reg) = entry
            && self.temp[reg.0 as usize]
            && let Some(Inst { op: Op::Set { dst, cmp }, .. }) = self.current().insts.last()
            && *dst == reg
        {
            let cmp = *cmp;
            self.current().insts.pop();
            return cmp;
        }
        let a = self.reg_of(entry);
        Cmp { op: CmpOp::Ne, ty: Ty::I32, a, b: Arg::Imm(0) }
    }

    /// A comparison of two popped entries, with a constant on the right if there is one.
    fn compare(&mut self, op: CmpOp, ty: Ty, a: Entry, b: Entry) -> Cmp {
        match (a, b) {
            (Entry::Const(..), Entry::Const(..)) | (_, Entry::Const(..)) => {
                let a = self.reg_of(a);
                Cmp { op, ty, a, b: self.arg_of(b) }
            }
            (Entry::Const(..), _) => {
                let b = self.reg_of(b);
                Cmp { op: op.swapped(), ty, a: b, b: self.arg_of(a) }
            }
            _ => Cmp { op, ty, a: self.reg_of(a), b: self.arg_of(b) },
        }
    }

    fn trap_if(&mut self, cmp: Cmp, kind: TrapKind) {
        self.push_op(Op::TrapIf { cmp, kind });
    }

    fn address(&mut self, entry: Entry, memarg: &MemArg) -> Addr {
        let (memory, offset, check) = (self.part.memories[0], memarg.offset, Check::Needed);
        match entry {
            Entry::Const(value, _) => Addr { memory, base: None, offset: offset + value as u64, check },
            _ => Addr { memory, base: Some(self.reg_of(entry)), offset, check },
        }
    }

    /// Refuses an imported function that is bound to nothing, or to what cannot take its parameters or return its
    /// results.
    fn check_import(&self, function: u32) -> Result<()> {
        if self.module.is_imported(function) {
            let import = &self.module.imported_functions[function as usize];
            let key = (import.module.clone(), import.name.clone());
            let Some(binding) = self.options.imports.get(&key) else {
                return Err(self.refuse(Reason::UnboundImport(key.0, key.1)));
            };
            let signature = self.module.signature(function);
            // A function is given the instance before its arguments.
            let takes = match binding {
                Binding::Helper(_) => 5,
                Binding::Function(_) => 4,
                Binding::Nothing => return Ok(()),
            };
            if signature.params.len() > takes || signature.results.len() > 1 {
                let what = format!("an import with several results or more than {takes} parameters");
                return Err(self.refuse(Reason::Feature(what)));
            }
        }
        Ok(())
    }

    fn call(&mut self, function: u32) -> Result<()> {
        self.check_import(function)?;
        let signature = self.module.signature(function);
        let (params, results) = (signature.params.len(), signature.result_types().collect::<Vec<_>>());
        let args = self.pop_values(params);
        let results: Vec<Reg> = results.into_iter().map(|ty| self.new_temp(ty)).collect();
        self.push_call(function, args, results.clone());
        self.stack.extend(results.into_iter().map(Entry::Temp));
        Ok(())
    }

    /// A call, or the zeros that one of nothing returns.
    fn push_call(&mut self, function: u32, args: Vec<Arg>, results: Vec<Reg>) {
        if self.module.is_imported(function) {
            let import = &self.module.imported_functions[function as usize];
            let binding = self.options.imports.get(&(import.module.clone(), import.name.clone()));
            if binding == Some(&Binding::Nothing) {
                return results.into_iter().for_each(|dst| self.push_op(Op::Const { dst, value: 0 }));
            }
        }
        self.push_op(Op::Call { function, args, results });
    }

    fn call_routine(&mut self, routine: routines::Routine, args: Vec<Arg>, result: Option<Ty>) {
        let function = self.routines.index_of(routine);
        let results: Vec<Reg> = result.into_iter().map(|ty| self.new_temp(ty)).collect();
        self.push_op(Op::Call { function, args, results: results.clone() });
        self.stack.extend(results.into_iter().map(Entry::Temp));
    }
}
