//! Integer arithmetic and comparisons, and the float instructions that only move or change bits.

use wasmparser::Operator as O;

use super::{Entry, Lowering};
use crate::ir::{Arg, BinOp, Cmp, CmpOp, Op, Reg, TrapKind, Ty, UnOp};

impl Lowering<'_> {
    /// Lowers an integer instruction; false if it is none.
    pub(super) fn numeric(&mut self, op: &O<'_>) -> bool {
        if let Some((op, ty)) = binary(op) {
            self.bin(op, ty);
        } else if let Some((op, ty)) = comparison(op) {
            let (b, a) = (self.pop(), self.pop());
            let cmp = self.compare(op, ty, a, b);
            if let Some(holds) = foreseen(&cmp) {
                self.stack.push(Entry::Const(i64::from(holds), Ty::I32));
                return true;
            }
            self.define(Ty::I32, |dst| Op::Set { dst, cmp });
        } else {
            return self.unary(op);
        }
        true
    }

    fn unary(&mut self, op: &O<'_>) -> bool {
        match op {
            O::I32Eqz => self.is_zero(Ty::I32),
            O::I64Eqz => self.is_zero(Ty::I64),
            O::I32Clz => self.un(UnOp::Clz, Ty::I32),
            O::I32Ctz => self.un(UnOp::Ctz, Ty::I32),
            O::I32Popcnt => self.un(UnOp::Popcnt, Ty::I32),
            O::I64Clz => self.un(UnOp::Clz, Ty::I64),
            O::I64Ctz => self.un(UnOp::Ctz, Ty::I64),
            O::I64Popcnt => self.un(UnOp::Popcnt, Ty::I64),
            O::I32Extend8S => self.un(UnOp::Extend8, Ty::I32),
            O::I32Extend16S => self.un(UnOp::Extend16, Ty::I32),
            O::I64Extend8S => self.un(UnOp::Extend8, Ty::I64),
            O::I64Extend16S => self.un(UnOp::Extend16, Ty::I64),
            O::I64Extend32S | O::I64ExtendI32S => self.un(UnOp::Extend32, Ty::I64),
            O::I32WrapI64 => {
                let a = self.pop_reg();
                self.define(Ty::I32, |dst| Op::Un { op: UnOp::Low32, ty: Ty::I32, dst, a });
            }
            O::I64ExtendI32U => {
                let a = self.pop_reg();
                self.define(Ty::I64, |dst| Op::Un { op: UnOp::Low32, ty: Ty::I64, dst, a });
            }
            // Bits are bits.
            O::I32ReinterpretF32 | O::F32ReinterpretI32 | O::I64ReinterpretF64 | O::F64ReinterpretI64 => {}
            O::F32Neg => self.bits(BinOp::Xor, Ty::I32, i32::MIN),
            O::F32Abs => self.bits(BinOp::And, Ty::I32, i32::MAX),
            O::F64Neg => self.float_sign(BinOp::Xor, i64::MIN),
            O::F64Abs => self.float_sign(BinOp::And, i64::MAX),
            _ => return false,
        }
        true
    }

    fn bits(&mut self, op: BinOp, ty: Ty, mask: i32) {
        let a = self.pop_reg();
        self.define(ty, |dst| Op::Bin { op, ty, dst, a, b: Arg::Imm(mask) });
    }

    fn float_sign(&mut self, op: BinOp, mask: i64) {
        let a = self.pop_reg();
        let mask = self.compute(Ty::I64, |dst| Op::Const { dst, value: mask });
        self.define(Ty::I64, |dst| Op::Bin { op, ty: Ty::I64, dst, a, b: Arg::Reg(mask) });
    }

    /// `x == 0`; of a comparison just made, its inverse.
    fn is_zero(&mut self, ty: Ty) {
        let entry = self.pop();
        let cmp = if ty == Ty::I32 {
            let cmp = self.condition(entry);
            Cmp { op: cmp.op.inverse(), ..cmp }
        } else {
            Cmp { op: CmpOp::Eq, ty, a: self.reg_of(entry), b: Arg::Imm(0) }
        };
        self.define(Ty::I32, |dst| Op::Set { dst, cmp });
    }

    fn bin(&mut self, op: BinOp, ty: Ty) {
        let (b, a) = (self.pop(), self.pop());
        let commutes = matches!(op, BinOp::Add | BinOp::Mul | BinOp::And | BinOp::Or | BinOp::Xor);
        let (a, b) = match (a, b) {
            (Entry::Const(..), Entry::Temp(_) | Entry::Local(_)) if commutes => (b, a),
            _ => (a, b),
        };
        let a = self.reg_of(a);
        let b = self.arg_of(b);
        if matches!(op, BinOp::DivS | BinOp::DivU | BinOp::RemS | BinOp::RemU) {
            // A constant zero is kept in a register: the check is what traps.
            let b = match b {
                Arg::Imm(0) => Arg::Reg(self.compute(ty, |dst| Op::Const { dst, value: 0 })),
                b => b,
            };
            self.check_division(op, ty, a, b);
            self.define(ty, |dst| Op::Bin { op, ty, dst, a, b });
            return;
        }
        self.define(ty, |dst| Op::Bin { op, ty, dst, a, b });
    }

    /// Traps for a zero divisor, and for the one quotient that does not fit.
    fn check_division(&mut self, op: BinOp, ty: Ty, a: Reg, b: Arg) {
        let divisor = match b {
            Arg::Imm(-1) => None,
            Arg::Imm(_) => return,
            Arg::Reg(b) => {
                self.trap_if(Cmp { op: CmpOp::Eq, ty, a: b, b: Arg::Imm(0) }, TrapKind::DivideByZero);
                Some(b)
            }
        };
        if op != BinOp::DivS {
            return;
        }
        // `(a ^ MIN) | (b ^ -1)` is 0 exactly for the overflow.
        let low = match ty {
            Ty::I32 => self.compute(ty, |dst| Op::Bin { op: BinOp::Xor, ty, dst, a, b: Arg::Imm(i32::MIN) }),
            _ => {
                let min = self.compute(ty, |dst| Op::Const { dst, value: i64::MIN });
                self.compute(ty, |dst| Op::Bin { op: BinOp::Xor, ty, dst, a, b: Arg::Reg(min) })
            }
        };
        let both = match divisor {
            None => low,
            Some(b) => {
                let ones = self.compute(ty, |dst| Op::Bin { op: BinOp::Xor, ty, dst, a: b, b: Arg::Imm(-1) });
                self.compute(ty, |dst| Op::Bin { op: BinOp::Or, ty, dst, a: low, b: Arg::Reg(ones) })
            }
        };
        self.trap_if(Cmp { op: CmpOp::Eq, ty, a: both, b: Arg::Imm(0) }, TrapKind::IntegerOverflow);
    }
}

