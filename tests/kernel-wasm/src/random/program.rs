//! Programs that compute something: functions over locals, memory, globals and a table, with loops that end. Addresses
//! and divisors are mostly good ones.

use std::fmt::Write as _;

use arbitrary::{Result, Unstructured};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ty {
    I32,
    I64,
}

impl Ty {
    fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
        }
    }

    fn pick(u: &mut Unstructured<'_>) -> Result<Self> {
        Ok(if u.arbitrary()? { Self::I32 } else { Self::I64 })
    }
}

#[derive(Clone, Debug)]
struct Signature {
    params: Vec<Ty>,
    results: Vec<Ty>,
}

struct Program<'u, 'd> {
    u: &'u mut Unstructured<'d>,
    functions: Vec<Signature>,
    text: String,
    /// Locals of the function being made, parameters first.
    locals: Vec<Ty>,
    /// Locals that count loops and are not set otherwise.
    counters: usize,
    /// Instructions left for the function: what is made stays small.
    left: u32,
    /// Enclosing blocks that a branch may go to, innermost last; loops are not among them.
    labels: u32,
}

const BINARY: [&str; 15] = [
    "add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr", "div_s", "div_u", "rem_s",
    "rem_u",
];
const COMPARE: [&str; 10] = ["eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"];
const LOADS_32: [&str; 5] = ["load", "load8_s", "load8_u", "load16_s", "load16_u"];
const LOADS_64: [&str; 7] = ["load", "load8_s", "load8_u", "load16_s", "load16_u", "load32_s", "load32_u"];
const CONSTANTS: [i64; 14] = [0, 1, 2, 3, 7, 8, 31, 32, 63, 255, -1, -128, i32::MIN as i64, i32::MAX as i64];

/// Nested expressions end here.
const DEPTH: u32 = 5;

pub(super) fn generate(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let count = u.int_in_range(2..=8)?;
    let mut functions = Vec::new();
    for _ in 0..count {
        let mut types = |most| -> Result<Vec<Ty>> {
            let length = u.int_in_range(0..=most)?;
            (0..length).map(|_| Ty::pick(u)).collect()
        };
        functions.push(Signature { params: types(6)?, results: types(2)? });
    }
    let mut program =
        Program { u, functions, text: String::new(), locals: Vec::new(), counters: 0, left: 0, labels: 0 };
    program.module()?;
    // Text of ours parses; if not, the comparison says so.
    wat::parse_str(&program.text).map_err(|_| arbitrary::Error::IncorrectFormat)
}

