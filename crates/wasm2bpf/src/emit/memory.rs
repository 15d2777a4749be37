//! Linear memory, and the cells and areas beside it.

use super::{A, B, BASE, Emitter, Target, code};
use crate::{
    ir::{Addr, Area, Arg, Cell, Check, Reg, TrapKind, Ty, Width},
    layout::{MemoryPlace, ZERO},
    regalloc::Place,
};

fn size(width: Width) -> u8 {
    match width {
        Width::W8 => code::B,
        Width::W16 => code::H,
        Width::W32 => code::W,
        Width::W64 => code::DW,
    }
}

impl Emitter<'_> {
    /// Leaves in a register a pointer such that pointer + offset is the address, bounds checked.
    fn address(&mut self, addr: &Addr, width: Width) -> (u8, i16) {
        let extent = addr.offset.saturating_add(u64::from(width.bytes()));
        let place = self.program.layout.memories[addr.memory as usize];
        let fixed = !self.program.module.memories[addr.memory as usize].grows;
        let most = if fixed { place.min } else { place.max };
        let start = place.start + addr.offset;
        if extent > most {
            self.always_trap();
            return (BASE, 0);
        }
        let array = self.program.layout.array.is_some();
        match addr.base {
            Some(base) if array => self.forget(base),
            Some(base) => {
                let from = self.read(base, A);
                self.asm.cast(A, from);
            }
            None if addr.check == Check::Proven => {
                if let Ok(offset) = i16::try_from(start) {
                    return (BASE, offset);
                }
                self.asm.mov(A, BASE);
                self.asm.alu_imm(code::ALU64, code::ADD, A, start as i32);
                return (A, 0);
            }
            None => {
                self.asm.constant(A, 0);
                if !array {
                    self.asm.cast(A, A);
                }
            }
        }
        if addr.check == Check::Needed {
            self.check(extent, place, fixed);
        }
        if array && addr.base.is_some() {
            return self.masked(Area::Memory(addr.memory), addr.offset as i64);
        }
        self.asm.alu(code::ALU64, code::ADD, A, BASE);
        match i16::try_from(start) {
            Ok(offset) => (A, offset),
            Err(_) => {
                self.asm.alu_imm(code::ALU64, code::ADD, A, start as i32);
                (A, 0)
            }
        }
    }

    /// A register's low half in the scratch, such that the verifier knows nothing of it and links it to nothing: through
    /// memory.
    fn forget(&mut self, reg: Reg) {
        match (self.place(reg), self.program.layout.array) {
            (Place::Machine(machine), Some(array)) => {
                self.store_base(code::W, array.forget, machine, A);
                self.load_base(code::W, A, array.forget);
            }
            _ => {
                let from = self.read(reg, A);
                self.asm.mov32(A, from);
            }
        }
    }

    /// A pointer into an area from the index in the scratch, masked: the verifier takes no less for an array.
    fn masked(&mut self, area: Area, offset: i64) -> (u8, i16) {
        let start = i64::from(self.program.layout.area(area));
        let near = (0..1 << 14).contains(&offset);
        if !near {
            self.asm.alu_imm(code::ALU, code::ADD, A, offset as i32);
        }
        self.asm.alu_imm(code::ALU, code::AND, A, self.program.layout.mask(area, self.program.module) as i32);
        self.asm.alu(code::ALU64, code::ADD, A, BASE);
        let rest = start + if near { offset } else { 0 };
        match i16::try_from(rest) {
            Ok(rest) => (A, rest),
            Err(_) => {
                self.asm.alu_imm(code::ALU64, code::ADD, A, rest as i32);
                (A, 0)
            }
        }
    }

    /// Traps unless the address in the scratch, plus `extent`, is inside memory. The scratch is an arena pointer by
    /// now: comparing it tells the verifier nothing about the register that the address came from.
    fn check(&mut self, extent: u64, place: MemoryPlace, fixed: bool) {
        let (code, source, limit) = if fixed {
            (code::JMP32 | code::JGT, 0, (place.min as i64 - extent as i64) as i32)
        } else {
            self.load_base(code::DW, B, place.bytes);
            self.asm.alu_imm(code::ALU64, code::ADD, B, -(extent as i64) as i32);
            (code::JMP | code::JSGT | code::X, B, 0)
        };
        if self.in_line {
            // The inverse jumps over the trap.
            let next = self.asm.label();
            let inverse = if fixed { code::JMP32 | code::JLE } else { code::JMP | code::JSLE | code::X };
            self.asm.push_to(inverse, A, source, 0, limit, Target::Label(next));
            self.trap_code(TrapKind::MemoryBounds);
            self.asm.place(next);
        } else {
            let stub = self.stub(TrapKind::MemoryBounds);
            self.asm.push_to(code, A, source, 0, limit, Target::Label(stub));
        }
    }

    /// Traps on every run, by a comparison that the verifier cannot foresee: what follows must stay reachable for it.
    fn always_trap(&mut self) {
        let stub = self.stub(TrapKind::MemoryBounds);
        self.asm.load(code::DW, A, BASE, ZERO as i16);
        self.asm.push_to(code::JMP | code::JEQ, A, 0, 0, 0, Target::Label(stub));
    }

    pub(super) fn load(&mut self, width: Width, dst: Reg, addr: &Addr, sign: Option<Ty>) {
        let (pointer, offset) = self.address(addr, width);
        let at = self.target(dst);
        self.asm.load(size(width), at, pointer, offset);
        if let Some(ty) = sign {
            self.sign_extend(at, at, width.bytes() * 8, ty);
        }
        self.finish(dst, at);
    }

    pub(super) fn store(&mut self, width: Width, addr: &Addr, value: Arg) {
        let (pointer, offset) = self.address(addr, width);
        self.store_at(width, pointer, offset, value);
    }

    fn store_at(&mut self, width: Width, pointer: u8, offset: i16, value: Arg) {
        match value {
            Arg::Imm(value) => self.asm.store_imm(size(width), pointer, offset, value),
            Arg::Reg(reg) => {
                let from = self.read(reg, B);
                self.asm.store(size(width), pointer, offset, from);
            }
        }
    }

    pub(super) fn get(&mut self, dst: Reg, cell: Cell) {
        let (offset, wide) = self.program.layout.cell(cell);
        let at = self.target(dst);
        self.load_base(if wide { self.size_of(dst) } else { code::W }, at, offset);
        self.finish(dst, at);
    }

    pub(super) fn put(&mut self, cell: Cell, value: Arg) {
        let (offset, wide) = self.program.layout.cell(cell);
        let size = if wide { code::DW } else { code::W };
        match (value, i16::try_from(offset)) {
            (Arg::Imm(value), Ok(offset)) => self.asm.store_imm(size, BASE, offset, value),
            _ => {
                let from = self.read_arg(value, B);
                self.store_base(size, offset, from, A);
            }
        }
    }

    fn area_pointer(&mut self, area: Area, index: Reg, offset: i32) -> i16 {
        if self.program.layout.array.is_some() {
            self.forget(index);
            return self.masked(area, i64::from(offset)).1;
        }
        let from = match self.place(index) {
            Place::Machine(machine) => machine,
            _ => self.read(index, A),
        };
        self.asm.cast(A, from);
        self.asm.alu(code::ALU64, code::ADD, A, BASE);
        let offset = self.program.layout.area(area) + offset;
        i16::try_from(offset).unwrap_or_else(|_| {
            self.asm.alu_imm(code::ALU64, code::ADD, A, offset);
            0
        })
    }

    pub(super) fn load_area(&mut self, width: Width, dst: Reg, area: Area, index: Reg, offset: i32) {
        let offset = self.area_pointer(area, index, offset);
        let at = self.target(dst);
        let size = if width == Width::W64 { self.size_of(dst) } else { size(width) };
        self.asm.load(size, at, A, offset);
        self.finish(dst, at);
    }

    pub(super) fn store_area(&mut self, width: Width, area: Area, index: Reg, offset: i32, value: Arg) {
        let offset = self.area_pointer(area, index, offset);
        self.store_at(width, A, offset, value);
    }
}