fn binary(op: &O<'_>) -> Option<(BinOp, Ty)> {
    let (i32, i64) = (Ty::I32, Ty::I64);
    Some(match op {
        O::I32Add => (BinOp::Add, i32),
        O::I32Sub => (BinOp::Sub, i32),
        O::I32Mul => (BinOp::Mul, i32),
        O::I32DivS => (BinOp::DivS, i32),
        O::I32DivU => (BinOp::DivU, i32),
        O::I32RemS => (BinOp::RemS, i32),
        O::I32RemU => (BinOp::RemU, i32),
        O::I32And => (BinOp::And, i32),
        O::I32Or => (BinOp::Or, i32),
        O::I32Xor => (BinOp::Xor, i32),
        O::I32Shl => (BinOp::Shl, i32),
        O::I32ShrS => (BinOp::ShrS, i32),
        O::I32ShrU => (BinOp::ShrU, i32),
        O::I32Rotl => (BinOp::Rotl, i32),
        O::I32Rotr => (BinOp::Rotr, i32),
        O::I64Add => (BinOp::Add, i64),
        O::I64Sub => (BinOp::Sub, i64),
        O::I64Mul => (BinOp::Mul, i64),
        O::I64DivS => (BinOp::DivS, i64),
        O::I64DivU => (BinOp::DivU, i64),
        O::I64RemS => (BinOp::RemS, i64),
        O::I64RemU => (BinOp::RemU, i64),
        O::I64And => (BinOp::And, i64),
        O::I64Or => (BinOp::Or, i64),
        O::I64Xor => (BinOp::Xor, i64),
        O::I64Shl => (BinOp::Shl, i64),
        O::I64ShrS => (BinOp::ShrS, i64),
        O::I64ShrU => (BinOp::ShrU, i64),
        O::I64Rotl => (BinOp::Rotl, i64),
        O::I64Rotr => (BinOp::Rotr, i64),
        _ => return None,
    })
}

/// The outcome of a comparison with the end of the range. Such a branch must not be emitted: the verifier would decide
/// it.
fn foreseen(cmp: &Cmp) -> Option<bool> {
    let Arg::Imm(value) = cmp.b else { return None };
    let narrow = cmp.ty == Ty::I32;
    match (cmp.op, value) {
        (CmpOp::LtU, 0) => Some(false),
        (CmpOp::GeU, 0) => Some(true),
        (CmpOp::GtU, -1) => Some(false),
        (CmpOp::LeU, -1) => Some(true),
        (CmpOp::LtS, i32::MIN) | (CmpOp::GtS, i32::MAX) if narrow => Some(false),
        (CmpOp::GeS, i32::MIN) | (CmpOp::LeS, i32::MAX) if narrow => Some(true),
        _ => None,
    }
}