impl Program<'_, '_> {
    fn module(&mut self) -> Result<()> {
        let count = self.functions.len();
        let most = self.u.int_in_range(1..=3)?;
        let _ = write!(
            self.text,
            "(module (memory (export \"memory\") 1 {most}) (table {0} {0} funcref) (elem (i32.const 0) func",
            count + 1
        );
        for index in 0..count {
            let _ = write!(self.text, " $f{index}");
        }
        self.text
            .push_str(") (data (i32.const 100) \"the quick brown fox jumps over the lazy dog\") (data $p \"passive\")");
        self.text.push_str(
            "(global $depth (export \"depth\") (mut i32) (i32.const 0)) (global $a (export \"a\") (mut i32) (i32.const 5))
             (global $b (export \"b\") (mut i64) (i64.const -9))",
        );
        for index in 0..count {
            self.function(index)?;
        }
        self.text.push(')');
        Ok(())
    }

    fn function(&mut self, index: usize) -> Result<()> {
        let Signature { params, results } = self.functions[index].clone();
        let _ = write!(self.text, "\n(func $f{index} (export \"f{index}\")");
        for ty in &params {
            let _ = write!(self.text, " (param {})", ty.name());
        }
        for ty in &results {
            let _ = write!(self.text, " (result {})", ty.name());
        }
        self.locals = params;
        for ty in [Ty::I32, Ty::I64, Ty::I32] {
            self.locals.push(ty);
        }
        self.counters = self.locals.len();
        // Counters of nested loops.
        self.locals.extend([Ty::I32; 3]);
        for ty in &self.locals[self.counters - 3..] {
            let _ = write!(self.text, " (local {})", ty.name());
        }
        self.left = self.u.int_in_range(10..=120)?;
        self.labels = 0;
        let statements = self.u.int_in_range(1..=8)?;
        for _ in 0..statements {
            self.statement(0, 0)?;
        }
        for ty in results {
            self.expression(ty, 0)?;
        }
        self.text.push(')');
        Ok(())
    }

    fn local(&mut self, ty: Ty) -> Result<usize> {
        let of_type: Vec<usize> = (0..self.counters).filter(|&local| self.locals[local] == ty).collect();
        Ok(*self.u.choose(&of_type)?)
    }

    fn spend(&mut self) -> bool {
        self.left = self.left.saturating_sub(1);
        self.left > 0
    }

    fn expression(&mut self, ty: Ty, depth: u32) -> Result<()> {
        let kind =
            if !self.spend() || depth >= DEPTH { self.u.int_in_range(0..=2)? } else { self.u.int_in_range(0..=16)? };
        let name = ty.name();
        match kind {
            0 => self.constant(ty)?,
            1 | 2 => {
                let local = self.local(ty)?;
                let _ = write!(self.text, "(local.get {local})");
            }
            3..=6 => {
                let op = *self.u.choose(&BINARY)?;
                let _ = write!(self.text, "({name}.{op} ");
                self.expression(ty, depth + 1)?;
                let divides = op.starts_with("div") || op.starts_with("rem");
                if divides && self.u.ratio(9, 10)? {
                    let _ = write!(self.text, "({name}.or ({name}.const 1) ");
                    self.expression(ty, depth + 1)?;
                    self.text.push(')');
                } else {
                    self.expression(ty, depth + 1)?;
                }
                self.text.push(')');
            }
            7 => {
                let ops: &[&str] = match ty {
                    Ty::I32 => &["clz", "ctz", "popcnt", "extend8_s", "extend16_s"],
                    Ty::I64 => &["clz", "ctz", "popcnt", "extend8_s", "extend16_s", "extend32_s"],
                };
                let op = *self.u.choose(ops)?;
                let _ = write!(self.text, "({name}.{op} ");
                self.expression(ty, depth + 1)?;
                self.text.push(')');
            }
            8 | 9 => self.comparison_or_conversion(ty, depth)?,
            10 | 11 => {
                let op = *self.u.choose(if ty == Ty::I32 { &LOADS_32[..] } else { &LOADS_64[..] })?;
                let offset = self.offset()?;
                let _ = write!(self.text, "({name}.{op} offset={offset} ");
                self.address(depth)?;
                self.text.push(')');
            }
            12 => {
                self.text.push_str("(select ");
                self.expression(ty, depth + 1)?;
                self.expression(ty, depth + 1)?;
                self.expression(Ty::I32, depth + 1)?;
                self.text.push(')');
            }
            13 => {
                let _ = write!(self.text, "(if (result {name}) ");
                self.expression(Ty::I32, depth + 1)?;
                self.text.push_str("(then ");
                self.labels += 1;
                self.expression(ty, depth + 1)?;
                self.text.push_str(") (else ");
                self.expression(ty, depth + 1)?;
                self.labels -= 1;
                self.text.push_str("))");
            }
            14 => {
                let local = self.local(ty)?;
                let _ = write!(self.text, "(local.tee {local} ");
                self.expression(ty, depth + 1)?;
                self.text.push(')');
            }
            15 if ty == Ty::I32 => {
                let text = *self.u.choose(&["(global.get $a)", "(memory.size)", "(global.get $depth)"])?;
                self.text.push_str(text);
            }
            15 => self.text.push_str("(global.get $b)"),
            _ => self.call_value(ty, depth)?,
        }
        Ok(())
    }

    fn constant(&mut self, ty: Ty) -> Result<()> {
        let value = if self.u.ratio(3, 4)? { *self.u.choose(&CONSTANTS)? } else { self.u.arbitrary::<i64>()? };
        let value = if ty == Ty::I32 { i64::from(value as i32) } else { value };
        let _ = write!(self.text, "({}.const {value})", ty.name());
        Ok(())
    }

    fn comparison_or_conversion(&mut self, ty: Ty, depth: u32) -> Result<()> {
        let of = Ty::pick(self.u)?;
        match (ty, self.u.int_in_range(0..=3)?) {
            (Ty::I32, 0) => {
                self.text.push_str("(i32.wrap_i64 ");
                self.expression(Ty::I64, depth + 1)?;
            }
            (Ty::I32, 1) => {
                let _ = write!(self.text, "({}.eqz ", of.name());
                self.expression(of, depth + 1)?;
            }
            (Ty::I32, _) => {
                let op = *self.u.choose(&COMPARE)?;
                let _ = write!(self.text, "({}.{op} ", of.name());
                self.expression(of, depth + 1)?;
                self.expression(of, depth + 1)?;
            }
            (Ty::I64, kind) => {
                self.text.push_str(if kind % 2 == 0 { "(i64.extend_i32_s " } else { "(i64.extend_i32_u " });
                self.expression(Ty::I32, depth + 1)?;
            }
        }
        self.text.push(')');
        Ok(())
    }

    fn offset(&mut self) -> Result<u32> {
        Ok(if self.u.ratio(9, 10)? { self.u.int_in_range(0..=40)? } else { self.u.int_in_range(0..=70_000)? })
    }

    /// Mostly inside memory.
    fn address(&mut self, depth: u32) -> Result<()> {
        if self.u.ratio(19, 20)? {
            self.text.push_str("(i32.and (i32.const 1023) ");
            self.expression(Ty::I32, depth + 1)?;
            self.text.push(')');
            Ok(())
        } else {
            self.expression(Ty::I32, depth + 1)
        }
    }

    /// The results of a call but the one wanted are dropped; without one of that type, a constant.
    fn call_value(&mut self, ty: Ty, depth: u32) -> Result<()> {
        let fitting: Vec<usize> = (0..self.functions.len()).filter(|&f| self.functions[f].results == [ty]).collect();
        if fitting.is_empty() {
            return self.constant(ty);
        }
        let function = *self.u.choose(&fitting)?;
        let name = ty.name();
        // A bound on recursion; what is too deep has a value all the same.
        let _ = write!(self.text, "(if (result {name}) (i32.lt_u (global.get $depth) (i32.const 4)) (then");
        self.text.push_str("(global.set $depth (i32.add (global.get $depth) (i32.const 1)))");
        self.labels += 1;
        self.call(function, depth)?;
        self.labels -= 1;
        self.text.push_str("(global.set $depth (i32.sub (global.get $depth) (i32.const 1)))) (else ");
        self.constant(ty)?;
        self.text.push_str("))");
        Ok(())
    }

    fn call(&mut self, function: usize, depth: u32) -> Result<()> {
        let Signature { params, results } = self.functions[function].clone();
        let indirect = self.u.ratio(1, 3)?;
        if indirect {
            self.text.push_str("(call_indirect");
            for ty in &params {
                let _ = write!(self.text, " (param {})", ty.name());
            }
            for ty in &results {
                let _ = write!(self.text, " (result {})", ty.name());
            }
        } else {
            let _ = write!(self.text, "(call $f{function}");
        }
        for ty in params {
            self.expression(ty, depth + 1)?;
        }
        if indirect && self.u.ratio(9, 10)? {
            let _ = write!(self.text, "(i32.const {function})");
        } else if indirect {
            self.expression(Ty::I32, depth + 1)?;
        }
        self.text.push(')');
        Ok(())
    }

    fn statement(&mut self, depth: u32, loops: usize) -> Result<()> {
        let kind = if self.spend() && depth < 3 { self.u.int_in_range(0..=13)? } else { self.u.int_in_range(0..=4)? };
        match kind {
            0..=2 => {
                let ty = Ty::pick(self.u)?;
                let local = self.local(ty)?;
                let _ = write!(self.text, "(local.set {local} ");
                self.expression(ty, 0)?;
                self.text.push(')');
            }
            3 => {
                let ty = Ty::pick(self.u)?;
                let ops: &[&str] = if ty == Ty::I32 {
                    &["store", "store8", "store16"]
                } else {
                    &["store", "store8", "store16", "store32"]
                };
                let op = *self.u.choose(ops)?;
                let offset = self.offset()?;
                let _ = write!(self.text, "({}.{op} offset={offset} ", ty.name());
                self.address(1)?;
                self.expression(ty, 1)?;
                self.text.push(')');
            }
            4 => {
                let ty = Ty::pick(self.u)?;
                let _ = write!(self.text, "(global.set ${} ", if ty == Ty::I32 { "a" } else { "b" });
                self.expression(ty, 0)?;
                self.text.push(')');
            }
            5 | 6 => {
                self.text.push_str("(if ");
                self.expression(Ty::I32, 1)?;
                self.text.push_str("(then ");
                self.body(depth, loops)?;
                self.text.push_str(") (else ");
                self.body(depth, loops)?;
                self.text.push_str("))");
            }
            7 => {
                self.text.push_str("(block ");
                self.body(depth, loops)?;
                self.text.push(')');
            }
            8 if self.labels > 0 => {
                let label = self.u.int_in_range(0..=self.labels - 1)?;
                let _ = write!(self.text, "(br_if {label} ");
                self.expression(Ty::I32, 1)?;
                self.text.push(')');
            }
            8 | 9 => self.switch(depth, loops)?,
            10 | 11 if loops < 3 => self.loop_(depth, loops)?,
            12 => self.bulk()?,
            _ => {
                let unit: Vec<usize> =
                    (0..self.functions.len()).filter(|&f| self.functions[f].results.is_empty()).collect();
                if !unit.is_empty() {
                    let function = *self.u.choose(&unit)?;
                    self.text.push_str("(if (i32.lt_u (global.get $depth) (i32.const 3)) (then");
                    self.text.push_str("(global.set $depth (i32.add (global.get $depth) (i32.const 1)))");
                    self.labels += 1;
                    self.call(function, 1)?;
                    self.labels -= 1;
                    self.text.push_str("(global.set $depth (i32.sub (global.get $depth) (i32.const 1)))))");
                }
            }
        }
        Ok(())
    }

    /// Statements inside a construct that a branch may leave.
    fn body(&mut self, depth: u32, loops: usize) -> Result<()> {
        self.labels += 1;
        let count = self.u.int_in_range(0..=3)?;
        for _ in 0..count {
            self.statement(depth + 1, loops)?;
        }
        self.labels -= 1;
        Ok(())
    }

    fn switch(&mut self, depth: u32, loops: usize) -> Result<()> {
        self.text.push_str("(block (block (block (br_table 0 1 2 1 0 2 ");
        self.expression(Ty::I32, 1)?;
        self.text.push_str("))");
        self.labels += 1;
        self.body(depth, loops)?;
        self.labels -= 1;
        self.text.push(')');
        self.body(depth, loops)?;
        self.text.push(')');
        Ok(())
    }

    /// Counts down from a small number; nothing else sets the counter.
    fn loop_(&mut self, depth: u32, loops: usize) -> Result<()> {
        let counter = self.counters + loops;
        let rounds = self.u.int_in_range(1..=9)?;
        let _ = write!(self.text, "(local.set {counter} (i32.const {rounds})) (loop ");
        // A branch to the loop's own label would go round without counting: an inner block takes its place.
        self.text.push_str("(block ");
        self.labels += 1;
        let outer = std::mem::replace(&mut self.labels, 1);
        self.body_flat(depth, loops + 1)?;
        self.labels = outer - 1;
        let _ = write!(self.text, ") (br_if 0 (local.tee {counter} (i32.sub (local.get {counter}) (i32.const 1)))))");
        Ok(())
    }

    fn body_flat(&mut self, depth: u32, loops: usize) -> Result<()> {
        let count = self.u.int_in_range(1..=4)?;
        for _ in 0..count {
            self.statement(depth + 1, loops)?;
        }
        Ok(())
    }

    fn bulk(&mut self) -> Result<()> {
        let op = *self.u.choose(&["memory.fill", "memory.copy", "memory.init $p", "grow"])?;
        if op == "grow" {
            self.text.push_str("(global.set $a (memory.grow (i32.and (i32.const 1) ");
            self.expression(Ty::I32, 2)?;
            self.text.push_str(")))");
            return Ok(());
        }
        let _ = write!(self.text, "({op} ");
        self.address(2)?;
        self.address(2)?;
        self.text.push_str("(i32.and (i32.const 15) ");
        self.expression(Ty::I32, 2)?;
        self.text.push_str("))");
        Ok(())
    }
}
