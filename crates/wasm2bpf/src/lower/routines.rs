//! Routines that compiled modules call: what bulk memory and tables do after their ranges were checked.

use std::collections::HashMap;

use crate::{
    Options, Target,
    ir::{Area, Arg, BinOp, Block, BlockId, Cell, Cmp, CmpOp, Function, Inst, Op, ROUTINES, Reg, Term, Ty, Width},
    module::Module,
};

/// What a routine does. Segments and tables are fixed at compile time, as their instructions have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Routine {
    /// (to, from, bytes)
    MemoryCopy(u32),
    /// (to, byte, bytes)
    MemoryFill(u32),
    /// (to, from, bytes), of a memory from a data segment
    MemoryInit(u32, u32),
    /// (pages) → pages before, or −1
    MemoryGrow(u32),
    /// (to, from, entries)
    TableCopy(u32, u32),
    /// (to, from, entries), of a table from an element segment
    TableInit(u32, u32),
    /// (to, value, entries)
    TableFill(u32),
    /// (value, entries) → entries before, or −1
    TableGrow(u32),
}

/// The routines that a module uses, in the order of their first use.
#[derive(Debug, Default)]
pub(crate) struct Routines {
    used: Vec<Routine>,
    numbers: HashMap<Routine, u32>,
}

impl Routines {
    /// The function index that stands for a routine.
    pub(crate) fn index_of(&mut self, routine: Routine) -> u32 {
        let used = &mut self.used;
        let number = self.numbers.entry(routine).or_insert_with(|| {
            used.push(routine);
            used.len() as u32 - 1
        });
        ROUTINES + *number
    }

    /// The routine of that function index, as IR.
    pub(crate) fn build(&self, index: u32, module: &Module, options: &Options) -> Option<Function> {
        let routine = *self.used.get(index.checked_sub(ROUTINES)? as usize)?;
        Some(Builder::build(index, routine, module, options))
    }
}

/// Pages that memories may have: in an array never more than 16, which leaves room for the rest.
pub(crate) fn granted_pages(options: &Options) -> u64 {
    let most = if options.target == Target::Array { 16 } else { 32768 };
    u64::from(options.max_memory_pages.min(most))
}

/// How far memory may grow, in pages.
pub(crate) fn memory_limit(module: &Module, options: &Options, memory: u32) -> u64 {
    let granted = granted_pages(options);
    module.memories.get(memory as usize).map_or(0, |memory| memory.max.unwrap_or(65536).min(granted).max(memory.min))
}

/// How far a table may grow, in entries.
pub(crate) fn table_limit(module: &Module, options: &Options, table: u32) -> u64 {
    let granted = u64::from(options.max_table_entries);
    module.tables.get(table as usize).map_or(0, |table| table.max.unwrap_or(granted).min(granted).max(table.min))
}

struct Builder {
    f: Function,
    block: BlockId,
}

impl Builder {
    fn build(index: u32, routine: Routine, module: &Module, options: &Options) -> Function {
        let (name, params, grows) = match routine {
            Routine::MemoryCopy(_) => ("memory.copy".to_owned(), 3, false),
            Routine::MemoryFill(_) => ("memory.fill".to_owned(), 3, false),
            Routine::MemoryInit(_, data) => (format!("memory.init {data}"), 3, false),
            Routine::MemoryGrow(_) => ("memory.grow".to_owned(), 1, true),
            Routine::TableCopy(to, from) => (format!("table.copy {to} {from}"), 3, false),
            Routine::TableInit(table, elements) => (format!("table.init {table} {elements}"), 3, false),
            Routine::TableFill(table) => (format!("table.fill {table}"), 3, false),
            Routine::TableGrow(table) => (format!("table.grow {table}"), 2, true),
        };
        let results = if grows { vec![Ty::I32] } else { Vec::new() };
        let regs = vec![Ty::I32; params as usize];
        let f = Function { index, name, params, results, regs, blocks: Vec::new(), fuel: None };
        let mut b = Self { f, block: BlockId(0) };
        b.begin();
        match routine {
            Routine::MemoryCopy(memory) => b.copy(Area::Memory(memory), Area::Memory(memory), true),
            Routine::MemoryInit(memory, data) => {
                b.copy_up(Area::Memory(memory), Area::Data(data), &[Width::W64, Width::W8]);
            }
            Routine::MemoryFill(memory) => b.memory_fill(Area::Memory(memory)),
            Routine::MemoryGrow(memory) => {
                b.memory_grow(Cell::MemoryBytes(memory), memory_limit(module, options, memory));
            }
            Routine::TableCopy(to, from) => {
                b.scale(&[0, 1, 2]);
                b.copy(Area::Table(to), Area::Table(from), false);
            }
            Routine::TableInit(table, elements) => {
                b.scale(&[0, 1, 2]);
                b.copy_up(Area::Table(table), Area::Elements(elements), &[Width::W32]);
            }
            Routine::TableFill(table) => {
                b.scale(&[0, 2]);
                b.fill(Area::Table(table), &[(Width::W32, Reg(1))]);
                b.end(Term::Return(Vec::new()));
            }
            Routine::TableGrow(table) => b.table_grow(table, table_limit(module, options, table)),
        }
        b.f
    }

