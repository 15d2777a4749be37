//! Expressions over i32 and i64, in the kernel and in wasmtime: any tree of operators, on any arguments, gives the same.

use std::fmt::Write as _;

use proptest::{prelude::*, test_runner::Config};
use skep_bpf::kernel_wasm::{KernelModule, Outcome};
use skep_suite::kernel_gate;
use wasm2bpf::{Isa, Options, Target, TrapKind};
use wasmtime::{Engine, Instance, Module, Store, Trap};

/// An operator and its operands; the type is that of the place where it stands.
#[derive(Clone, Debug)]
enum Expr {
    Const(i64),
    Param(bool),
    Unary(&'static str, Box<Expr>),
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Compare(&'static str, bool, Box<Expr>, Box<Expr>),
    /// From the other type.
    Convert(bool, Box<Expr>),
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    Load(&'static str, Box<Expr>),
}

const UNARY: [&str; 5] = ["clz", "ctz", "popcnt", "extend8_s", "extend16_s"];
const BINARY: [&str; 15] = [
    "add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u", "rotl", "rotr", "div_s", "div_u", "rem_s",
    "rem_u",
];
const COMPARE: [&str; 10] = ["eq", "ne", "lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u"];
const LOADS: [&str; 5] = ["load", "load8_s", "load8_u", "load16_s", "load16_u"];

fn number() -> impl Strategy<Value = i64> {
    let edges = [0, 1, -1, 2, 7, 31, 32, 63, 64, 255, 65_535, i32::MIN.into(), i32::MAX.into(), i64::MIN, i64::MAX];
    prop_oneof![proptest::sample::select(edges.to_vec()), any::<i64>(), any::<i32>().prop_map(i64::from)]
}

fn expression() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![number().prop_map(Expr::Const), any::<bool>().prop_map(Expr::Param)];
    leaf.prop_recursive(6, 48, 3, |inner| {
        let one = || inner.clone().prop_map(Box::new);
        let of = |names: &'static [&'static str]| proptest::sample::select(names);
        prop_oneof![
            2 => (of(&UNARY), one()).prop_map(|(op, a)| Expr::Unary(op, a)),
            6 => (of(&BINARY), one(), one()).prop_map(|(op, a, b)| Expr::Binary(op, a, b)),
            2 => (of(&COMPARE), any::<bool>(), one(), one()).prop_map(|(op, wide, a, b)| Expr::Compare(op, wide, a, b)),
            1 => (any::<bool>(), one()).prop_map(|(signed, a)| Expr::Convert(signed, a)),
            1 => (one(), one(), one()).prop_map(|(c, a, b)| Expr::Select(c, a, b)),
            1 => (one(), one(), one()).prop_map(|(c, a, b)| Expr::If(c, a, b)),
            1 => (of(&LOADS), one()).prop_map(|(op, a)| Expr::Load(op, a)),
        ]
    })
}

fn ty(wide: bool) -> &'static str {
    if wide { "i64" } else { "i32" }
}

/// Writes the expression as a value of that type.
fn write(expr: &Expr, wide: bool, out: &mut String) {
    let name = ty(wide);
    match expr {
        Expr::Const(value) => {
            let value = if wide { *value } else { i64::from(*value as i32) };
            let _ = write!(out, "({name}.const {value})");
        }
        Expr::Param(second) => {
            let _ = write!(out, "(local.get {})", u8::from(*second) + 2 * u8::from(wide));
        }
        Expr::Unary(op, a) => all(out, &format!("{name}.{op}"), &[(a, wide)]),
        Expr::Binary(op, a, b) => all(out, &format!("{name}.{op}"), &[(a, wide), (b, wide)]),
        Expr::Compare(op, of, a, b) => {
            out.push_str(if wide { "(i64.extend_i32_u " } else { "(i32.eqz " });
            all(out, &format!("{}.{op}", ty(*of)), &[(a, *of), (b, *of)]);
            out.push(')');
        }
        Expr::Convert(_, a) if !wide => all(out, "i32.wrap_i64", &[(a, true)]),
        Expr::Convert(signed, a) => {
            all(out, if *signed { "i64.extend_i32_s" } else { "i64.extend_i32_u" }, &[(a, false)]);
        }
        Expr::Select(c, a, b) => all(out, "select", &[(a, wide), (b, wide), (c, false)]),
        Expr::If(c, a, b) => {
            let _ = write!(out, "(if (result {name}) ");
            write(c, false, out);
            all(out, "then", &[(a, wide)]);
            all(out, "else", &[(b, wide)]);
            out.push(')');
        }
        Expr::Load(op, a) => {
            // At the memory's end, or inside of it.
            let _ = write!(out, "({name}.{op} (i32.and (i32.const 0x1ffff) ");
            write(a, false, out);
            out.push_str("))");
        }
    }
}

