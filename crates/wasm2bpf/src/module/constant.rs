//! Constant expressions, evaluated when a module is instantiated.

use crate::{Reason, Refusal};

/// One instruction of a constant expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConstOp {
    /// A number, a float's bits, or null.
    Value(u64),
    /// A reference to a function.
    Function(u32),
    /// The value of a global.
    Global(u32),
    /// Addition, subtraction, multiplication (extended constants); true for 64 bits.
    Add(bool),
    /// See `Add`.
    Sub(bool),
    /// See `Add`.
    Mul(bool),
}

/// A constant expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConstExpr(pub Vec<ConstOp>);

impl ConstExpr {
    /// Reads one from the module.
    pub(super) fn read(expr: &wasmparser::ConstExpr<'_>) -> Result<Self, Refusal> {
        use wasmparser::Operator as O;
        let mut ops = Vec::new();
        for op in expr.get_operators_reader().into_iter_with_offsets() {
            let (op, offset) = op.map_err(super::parse::invalid)?;
            ops.push(match op {
                O::I32Const { value } => ConstOp::Value(u64::from(value as u32)),
                O::I64Const { value } => ConstOp::Value(value as u64),
                O::F32Const { value } => ConstOp::Value(u64::from(value.bits())),
                O::F64Const { value } => ConstOp::Value(value.bits()),
                O::RefNull { .. } => ConstOp::Value(0),
                O::RefFunc { function_index } => ConstOp::Function(function_index),
                O::GlobalGet { global_index } => ConstOp::Global(global_index),
                O::I32Add => ConstOp::Add(false),
                O::I32Sub => ConstOp::Sub(false),
                O::I32Mul => ConstOp::Mul(false),
                O::I64Add => ConstOp::Add(true),
                O::I64Sub => ConstOp::Sub(true),
                O::I64Mul => ConstOp::Mul(true),
                O::End => break,
                _ => {
                    let reason = Reason::Feature("a constant expression of another proposal".to_owned());
                    return Err(Refusal { reason, function: None, name: None, offset: offset as usize });
                }
            });
        }
        Ok(Self(ops))
    }

    /// Its value, given what globals hold and what stands for a function. Floats come as their bits.
    pub fn evaluate(&self, global: impl Fn(u32) -> u64, function: impl Fn(u32) -> u64) -> u64 {
        let mut stack: Vec<u64> = Vec::new();
        for op in &self.0 {
            let value = match *op {
                ConstOp::Value(value) => value,
                ConstOp::Function(index) => function(index),
                ConstOp::Global(index) => global(index),
                ConstOp::Add(wide) | ConstOp::Sub(wide) | ConstOp::Mul(wide) => {
                    let (b, a) = (stack.pop().unwrap_or(0), stack.pop().unwrap_or(0));
                    let value = match op {
                        ConstOp::Add(_) => a.wrapping_add(b),
                        ConstOp::Sub(_) => a.wrapping_sub(b),
                        _ => a.wrapping_mul(b),
                    };
                    if wide { value } else { u64::from(value as u32) }
                }
            };
            stack.push(value);
        }
        stack.pop().unwrap_or(0)
    }

    /// The function it refers to, when it is one reference.
    pub fn function(&self) -> Option<u32> {
        match self.0[..] {
            [ConstOp::Function(index)] => Some(index),
            _ => None,
        }
    }
}