fn comparison(op: &O<'_>) -> Option<(CmpOp, Ty)> {
    let (i32, i64) = (Ty::I32, Ty::I64);
    Some(match op {
        O::I32Eq => (CmpOp::Eq, i32),
        O::I32Ne => (CmpOp::Ne, i32),
        O::I32LtS => (CmpOp::LtS, i32),
        O::I32LtU => (CmpOp::LtU, i32),
        O::I32GtS => (CmpOp::GtS, i32),
        O::I32GtU => (CmpOp::GtU, i32),
        O::I32LeS => (CmpOp::LeS, i32),
        O::I32LeU => (CmpOp::LeU, i32),
        O::I32GeS => (CmpOp::GeS, i32),
        O::I32GeU => (CmpOp::GeU, i32),
        O::I64Eq => (CmpOp::Eq, i64),
        O::I64Ne => (CmpOp::Ne, i64),
        O::I64LtS => (CmpOp::LtS, i64),
        O::I64LtU => (CmpOp::LtU, i64),
        O::I64GtS => (CmpOp::GtS, i64),
        O::I64GtU => (CmpOp::GtU, i64),
        O::I64LeS => (CmpOp::LeS, i64),
        O::I64LeU => (CmpOp::LeU, i64),
        O::I64GeS => (CmpOp::GeS, i64),
        O::I64GeU => (CmpOp::GeU, i64),
        _ => return None,
    })
}

/// The text-format name of an instruction that computes with floats.
pub(super) fn float_name(op: &O<'_>) -> Option<&'static str> {
    macro_rules! names {
        ($($variant:ident $name:literal),* $(,)?) => {
            match op { $(O::$variant => Some($name),)* _ => None }
        };
    }
    names! {
        F32Add "f32.add", F32Sub "f32.sub", F32Mul "f32.mul", F32Div "f32.div", F32Min "f32.min", F32Max "f32.max",
        F32Sqrt "f32.sqrt", F32Ceil "f32.ceil", F32Floor "f32.floor", F32Trunc "f32.trunc", F32Nearest "f32.nearest",
        F32Copysign "f32.copysign", F32Eq "f32.eq", F32Ne "f32.ne", F32Lt "f32.lt", F32Gt "f32.gt", F32Le "f32.le",
        F32Ge "f32.ge", F64Add "f64.add", F64Sub "f64.sub", F64Mul "f64.mul", F64Div "f64.div", F64Min "f64.min",
        F64Max "f64.max", F64Sqrt "f64.sqrt", F64Ceil "f64.ceil", F64Floor "f64.floor", F64Trunc "f64.trunc",
        F64Nearest "f64.nearest", F64Copysign "f64.copysign", F64Eq "f64.eq", F64Ne "f64.ne", F64Lt "f64.lt",
        F64Gt "f64.gt", F64Le "f64.le", F64Ge "f64.ge", I32TruncF32S "i32.trunc_f32_s", I32TruncF32U "i32.trunc_f32_u",
        I32TruncF64S "i32.trunc_f64_s", I32TruncF64U "i32.trunc_f64_u", I64TruncF32S "i64.trunc_f32_s",
        I64TruncF32U "i64.trunc_f32_u", I64TruncF64S "i64.trunc_f64_s", I64TruncF64U "i64.trunc_f64_u",
        I32TruncSatF32S "i32.trunc_sat_f32_s", I32TruncSatF32U "i32.trunc_sat_f32_u",
        I32TruncSatF64S "i32.trunc_sat_f64_s", I32TruncSatF64U "i32.trunc_sat_f64_u",
        I64TruncSatF32S "i64.trunc_sat_f32_s", I64TruncSatF32U "i64.trunc_sat_f32_u",
        I64TruncSatF64S "i64.trunc_sat_f64_s", I64TruncSatF64U "i64.trunc_sat_f64_u",
        F32ConvertI32S "f32.convert_i32_s", F32ConvertI32U "f32.convert_i32_u", F32ConvertI64S "f32.convert_i64_s",
        F32ConvertI64U "f32.convert_i64_u", F64ConvertI32S "f64.convert_i32_s", F64ConvertI32U "f64.convert_i32_u",
        F64ConvertI64S "f64.convert_i64_s", F64ConvertI64U "f64.convert_i64_u", F32DemoteF64 "f32.demote_f64",
        F64PromoteF32 "f64.promote_f32",
    }
}
