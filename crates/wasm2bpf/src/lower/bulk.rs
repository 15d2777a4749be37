//! Bulk memory, and tables element by element.

use super::{Lowering, routines::Routine};
use crate::ir::{Area, Arg, BinOp, Cell, Cmp, CmpOp, Op, Reg, TrapKind, Ty, Width};

impl Lowering<'_> {
    /// An instruction of three operands (to; from or a value; how many) and no result: the ranges are checked here,
    /// where the trap belongs, and a routine does the rest.
    pub(super) fn bulk(&mut self, routine: Routine, to: Cell, from: Option<Cell>) {
        let args = self.pop_values(3);
        let kind = if matches!(to, Cell::MemoryBytes(_)) { TrapKind::MemoryBounds } else { TrapKind::TableBounds };
        if let Some(from) = from {
            self.check_range(args[1], args[2], from, kind);
        }
        self.check_range(args[0], args[2], to, kind);
        self.call_routine(routine, args, None);
    }

    /// Traps unless `start + length` is at most what `limit` holds; both are 32 bits, the sum is 64.
    fn check_range(&mut self, start: Arg, length: Arg, limit: Cell, kind: TrapKind) {
        let ty = Ty::I64;
        let start = self.arg_in_reg(start);
        let end = self.compute(ty, |dst| Op::Bin { op: BinOp::Add, ty, dst, a: start, b: length });
        let limit = self.compute(ty, |dst| Op::Get { dst, cell: limit });
        self.trap_if(Cmp { op: CmpOp::GtU, ty, a: end, b: Arg::Reg(limit) }, kind);
    }

    fn arg_in_reg(&mut self, arg: Arg) -> Reg {
        match arg {
            Arg::Reg(reg) => reg,
            Arg::Imm(value) => self.compute(Ty::I64, |dst| Op::Const { dst, value: i64::from(value) }),
        }
    }

    /// Traps unless `index` is below the table's size, and scales it to bytes.
    pub(super) fn table_index(&mut self, table: u32, index: Reg, kind: TrapKind) -> Reg {
        let size = self.compute(Ty::I32, |dst| Op::Get { dst, cell: Cell::TableSize(table) });
        self.trap_if(Cmp { op: CmpOp::GeU, ty: Ty::I32, a: index, b: Arg::Reg(size) }, kind);
        self.compute(Ty::I32, |dst| Op::Bin { op: BinOp::Shl, ty: Ty::I32, dst, a: index, b: Arg::Imm(2) })
    }

    pub(super) fn table_get(&mut self, table: u32) {
        let index = self.pop_reg();
        let index = self.table_index(table, index, TrapKind::TableBounds);
        let area = Area::Table(table);
        self.define(Ty::I32, |dst| Op::LoadArea { width: Width::W32, dst, area, index, offset: 0 });
    }

    pub(super) fn table_set(&mut self, table: u32) {
        let value = self.pop_arg();
        let index = self.pop_reg();
        let index = self.table_index(table, index, TrapKind::TableBounds);
        self.push_op(Op::StoreArea { width: Width::W32, area: Area::Table(table), index, offset: 0, value });
    }
}