    fn begin(&mut self) -> BlockId {
        let id = BlockId(self.f.blocks.len() as u32);
        self.f.blocks.push(Block::new(0));
        self.block = id;
        id
    }

    fn push(&mut self, op: Op) {
        self.f.blocks[self.block.0 as usize].insts.push(Inst { op, offset: 0 });
    }

    fn end(&mut self, term: Term) {
        self.f.blocks[self.block.0 as usize].term = term;
    }

    fn bin(&mut self, op: BinOp, ty: Ty, dst: Reg, a: Reg, b: Arg) {
        self.push(Op::Bin { op, ty, dst, a, b });
    }

    /// Entries to bytes.
    fn scale(&mut self, params: &[u32]) {
        for &param in params {
            self.bin(BinOp::Shl, Ty::I32, Reg(param), Reg(param), Arg::Imm(2));
        }
    }

    /// `while length >= width { step }`, then goes on in a new block.
    fn chunks(&mut self, width: Width, step: impl FnOnce(&mut Self)) {
        let header = BlockId(self.f.blocks.len() as u32);
        self.end(Term::Jump(header));
        self.begin();
        self.f.blocks[header.0 as usize].header = true;
        self.f.blocks[header.0 as usize].depth = 1;
        let (then, otherwise) = (BlockId(header.0 + 1), BlockId(header.0 + 2));
        let cmp = Cmp { op: CmpOp::GeU, ty: Ty::I32, a: Reg(2), b: Arg::Imm(width.bytes() as i32) };
        self.end(Term::Branch { cmp, then, otherwise });
        self.begin();
        self.f.blocks[then.0 as usize].depth = 1;
        step(self);
        self.bin(BinOp::Sub, Ty::I32, Reg(2), Reg(2), Arg::Imm(width.bytes() as i32));
        self.end(Term::Jump(header));
        self.begin();
    }

    fn copy_up(&mut self, to: Area, from: Area, widths: &[Width]) {
        for &width in widths {
            self.chunks(width, |b| {
                let value = b.f.reg(Ty::I64);
                b.push(Op::LoadArea { width, dst: value, area: from, index: Reg(1), offset: 0 });
                b.push(Op::StoreArea { width, area: to, index: Reg(0), offset: 0, value: Arg::Reg(value) });
                b.bin(BinOp::Add, Ty::I32, Reg(0), Reg(0), Arg::Imm(width.bytes() as i32));
                b.bin(BinOp::Add, Ty::I32, Reg(1), Reg(1), Arg::Imm(width.bytes() as i32));
            });
        }
        self.end(Term::Return(Vec::new()));
    }

    /// From the end down; the starts in registers 0 and 1 are moved to the ends first.
    fn copy_down(&mut self, to: Area, from: Area, widths: &[Width]) {
        self.bin(BinOp::Add, Ty::I32, Reg(0), Reg(0), Arg::Reg(Reg(2)));
        self.bin(BinOp::Add, Ty::I32, Reg(1), Reg(1), Arg::Reg(Reg(2)));
        for &width in widths {
            self.chunks(width, |b| {
                let step = width.bytes() as i32;
                b.bin(BinOp::Sub, Ty::I32, Reg(0), Reg(0), Arg::Imm(step));
                b.bin(BinOp::Sub, Ty::I32, Reg(1), Reg(1), Arg::Imm(step));
                let value = b.f.reg(Ty::I64);
                b.push(Op::LoadArea { width, dst: value, area: from, index: Reg(1), offset: 0 });
                b.push(Op::StoreArea { width, area: to, index: Reg(0), offset: 0, value: Arg::Reg(value) });
            });
        }
        self.end(Term::Return(Vec::new()));
    }

