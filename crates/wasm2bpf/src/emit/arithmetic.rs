//! Integer arithmetic. What eBPF lacks (rotations, bit counts, and signed division before v4) is expanded.

use super::{A, B, BASE, Emitter, code};
use crate::{
    Isa,
    ir::{Arg, BinOp, Reg, Ty, UnOp},
    layout::RESULTS,
};

fn class(ty: Ty) -> u8 {
    if ty == Ty::I32 { code::ALU } else { code::ALU64 }
}

fn bits(ty: Ty) -> i32 {
    if ty == Ty::I32 { 32 } else { 64 }
}

fn alu_op(op: BinOp) -> u8 {
    match op {
        BinOp::Add => code::ADD,
        BinOp::Sub => code::SUB,
        BinOp::Mul => code::MUL,
        BinOp::DivS | BinOp::DivU => code::DIV,
        BinOp::RemS | BinOp::RemU => code::MOD,
        BinOp::And => code::AND,
        BinOp::Or => code::OR,
        BinOp::Xor => code::XOR,
        BinOp::Shl | BinOp::Rotl | BinOp::Rotr => code::LSH,
        BinOp::ShrS => code::ARSH,
        BinOp::ShrU => code::RSH,
    }
}

impl Emitter<'_> {
    pub(super) fn bin(&mut self, op: BinOp, ty: Ty, dst: Reg, a: Reg, b: Arg) {
        match (op, b) {
            (BinOp::Rotl | BinOp::Rotr, Arg::Imm(amount)) => self.rotate_by(op, ty, dst, a, amount),
            (BinOp::Rotl | BinOp::Rotr, Arg::Reg(b)) if ty == Ty::I32 => self.rotate_32(op, dst, a, b),
            (BinOp::Rotl | BinOp::Rotr, Arg::Reg(b)) => self.rotate_64(op, dst, a, b),
            (BinOp::DivS | BinOp::RemS, _) if self.program.options.isa < Isa::V4 => self.divide_v3(op, ty, dst, a, b),
            _ => self.plain(op, ty, dst, a, b),
        }
    }

    /// Signed division and remainder are the unsigned ones' codes with an offset of 1 (v4).
    fn apply(&mut self, op: BinOp, ty: Ty, dst: u8, src: Result<u8, i32>) {
        let off = i16::from(matches!(op, BinOp::DivS | BinOp::RemS));
        let base = class(ty) | alu_op(op);
        match src {
            Ok(src) => self.asm.push(base | code::X, dst, src, off, 0),
            Err(mut imm) => {
                if matches!(op, BinOp::Shl | BinOp::ShrS | BinOp::ShrU) {
                    imm &= bits(ty) - 1;
                }
                self.asm.push(base, dst, 0, off, imm);
            }
        }
    }

    fn copy(&mut self, ty: Ty, dst: u8, src: u8) {
        if dst == src {
            return;
        }
        if ty == Ty::I32 { self.asm.mov32(dst, src) } else { self.asm.mov(dst, src) }
    }

    fn plain(&mut self, op: BinOp, ty: Ty, dst: Reg, a: Reg, b: Arg) {
        let at = self.target(dst);
        let commutes = matches!(op, BinOp::Add | BinOp::Mul | BinOp::And | BinOp::Or | BinOp::Xor);
        match b {
            Arg::Imm(imm) if op == BinOp::Add && ty == Ty::I64 && self.machine(a).is_some_and(|a| a != at) => {
                // The other order would link the two registers for the verifier.
                let a = self.read(a, B);
                self.asm.constant(at, i64::from(imm));
                self.asm.alu(code::ALU64, code::ADD, at, a);
            }
            Arg::Imm(imm) => {
                let from = self.read(a, at);
                self.copy(ty, at, from);
                self.apply(op, ty, at, Err(imm));
            }
            Arg::Reg(b) => {
                let right = self.read(b, B);
                if right == at && self.machine(a) != Some(at) {
                    if commutes {
                        let left = self.read(a, A);
                        self.apply(op, ty, at, Ok(left));
                    } else {
                        let left = self.read(a, A);
                        self.copy(ty, A, left);
                        self.apply(op, ty, A, Ok(right));
                        self.asm.mov(at, A);
                    }
                } else {
                    let from = self.read(a, at);
                    self.copy(ty, at, from);
                    self.apply(op, ty, at, Ok(right));
                }
            }
        }
        self.finish(dst, at);
    }

    fn rotate_by(&mut self, op: BinOp, ty: Ty, dst: Reg, a: Reg, amount: i32) {
        let width = bits(ty);
        let left = if op == BinOp::Rotl { amount } else { amount.wrapping_neg() } & (width - 1);
        let from = self.read(a, A);
        if left == 0 {
            return self.finish(dst, from);
        }
        let at = match self.target(dst) {
            A => B,
            machine => machine,
        };
        // `at` may be where the operand is: the scratch takes its copy first.
        self.copy(ty, A, from);
        self.copy(ty, at, from);
        self.asm.alu_imm(class(ty), code::LSH, at, left);
        self.asm.alu_imm(class(ty), code::RSH, A, width - left);
        self.asm.alu(class(ty), code::OR, at, A);
        self.finish(dst, at);
    }

    /// Two copies side by side in 64 bits, shifted.
    fn rotate_32(&mut self, op: BinOp, dst: Reg, a: Reg, b: Reg) {
        let from = self.read(a, A);
        self.asm.mov32(A, from);
        self.asm.mov(B, A);
        self.asm.alu_imm(code::ALU64, code::LSH, B, 32);
        self.asm.alu(code::ALU64, code::OR, A, B);
        let amount = self.read(b, B);
        self.asm.mov(B, amount);
        self.asm.alu_imm(code::ALU64, code::AND, B, 31);
        if op == BinOp::Rotl {
            self.asm.alu(code::ALU64, code::LSH, A, B);
            self.asm.alu_imm(code::ALU64, code::RSH, A, 32);
        } else {
            self.asm.alu(code::ALU64, code::RSH, A, B);
            self.asm.mov32(A, A);
        }
        self.finish(dst, A);
    }

    /// One half waits in a result cell.
    fn rotate_64(&mut self, op: BinOp, dst: Reg, a: Reg, b: Reg) {
        let (first, second) = if op == BinOp::Rotl { (code::RSH, code::LSH) } else { (code::LSH, code::RSH) };
        let amount = self.read(b, B);
        self.asm.mov(B, amount);
        self.asm.alu_imm(code::ALU64, code::NEG, B, 0);
        self.asm.alu_imm(code::ALU64, code::AND, B, 63);
        let from = self.read(a, A);
        self.asm.mov(A, from);
        self.asm.alu(code::ALU64, first, A, B);
        self.asm.store(code::DW, BASE, RESULTS as i16, A);
        let amount = self.read(b, B);
        self.asm.mov(B, amount);
        self.asm.alu_imm(code::ALU64, code::AND, B, 63);
        let from = self.read(a, A);
        self.asm.mov(A, from);
        self.asm.alu(code::ALU64, second, A, B);
        self.asm.load(code::DW, B, BASE, RESULTS as i16);
        self.asm.alu(code::ALU64, code::OR, A, B);
        self.finish(dst, A);
    }

    /// Without signed division: divide magnitudes, then give the result its sign. The sign waits in a result cell.
    fn divide_v3(&mut self, op: BinOp, ty: Ty, dst: Reg, a: Reg, b: Arg) {
        let c = class(ty);
        let shift = bits(ty) - 1;
        let left = self.read(a, A);
        self.copy(ty, A, left);
        let right = self.read_arg(b, B);
        self.copy(ty, B, right);
        if op == BinOp::DivS {
            self.asm.alu(c, code::XOR, B, A);
        } else {
            self.copy(ty, B, A);
        }
        self.asm.alu_imm(c, code::ARSH, B, shift);
        self.asm.store(code::DW, BASE, RESULTS as i16, B);
        // |x| = (x ^ s) - s with s the sign smeared over all bits; the second cell holds |a|.
        self.copy(ty, B, A);
        self.asm.alu_imm(c, code::ARSH, B, shift);
        self.asm.alu(c, code::XOR, A, B);
        self.asm.alu(c, code::SUB, A, B);
        self.asm.store(code::DW, BASE, RESULTS as i16 - 8, A);
        let right = self.read_arg(b, B);
        self.copy(ty, B, right);
        self.copy(ty, A, B);
        self.asm.alu_imm(c, code::ARSH, A, shift);
        self.asm.alu(c, code::XOR, B, A);
        self.asm.alu(c, code::SUB, B, A);
        self.asm.load(code::DW, A, BASE, RESULTS as i16 - 8);
        let unsigned = if op == BinOp::DivS { code::DIV } else { code::MOD };
        self.asm.alu(c, unsigned, A, B);
        self.asm.load(code::DW, B, BASE, RESULTS as i16);
        self.asm.alu(c, code::XOR, A, B);
        self.asm.alu(c, code::SUB, A, B);
        self.finish(dst, A);
    }

    pub(super) fn un(&mut self, op: UnOp, ty: Ty, dst: Reg, a: Reg) {
        match op {
            UnOp::Low32 => {
                let at = self.target(dst);
                let from = self.read(a, at);
                self.asm.mov32(at, from);
                self.finish(dst, at);
            }
            UnOp::Extend8 => self.extend(dst, a, 8, ty),
            UnOp::Extend16 => self.extend(dst, a, 16, ty),
            UnOp::Extend32 => self.extend(dst, a, 32, ty),
            UnOp::Clz | UnOp::Ctz | UnOp::Popcnt => {
                let from = self.read(a, A);
                self.copy(ty, A, from);
                match op {
                    UnOp::Clz => self.leading_mask(ty),
                    UnOp::Ctz => self.trailing_mask(ty),
                    _ => {}
                }
                self.count(ty);
                self.finish(dst, A);
            }
        }
    }

    fn extend(&mut self, dst: Reg, a: Reg, from_bits: u32, ty: Ty) {
        let at = self.target(dst);
        let from = self.read(a, at);
        self.sign_extend(at, from, from_bits, ty);
        self.finish(dst, at);
    }

    /// `at = sign-extended low bits of from`
    pub(super) fn sign_extend(&mut self, at: u8, from: u8, from_bits: u32, ty: Ty) {
        if self.program.options.isa >= Isa::V4 {
            self.asm.push(class(ty) | code::MOV | code::X, at, from, from_bits as i16, 0);
            return;
        }
        self.copy(ty, at, from);
        let shift = bits(ty) - from_bits as i32;
        self.asm.alu_imm(class(ty), code::LSH, at, shift);
        self.asm.alu_imm(class(ty), code::ARSH, at, shift);
    }

    /// A mask of the leading zeros.
    fn leading_mask(&mut self, ty: Ty) {
        let mut shift = 1;
        while shift < bits(ty) {
            self.asm.mov(B, A);
            self.asm.alu_imm(class(ty), code::RSH, B, shift);
            self.asm.alu(class(ty), code::OR, A, B);
            shift *= 2;
        }
        self.asm.alu_imm(class(ty), code::XOR, A, -1);
    }

    /// A mask of the trailing zeros.
    fn trailing_mask(&mut self, ty: Ty) {
        self.asm.mov(B, A);
        self.asm.alu_imm(class(ty), code::NEG, B, 0);
        self.asm.alu(class(ty), code::AND, A, B);
        self.asm.alu_imm(class(ty), code::ADD, A, -1);
    }

    /// How many bits are set.
    fn count(&mut self, ty: Ty) {
        if ty == Ty::I32 {
            return self.count_32();
        }
        self.asm.store(code::DW, BASE, RESULTS as i16, A);
        self.asm.mov32(A, A);
        self.count_32();
        self.asm.load(code::W, B, BASE, RESULTS as i16 + 4);
        self.asm.store(code::DW, BASE, RESULTS as i16, A);
        self.asm.mov(A, B);
        self.count_32();
        self.asm.load(code::DW, B, BASE, RESULTS as i16);
        self.asm.alu(code::ALU64, code::ADD, A, B);
    }

    /// The sums of neighbours, of pairs, of nibbles, of bytes.
    fn count_32(&mut self) {
        let c = code::ALU;
        self.asm.mov(B, A);
        self.asm.alu_imm(c, code::RSH, B, 1);
        self.asm.alu_imm(c, code::AND, B, 0x5555_5555);
        self.asm.alu(c, code::SUB, A, B);
        self.asm.mov(B, A);
        self.asm.alu_imm(c, code::RSH, B, 2);
        self.asm.alu_imm(c, code::AND, B, 0x3333_3333);
        self.asm.alu_imm(c, code::AND, A, 0x3333_3333);
        self.asm.alu(c, code::ADD, A, B);
        self.asm.mov(B, A);
        self.asm.alu_imm(c, code::RSH, B, 4);
        self.asm.alu(c, code::ADD, A, B);
        self.asm.alu_imm(c, code::AND, A, 0x0f0f_0f0f);
        self.asm.alu_imm(c, code::MUL, A, 0x0101_0101);
        self.asm.alu_imm(c, code::RSH, A, 24);
    }
}
