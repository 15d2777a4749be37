//! WebAssembly → IR, one pass over a function's operators.
//!
//! The operand stack is followed at compile time: an entry is a constant, a local (read where it is used, copied to a
//! register only if the local is set before that), or a register. A value computed for `local.set` is computed into
//! the local's register; a comparison that a branch consumes becomes the branch's own.

mod bulk;
mod control;
mod indirect;
mod numeric;
mod operators;
pub(crate) mod routines;

use wasmparser::{BinaryReader, FunctionBody, MemArg};

use crate::{
    Binding, Options, Reason, Refusal,
    ir::{Addr, Arg, Block, BlockId, Check, Cmp, CmpOp, Function, Inst, Op, Reg, Term, TrapKind, Ty},
    module::{Module, Part},
    refusal::Limit,
};
use control::Frame;

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

/// Registers times blocks that one function may have: the analyses keep bit sets of that size.
const COMPLEXITY: u64 = 1 << 28;

pub(crate) struct Lowering<'m> {
    module: &'m Module,
    /// The one of the linked modules that the function comes from.
    part: &'m Part,
    options: &'m Options,
    routines: &'m mut routines::Routines,
    f: Function,
    /// Whether a register is a stack value with one definition and one use.
    temp: Vec<bool>,
    stack: Vec<Entry>,
    frames: Vec<Frame>,
    /// Blocks in the order they were begun.
    layout: Vec<BlockId>,
    /// Blocks that something jumps to.
    reached: Vec<bool>,
    block: BlockId,
    /// Whether the present code can be reached; when not, how many blocks were opened since.
    dead: Option<u32>,
    depth: u16,
    offset: u32,
}

type Result<T, E = Refusal> = std::result::Result<T, E>;

impl<'m> Lowering<'m> {
    /// Lowers the function of this index, which is not imported.
    pub(crate) fn function(
        module: &'m Module,
        options: &'m Options,
        routines: &'m mut routines::Routines,
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
            f,
            temp: Vec::new(),
            stack: Vec::new(),
            frames: Vec::new(),
            layout: Vec::new(),
            reached: Vec::new(),
            block: BlockId(0),
            dead: None,
            depth: 0,
            offset: 0,
        };
        if signature.results.len() > 64 {
            return Err(this.refuse(Reason::Limit(Limit::Signature)));
        }
        let range = module.bodies[index as usize - module.imported_functions.len()].range.clone();
        let body = FunctionBody::new(BinaryReader::new(&bytes[range.clone()], range.start as u64));
        this.offset = range.start as u32;
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
        let params = self.f.regs.len();
        for local in body.get_locals_reader().map_err(invalid)? {
            let (count, ty) = local.map_err(invalid)?;
            if self.f.regs.len() as u64 + u64::from(count) > 1 << 14 {
                return Err(self.refuse(Reason::Limit(Limit::Complexity)));
            }
            self.f.regs.extend(std::iter::repeat_n(Ty::from(ty), count as usize));
        }
        self.temp = vec![false; self.f.regs.len()];
        if self.f.regs.contains(&Ty::Other) {
            return Err(self.refuse(Reason::Feature("vectors (SIMD)".to_owned())));
        }
        let entry = self.new_block();
        self.begin(entry);
        for local in params..self.f.regs.len() {
            self.push_op(Op::Const { dst: Reg(local as u32), value: 0 });
        }
        self.frames.push(Frame::function(self.f.results.clone()));
        let mut reader = body.get_operators_reader().map_err(invalid)?;
        while !reader.eof() {
            let (op, offset) = reader.read_with_offset().map_err(invalid)?;
            self.offset = offset as u32;
            self.operator(&op)?;
            if self.f.regs.len() as u64 * self.f.blocks.len() as u64 > COMPLEXITY {
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
        self.f.blocks = blocks;
        if self.f.blocks.iter().any(|block| block.header) {
            self.f.fuel = Some(self.f.reg(Ty::I64));
        }
        Ok(self.f)
    }

    fn refuse(&self, reason: Reason) -> Refusal {
        let name = self.module.function_name(self.f.index).map(str::to_owned);
        Refusal { reason, function: Some(self.f.index), name, offset: self.offset as usize - self.part.bytes.start }
    }

    fn new_block(&mut self) -> BlockId {
        let id = BlockId(self.f.blocks.len() as u32);
        let term = Term::Trap(TrapKind::Unreachable);
        self.f.blocks.push(Block { insts: Vec::new(), term, term_offset: 0, header: false, depth: self.depth });
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
        self.stack.pop().unwrap_or(Entry::Const(0, Ty::I32))
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
        let entries = self.stack.split_off(self.stack.len().saturating_sub(count));
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
        if self.stack.contains(&Entry::Local(local)) {
            let ty = self.f.ty(local);
            let saved = self.new_temp(ty);
            self.temp[saved.0 as usize] = false;
            let copy = Inst { op: Op::Copy { dst: saved, src: local }, offset: self.offset };
            let made_last = match entry {
                Entry::Temp(reg) => {
                    self.current().insts.last_mut().and_then(|i| i.op.dst_mut()).is_some_and(|dst| *dst == reg)
                }
                _ => false,
            };
            let insts = &mut self.current().insts;
            let at = insts.len() - usize::from(made_last);
            insts.insert(at, copy);
            for entry in &mut self.stack {
                if *entry == Entry::Local(local) {
                    *entry = Entry::Temp(saved);
                }
            }
        }
        self.assign(local, entry);
    }

    /// Copies every local that the stack refers to: control flow follows, after which the local may have changed.
    fn settle_stack(&mut self) {
        for index in 0..self.stack.len() {
            if let Entry::Local(src) = self.stack[index] {
                let ty = self.f.ty(src);
                let saved = self.compute(ty, |dst| Op::Copy { dst, src });
                self.stack[index] = Entry::Temp(saved);
            }
        }
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

    /// Refuses an imported function that is bound to nothing, or to what cannot return its results.
    fn check_import(&self, function: u32) -> Result<()> {
        if self.module.is_imported(function) {
            let import = &self.module.imported_functions[function as usize];
            let key = (import.module.clone(), import.name.clone());
            match self.options.imports.get(&key) {
                None => return Err(self.refuse(Reason::UnboundImport(key.0, key.1))),
                Some(Binding::Helper(_) | Binding::Function(_))
                    if self.module.signature(function).results.len() > 1 =>
                {
                    return Err(self.refuse(Reason::Feature("an import with several results".to_owned())));
                }
                Some(_) => {}
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
        self.push_op(Op::Call { function, args, results: results.clone() });
        self.stack.extend(results.into_iter().map(Entry::Temp));
        Ok(())
    }

    fn call_routine(&mut self, routine: routines::Routine, args: Vec<Arg>, result: Option<Ty>) {
        let function = self.routines.index_of(routine);
        let results: Vec<Reg> = result.into_iter().map(|ty| self.new_temp(ty)).collect();
        self.push_op(Op::Call { function, args, results: results.clone() });
        self.stack.extend(results.into_iter().map(Entry::Temp));
    }
}
