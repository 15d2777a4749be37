//! One operator: what it does to the stack and the IR.

use wasmparser::{MemArg, Operator as O, ValType};

use super::{Entry, Lowering, Result, routines::Routine};
use crate::{
    Reason,
    ir::{Arg, BinOp, Cell, CmpOp, Op, Term, TrapKind, Ty, UnOp, Width},
};

impl Lowering<'_> {
    pub(super) fn operator(&mut self, op: &O<'_>) -> Result<()> {
        if let Some(depth) = self.dead {
            match op {
                O::Block { .. } | O::Loop { .. } | O::If { .. } => self.dead = Some(depth + 1),
                O::Else => self.reach_else(),
                O::End => self.reach_end(),
                _ => {}
            }
            return Ok(());
        }
        if self.control(op)? || self.variable(op)? || self.memory(op)? || self.numeric(op) || self.reference(op)? {
            return Ok(());
        }
        Err(self.refuse(refusal_of(op)))
    }

    fn control(&mut self, op: &O<'_>) -> Result<bool> {
        match op {
            O::Nop => {}
            O::Unreachable => {
                self.terminate(Term::Trap(TrapKind::Unreachable));
                self.dead = Some(0);
            }
            O::Block { blockty } => self.open_block(*blockty)?,
            O::Loop { blockty } => self.open_loop(*blockty)?,
            O::If { blockty } => self.open_if(*blockty)?,
            O::Else => self.reach_else(),
            O::End => self.reach_end(),
            O::Br { relative_depth } => self.branch(*relative_depth),
            O::BrIf { relative_depth } => self.branch_if(*relative_depth),
            O::BrTable { targets } => {
                let depths: Vec<u32> = targets.targets().map_while(|target| target.ok()).collect();
                self.branch_table(&depths, targets.default());
            }
            O::Return => self.return_(),
            O::Call { function_index } => self.call(self.part.functions[*function_index as usize])?,
            O::CallIndirect { type_index, table_index } => {
                self.call_indirect(*type_index, self.part.tables[*table_index as usize])?
            }
            O::Drop => {
                self.pop();
            }
            O::Select | O::TypedSelect { .. } => self.select(),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn select(&mut self) {
        let entry = self.pop();
        let cmp = self.condition(entry);
        let (b, a) = (self.pop(), self.pop());
        let ty = self.entry_ty(a);
        let (a, b) = (self.value_of(a), self.value_of(b));
        self.define(ty, |dst| Op::Select { dst, cmp, a, b });
    }

    fn variable(&mut self, op: &O<'_>) -> Result<bool> {
        match *op {
            O::LocalGet { local_index } => {
                let local = self.local(local_index);
                self.stack.push(Entry::Local(local));
            }
            O::LocalSet { local_index } => {
                let (local, entry) = (self.local(local_index), self.pop());
                self.set_local(local, entry);
            }
            O::LocalTee { local_index } => {
                let (local, entry) = (self.local(local_index), self.pop());
                self.set_local(local, entry);
                self.stack.push(match entry {
                    Entry::Const(..) => entry,
                    _ => Entry::Local(local),
                });
            }
            O::GlobalGet { global_index } => {
                let global_index = self.part.globals[global_index as usize];
                let ty = Ty::from(self.module.globals[global_index as usize].ty);
                if ty == Ty::Other {
                    return Err(self.refuse(Reason::Feature("vectors (SIMD)".to_owned())));
                }
                self.define(ty, |dst| Op::Get { dst, cell: Cell::Global(global_index) });
            }
            O::GlobalSet { global_index } => {
                let global_index = self.part.globals[global_index as usize];
                let value = self.pop_value();
                self.push_op(Op::Put { cell: Cell::Global(global_index), value });
            }
            O::I32Const { value } => self.stack.push(Entry::Const(i64::from(value as u32), Ty::I32)),
            O::I64Const { value } => self.stack.push(Entry::Const(value, Ty::I64)),
            O::F32Const { value } => self.stack.push(Entry::Const(i64::from(value.bits()), Ty::I32)),
            O::F64Const { value } => self.stack.push(Entry::Const(value.bits() as i64, Ty::I64)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn memory(&mut self, op: &O<'_>) -> Result<bool> {
        use Width::{W8, W16, W32, W64};
        let (i32, i64) = (Ty::I32, Ty::I64);
        match op {
            O::I32Load { memarg } | O::F32Load { memarg } => self.load(W32, memarg, i32, false),
            O::I64Load { memarg } | O::F64Load { memarg } => self.load(W64, memarg, i64, false),
            O::I32Load8S { memarg } => self.load(W8, memarg, i32, true),
            O::I32Load8U { memarg } => self.load(W8, memarg, i32, false),
            O::I32Load16S { memarg } => self.load(W16, memarg, i32, true),
            O::I32Load16U { memarg } => self.load(W16, memarg, i32, false),
            O::I64Load8S { memarg } => self.load(W8, memarg, i64, true),
            O::I64Load8U { memarg } => self.load(W8, memarg, i64, false),
            O::I64Load16S { memarg } => self.load(W16, memarg, i64, true),
            O::I64Load16U { memarg } => self.load(W16, memarg, i64, false),
            O::I64Load32S { memarg } => self.load(W32, memarg, i64, true),
            O::I64Load32U { memarg } => self.load(W32, memarg, i64, false),
            O::I32Store { memarg } | O::F32Store { memarg } | O::I64Store32 { memarg } => self.store(W32, memarg),
            O::I64Store { memarg } | O::F64Store { memarg } => self.store(W64, memarg),
            O::I32Store8 { memarg } | O::I64Store8 { memarg } => self.store(W8, memarg),
            O::I32Store16 { memarg } | O::I64Store16 { memarg } => self.store(W16, memarg),
            O::MemorySize { mem } => {
                let cell = Cell::MemoryBytes(self.part.memories[*mem as usize]);
                let bytes = self.compute(i64, |dst| Op::Get { dst, cell });
                let b = Arg::Imm(16);
                self.define(i32, |dst| Op::Bin { op: BinOp::ShrU, ty: i64, dst, a: bytes, b });
            }
            O::MemoryGrow { mem } => {
                let delta = self.pop_value();
                self.call_routine(Routine::MemoryGrow(self.part.memories[*mem as usize]), vec![delta], Some(i32));
            }
            O::MemoryCopy { dst_mem, .. } => {
                let memory = self.part.memories[*dst_mem as usize];
                let cell = Cell::MemoryBytes(memory);
                self.bulk(Routine::MemoryCopy(memory), cell, Some(cell));
            }
            O::MemoryFill { mem } => {
                let memory = self.part.memories[*mem as usize];
                self.bulk(Routine::MemoryFill(memory), Cell::MemoryBytes(memory), None);
            }
            O::MemoryInit { data_index, mem } => {
                let (memory, data) = (self.part.memories[*mem as usize], self.part.data.start + data_index);
                let routine = Routine::MemoryInit(memory, data);
                self.bulk(routine, Cell::MemoryBytes(memory), Some(Cell::DataLength(data)));
            }
            O::DataDrop { data_index } => {
                let cell = Cell::DataLength(self.part.data.start + data_index);
                self.push_op(Op::Put { cell, value: Arg::Imm(0) });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn load(&mut self, width: Width, memarg: &MemArg, ty: Ty, signed: bool) {
        let entry = self.pop();
        let addr = self.address(entry, memarg);
        self.define(ty, |dst| Op::Load { width, dst, addr, sign: signed.then_some(ty) });
    }

    fn store(&mut self, width: Width, memarg: &MemArg) {
        let value = self.pop();
        let value = match (width, value) {
            // Narrow stores see the low bits only.
            (Width::W8 | Width::W16 | Width::W32, Entry::Const(value, _)) => Arg::Imm(value as i32),
            _ => self.arg_of(value),
        };
        let entry = self.pop();
        let addr = self.address(entry, memarg);
        self.push_op(Op::Store { width, addr, value });
    }

    fn reference(&mut self, op: &O<'_>) -> Result<bool> {
        match *op {
            O::RefNull { .. } => self.stack.push(Entry::Const(0, Ty::I32)),
            O::RefFunc { function_index } => {
                let function = self.part.functions[function_index as usize];
                self.stack.push(Entry::Const(i64::from(function) + 1, Ty::I32));
            }
            O::RefIsNull => {
                let a = self.pop_reg();
                let cmp = crate::ir::Cmp { op: CmpOp::Eq, ty: Ty::I32, a, b: Arg::Imm(0) };
                self.define(Ty::I32, |dst| Op::Set { dst, cmp });
            }
            O::TableGet { table } => self.table_get(self.part.tables[table as usize]),
            O::TableSet { table } => self.table_set(self.part.tables[table as usize]),
            O::TableSize { table } => {
                let cell = Cell::TableSize(self.part.tables[table as usize]);
                self.define(Ty::I32, |dst| Op::Get { dst, cell });
            }
            O::TableGrow { table } => {
                let (delta, value) = (self.pop_value(), self.pop_value());
                self.call_routine(
                    Routine::TableGrow(self.part.tables[table as usize]),
                    vec![value, delta],
                    Some(Ty::I32),
                );
            }
            O::TableFill { table } => {
                let table = self.part.tables[table as usize];
                self.bulk(Routine::TableFill(table), Cell::TableSize(table), None);
            }
            O::TableCopy { dst_table, src_table } => {
                let (to, from) = (self.part.tables[dst_table as usize], self.part.tables[src_table as usize]);
                self.bulk(Routine::TableCopy(to, from), Cell::TableSize(to), Some(Cell::TableSize(from)));
            }
            O::TableInit { elem_index, table } => {
                let (to, from) = (self.part.tables[table as usize], self.part.elements.start + elem_index);
                self.bulk(Routine::TableInit(to, from), Cell::TableSize(to), Some(Cell::ElementLength(from)));
            }
            O::ElemDrop { elem_index } => {
                let cell = Cell::ElementLength(self.part.elements.start + elem_index);
                self.push_op(Op::Put { cell, value: Arg::Imm(0) });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) fn un(&mut self, op: UnOp, ty: Ty) {
        let a = self.pop_reg();
        self.define(ty, |dst| Op::Un { op, ty, dst, a });
    }
}

/// Why an operator that nothing handles is refused.
fn refusal_of(op: &O<'_>) -> Reason {
    if let O::TypedSelect { ty: ValType::V128 } = op {
        return Reason::Feature("vectors (SIMD)".to_owned());
    }
    let name = super::numeric::float_name(op);
    if let Some(name) = name {
        return Reason::Float(name);
    }
    let text = format!("{op:?}");
    let word: String = text.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
    let vector = ["V128", "I8x16", "I16x8", "I32x4", "I64x2", "F32x4", "F64x2"].iter().any(|p| word.starts_with(p));
    Reason::Feature(if vector { "vectors (SIMD)".to_owned() } else { word })
}