    /// As `memmove`: eight bytes are read before they are written, so that an overlap in either direction is right.
    fn copy(&mut self, to: Area, from: Area, bytes: bool) {
        let widths: &[Width] = if bytes { &[Width::W64, Width::W8] } else { &[Width::W32] };
        let cmp = Cmp { op: CmpOp::LeU, ty: Ty::I32, a: Reg(0), b: Arg::Reg(Reg(1)) };
        let entry = self.block;
        let then = self.begin();
        self.copy_up(to, from, widths);
        let otherwise = self.begin();
        self.copy_down(to, from, widths);
        self.block = entry;
        self.end(Term::Branch { cmp, then, otherwise });
    }

    fn fill(&mut self, area: Area, steps: &[(Width, Reg)]) {
        for &(width, value) in steps {
            self.chunks(width, |b| {
                b.push(Op::StoreArea { width, area, index: Reg(0), offset: 0, value: Arg::Reg(value) });
                b.bin(BinOp::Add, Ty::I32, Reg(0), Reg(0), Arg::Imm(width.bytes() as i32));
            });
        }
    }

    fn memory_fill(&mut self, memory: Area) {
        let (pattern, ones) = (self.f.reg(Ty::I64), self.f.reg(Ty::I64));
        self.bin(BinOp::And, Ty::I64, pattern, Reg(1), Arg::Imm(0xff));
        self.push(Op::Const { dst: ones, value: 0x0101_0101_0101_0101 });
        self.bin(BinOp::Mul, Ty::I64, pattern, pattern, Arg::Reg(ones));
        self.fill(memory, &[(Width::W64, pattern), (Width::W8, Reg(1))]);
        self.end(Term::Return(Vec::new()));
    }

    fn memory_grow(&mut self, cell: Cell, limit: u64) {
        let (bytes, new, pages) = (self.f.reg(Ty::I64), self.f.reg(Ty::I64), self.f.reg(Ty::I32));
        self.push(Op::Get { dst: bytes, cell });
        self.bin(BinOp::Shl, Ty::I64, new, Reg(0), Arg::Imm(16));
        self.bin(BinOp::Add, Ty::I64, new, new, Arg::Reg(bytes));
        self.bin(BinOp::ShrU, Ty::I64, pages, bytes, Arg::Imm(16));
        let max = self.f.reg(Ty::I64);
        self.push(Op::Const { dst: max, value: (limit << 16) as i64 });
        self.grow(new, max, cell, pages, |_, _| {});
    }

    fn table_grow(&mut self, table: u32, limit: u64) {
        // The first new register is the third, which `fill` takes for the length.
        let length = self.f.reg(Ty::I32);
        let (old, new, max) = (self.f.reg(Ty::I32), self.f.reg(Ty::I64), self.f.reg(Ty::I64));
        self.push(Op::Get { dst: old, cell: Cell::TableSize(table) });
        self.bin(BinOp::Add, Ty::I64, new, old, Arg::Reg(Reg(1)));
        self.push(Op::Const { dst: max, value: limit as i64 });
        self.grow(new, max, Cell::TableSize(table), old, move |b, old| {
            // The registers that `fill` works on: 0 the start, 2 the length, both in bytes.
            let value = b.f.reg(Ty::I32);
            b.push(Op::Copy { dst: value, src: Reg(0) });
            b.bin(BinOp::Shl, Ty::I32, length, Reg(1), Arg::Imm(2));
            b.bin(BinOp::Shl, Ty::I32, Reg(0), old, Arg::Imm(2));
            b.fill(Area::Table(table), &[(Width::W32, value)]);
        });
    }

    /// If `new` is at most `max`: puts it in `cell`, does `then`, and returns `old`; else returns −1.
    fn grow(&mut self, new: Reg, max: Reg, cell: Cell, old: Reg, then: impl FnOnce(&mut Self, Reg)) {
        let cmp = Cmp { op: CmpOp::LeU, ty: Ty::I64, a: new, b: Arg::Reg(max) };
        let entry = self.block;
        let fits = self.begin();
        self.push(Op::Put { cell, value: Arg::Reg(new) });
        then(self, old);
        self.end(Term::Return(vec![Arg::Reg(old)]));
        let full = self.begin();
        let minus_one = self.f.reg(Ty::I32);
        self.push(Op::Const { dst: minus_one, value: i64::from(u32::MAX) });
        self.end(Term::Return(vec![Arg::Reg(minus_one)]));
        self.block = entry;
        self.end(Term::Branch { cmp, then: fits, otherwise: full });
    }
}
