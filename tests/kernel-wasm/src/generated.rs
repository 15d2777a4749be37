//! Generated modules of any size, for bars that depend on it.

use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, Instruction as I, MemArg,
    MemArgTarget, MemorySection, MemoryType, Module, TypeSection, ValType,
};

const AT: MemArg = MemArg { offset: 16, align: 2, target: MemArgTarget::Memory(0), ordering: None };

/// A module of so many functions of so many statements each: assignments, conditions, loads, stores, and a loop around
/// every sixteenth. Each takes and returns an i32 and is exported by its number.
pub fn module(functions: u32, statements: u32) -> Vec<u8> {
    let (mut types, mut kinds, mut exports) = (TypeSection::new(), FunctionSection::new(), ExportSection::new());
    let mut code = CodeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    for function in 0..functions {
        kinds.function(0);
        exports.export(&function.to_string(), ExportKind::Func, function);
        code.function(&body(function, statements));
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut module = Module::new();
    module.section(&types).section(&kinds).section(&memories).section(&exports).section(&code);
    module.finish()
}

fn body(function: u32, statements: u32) -> Function {
    let mut f = Function::new([(3, ValType::I32)]);
    for n in 0..statements {
        let number = I::I32Const((n.wrapping_mul(2_654_435_761) ^ function) as i32 & 0xffff);
        match n % 5 {
            0 => [I::LocalGet(1), I::LocalGet(0), I::I32Load(AT), I::I32Add, I::LocalSet(1)].iter().for_each(|i| {
                f.instruction(i);
            }),
            1 => {
                f.instruction(&I::LocalGet(1)).instruction(&number).instruction(&I::I32GtU);
                f.instruction(&I::If(BlockType::Empty)).instruction(&number).instruction(&I::LocalSet(2));
                f.instruction(&I::End);
            }
            2 => {
                f.instruction(&I::LocalGet(0)).instruction(&I::LocalGet(2)).instruction(&I::I32Store(AT));
            }
            3 => {
                f.instruction(&I::LocalGet(1)).instruction(&number).instruction(&I::I32Mul);
                f.instruction(&I::I32Const(1023)).instruction(&I::I32And).instruction(&I::LocalSet(0));
            }
            _ => looped(&mut f, n),
        }
    }
    f.instruction(&I::LocalGet(1)).instruction(&I::LocalGet(2)).instruction(&I::I32Add).instruction(&I::End);
    f
}

/// Every sixteenth of its kind counts to 3.
fn looped(f: &mut Function, n: u32) {
    if n % 80 != 4 {
        f.instruction(&I::LocalGet(2)).instruction(&I::LocalGet(1)).instruction(&I::I32Xor);
        f.instruction(&I::LocalSet(2));
        return;
    }
    f.instruction(&I::I32Const(3)).instruction(&I::LocalSet(3)).instruction(&I::Loop(BlockType::Empty));
    f.instruction(&I::LocalGet(1)).instruction(&I::LocalGet(3)).instruction(&I::I32Add).instruction(&I::LocalSet(1));
    f.instruction(&I::LocalGet(3)).instruction(&I::I32Const(1)).instruction(&I::I32Sub).instruction(&I::LocalTee(3));
    f.instruction(&I::BrIf(0)).instruction(&I::End);
}

/// The module that takes about that many bytes, functions of at most 40 KiB: 250 of them make 10 MB.
pub fn of_size(bytes: usize) -> Vec<u8> {
    // A statement takes about seven and a half bytes.
    let statements = (bytes * 2 / 15).max(1);
    let functions = statements.div_ceil(5400).max(statements.min(10) / 10 * 10).max(1);
    module(functions as u32, (statements / functions) as u32)
}