fn all(out: &mut String, op: &str, operands: &[(&Expr, bool)]) {
    let _ = write!(out, "({op} ");
    operands.iter().for_each(|&(operand, wide)| write(operand, wide, out));
    out.push(')');
}

/// Functions of the expression, plain and in a loop, where what the verifier may know is handled otherwise.
fn module(expr: &Expr, wide: bool) -> String {
    let mut value = String::new();
    write(expr, wide, &mut value);
    let (name, own) = (ty(wide), 2 * u8::from(wide));
    format!(
        "(module (memory 1) (data (i32.const 0) \"\\01\\ff\\80\\7f\\fe\\00\\80\\ff\\ff\\7f\")
            (func (export \"once\") (param i32 i32 i64 i64) (result {name}) {value})
            (func (export \"again\") (param i32 i32 i64 i64) (result {name}) (local $rounds i32)
                (local.set $rounds (i32.const 4))
                (loop
                    (local.set {own} {value})
                    (br_if 0 (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
                (local.get {own})))"
    )
}

fn agree(trap: Trap, kind: TrapKind) -> bool {
    match trap {
        Trap::MemoryOutOfBounds => kind == TrapKind::MemoryBounds,
        Trap::IntegerDivisionByZero => kind == TrapKind::DivideByZero,
        Trap::IntegerOverflow => kind == TrapKind::IntegerOverflow,
        _ => false,
    }
}

fn same(engine: &Engine, bytes: &[u8], wide: bool, options: &Options, arguments: (i32, i32, i64, i64)) {
    let kernel = KernelModule::load(wasm2bpf::compile(bytes, options).unwrap(), bytes, 1, false).unwrap();
    let (id, _) = kernel.instantiate(0, &|_, _| None).unwrap();
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &Module::new(engine, bytes).unwrap(), &[]).unwrap();
    let (a, b, c, d) = arguments;
    let words = [u64::from(a as u32), u64::from(b as u32), c as u64, d as u64];
    for (index, export) in ["once", "again"].into_iter().enumerate() {
        let function = instance.get_func(&mut store, export).unwrap();
        let theirs = if wide {
            function.typed::<(i32, i32, i64, i64), i64>(&store).unwrap().call(&mut store, arguments).map(|v| v as u64)
        } else {
            let typed = function.typed::<(i32, i32, i64, i64), i32>(&store).unwrap();
            typed.call(&mut store, arguments).map(|v| u64::from(v as u32))
        };
        let ours = kernel.call(id, index as u32, &words, 1000).unwrap().outcome;
        match (&ours, &theirs) {
            (Outcome::Returned(values), Ok(value)) => assert_eq!(values, &[*value], "{export}"),
            (Outcome::Trapped(site), Err(error)) => {
                let trap = error.downcast_ref::<Trap>().copied();
                assert!(trap.is_some_and(|trap| agree(trap, site.kind)), "{export}: {site:?} and {error}");
            }
            _ => panic!("{export}: {ours:?} and {theirs:?}"),
        }
    }
}

#[test]
fn kernel_any_expression_is_what_wasmtime_says() {
    if !kernel_gate("generated expressions") {
        return;
    }
    let engine = Engine::default();
    let arena = Options { max_memory_pages: 1, ..Options::default() };
    let targets = [
        arena.clone(),
        Options { isa: Isa::V3, ..arena.clone() },
        Options { target: Target::Array, isa: Isa::V3, ..arena },
    ];
    // `PROPTEST_CASES` asks for more; what fails is made small and printed, not kept in a file.
    let config = Config { failure_persistence: None, ..Config::default() };
    let arguments = (any::<i32>(), number(), number(), any::<i64>());
    proptest!(config, |(expr in expression(), wide in any::<bool>(), arguments in arguments, target in 0usize..3)| {
        let bytes = wat::parse_str(module(&expr, wide)).unwrap();
        let (a, b, c, d) = arguments;
        same(&engine, &bytes, wide, &targets[target], (a, b as i32, c, d));
    });
}
