//! Modules made to be expensive: each shape is what some stage could take more than linear time or memory for.

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ElementSection, Elements, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, MemorySection, MemoryType, Module, RefType, TableSection, TableType,
    TypeSection, ValType,
};

/// A shape: a name and what makes the module of about that many bytes.
pub type Shape = (&'static str, fn(usize) -> Vec<u8>);

/// All of them.
pub const SHAPES: &[Shape] = &[
    ("many functions that declare 50,000 locals", many_locals),
    ("blocks in each other, and a way out of all from each", nested_blocks),
    ("loops in each other, each with a way back", nested_loops),
    ("loops one after another", many_loops),
    ("a tall stack of locals below others that are set", tall_stack),
    ("a tall stack of locals below many blocks", tall_stack_of_blocks),
    ("a table of two targets, over and over", wide_table),
    ("a table of as many targets as there are blocks", deep_table),
    ("many small tables over many live locals", many_tables),
    ("variables that live over many branches", long_ranges),
    ("variables that live round loops in each other", ranges_in_loops),
    ("paths that join with other values, in a loop", joins_in_a_loop),
    ("selections, in a loop", selects_in_a_loop),
    ("a chain of calls", call_chain),
    ("functions that each call many others", call_graph),
    ("functions that all can come to call each other", one_circle),
    ("recursion with much to save at each of many calls", recursion_with_much_to_save),
    ("a small function called over and over", many_calls_of_one),
    ("a large function called over and over", many_calls_of_a_large_one),
    ("indirect calls with many functions to choose from", many_indirect_calls),
    ("blocks with 64 results", wide_blocks),
    ("one branch after another", many_branches),
    ("an expression as deep as the module", deep_expression),
    ("memory.init of as many segments", many_segments),
    ("a function exported over and over", many_exports),
    ("types of 1,000 parameters", wide_types),
    ("as many globals", many_globals),
    ("accesses that can trap, one after another", many_traps),
    ("straight code", straight),
];

const I32: ValType = ValType::I32;

/// Functions of type `(i32) -> i32`, all exported unless only the first is.
struct Builder {
    types: TypeSection,
    functions: FunctionSection,
    code: CodeSection,
    count: u32,
}

fn leb(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// An opcode and its index.
fn op(code: u8, index: u32) -> Vec<u8> {
    let mut out = vec![code];
    leb(index, &mut out);
    out
}

const GET_0: [u8; 2] = [0x20, 0];
const SET_0: [u8; 2] = [0x21, 0];
const DROP: u8 = 0x1a;
const END: u8 = 0x0b;
const BLOCK: [u8; 2] = [0x02, 0x40];
const LOOP: [u8; 2] = [0x03, 0x40];
const IF: [u8; 2] = [0x04, 0x40];

impl Builder {
    fn new() -> Self {
        let mut types = TypeSection::new();
        types.ty().function([I32], [I32]);
        Self { types, functions: FunctionSection::new(), code: CodeSection::new(), count: 0 }
    }

    /// Adds a function whose body leaves an i32, `end` not included.
    fn function(&mut self, locals: &[(u32, ValType)], body: &[u8]) {
        self.functions.function(0);
        let mut function = Function::new(locals.iter().copied());
        function.raw(body.iter().copied());
        function.raw([END]);
        self.code.function(&function);
        self.count += 1;
    }

    fn finish(self, exported: u32) -> Vec<u8> {
        self.finish_with(exported, |_| {}, |_| {})
    }

    /// `before` adds sections between functions and exports, `after` between exports and code.
    fn finish_with(self, exported: u32, before: impl FnOnce(&mut Module), after: impl FnOnce(&mut Module)) -> Vec<u8> {
        let mut exports = ExportSection::new();
        for index in 0..exported.min(self.count) {
            exports.export(&format!("f{index}"), ExportKind::Func, index);
        }
        let mut module = Module::new();
        module.section(&self.types).section(&self.functions);
        before(&mut module);
        module.section(&exports);
        after(&mut module);
        module.section(&self.code);
        module.finish()
    }
}

/// One exported function of that body.
fn one(locals: &[(u32, ValType)], body: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.function(locals, body);
    builder.finish(1)
}

fn memory() -> MemorySection {
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    memories
}

fn repeat(times: usize, piece: &[u8]) -> Vec<u8> {
    piece.repeat(times)
}

fn many_locals(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    let body = [op(0x20, 49_999), op(0x21, 49_998), GET_0.to_vec()].concat();
    for _ in 0..bytes / 25 {
        builder.function(&[(49_999, I32)], &body);
    }
    builder.finish(u32::MAX)
}

fn nested_blocks(bytes: usize) -> Vec<u8> {
    let depth = bytes / 9;
    let mut body = repeat(depth, &BLOCK);
    for level in 0..depth {
        body.extend([&GET_0[..], &op(0x0d, (depth - 1 - level) as u32), &[END]].concat());
    }
    body.extend(GET_0);
    one(&[], &body)
}

fn nested_loops(bytes: usize) -> Vec<u8> {
    let depth = bytes / 7;
    let mut body = repeat(depth, &LOOP);
    body.extend(repeat(depth, &[&GET_0[..], &[0x0d, 0, END]].concat()));
    body.extend(GET_0);
    one(&[], &body)
}

fn many_loops(bytes: usize) -> Vec<u8> {
    let mut body = repeat(bytes / 7, &[&LOOP[..], &GET_0, &[0x0d, 0, END]].concat());
    body.extend(GET_0);
    one(&[], &body)
}

fn tall_stack(bytes: usize) -> Vec<u8> {
    let height = bytes / 7;
    let mut body = repeat(height, &GET_0);
    // get 1, get 1, set 1: an entry of the local that is set, above all the others.
    body.extend(repeat(height / 2, &[0x20, 1, 0x20, 1, 0x21, 1, DROP]));
    body.extend(repeat(height, &[DROP]));
    body.extend(GET_0);
    one(&[(1, I32)], &body)
}

fn tall_stack_of_blocks(bytes: usize) -> Vec<u8> {
    let height = bytes / 10;
    let mut body = repeat(height, &GET_0);
    body.extend(repeat(height, &[&BLOCK[..], &GET_0, &[0x0d, 0, END]].concat()));
    body.extend(repeat(height, &[DROP]));
    body.extend(GET_0);
    one(&[], &body)
}

fn wide_table(bytes: usize) -> Vec<u8> {
    let mut body = [BLOCK, BLOCK, GET_0].concat();
    // No table has room for more.
    let mut left = bytes;
    while left > 10 {
        let targets = left.min(60_000);
        body.extend(op(0x0e, targets as u32));
        body.extend((0..=targets).map(|n| (n % 2) as u8));
        body.extend([END]);
        body.extend(BLOCK);
        body.extend(GET_0);
        left = left.saturating_sub(targets + 10);
    }
    body.extend([DROP, END, END]);
    body.extend(GET_0);
    one(&[], &body)
}

fn deep_table(bytes: usize) -> Vec<u8> {
    let depth = (bytes / 6).min(60_000);
    let mut body = repeat(depth, &BLOCK);
    body.extend(GET_0);
    body.extend(op(0x0e, depth as u32 - 1));
    (0..depth as u32).for_each(|level| leb(level, &mut body));
    body.extend(repeat(depth, &[END]));
    body.extend(GET_0);
    one(&[], &body)
}

/// Locals with values of their own, and the sum of all of them.
fn set_all(locals: u32) -> Vec<u8> {
    (1..=locals).flat_map(|local| [GET_0.to_vec(), op(0x21, local)].concat()).collect()
}

fn sum_all(locals: u32) -> Vec<u8> {
    let mut body = GET_0.to_vec();
    body.extend((1..=locals).flat_map(|local| [op(0x20, local), vec![0x6a]].concat()));
    body
}

fn many_tables(bytes: usize) -> Vec<u8> {
    let locals = (bytes / 30).min(40_000) as u32;
    let table = [&BLOCK[..], &BLOCK, &GET_0, &[0x0e, 4, 0, 1, 0, 1, 0, END, END]].concat();
    let body = [set_all(locals), repeat(bytes / 30, &table), sum_all(locals)].concat();
    one(&[(locals, I32)], &body)
}

fn long_ranges(bytes: usize) -> Vec<u8> {
    let locals = (bytes / 24).min(40_000) as u32;
    let branch = [&IF[..], &SET_0[..0], &[END]].concat();
    let branches = repeat(bytes / 16, &[&GET_0[..], &branch].concat());
    one(&[(locals, I32)], &[set_all(locals), branches, sum_all(locals)].concat())
}

fn ranges_in_loops(bytes: usize) -> Vec<u8> {
    let locals = (bytes / 24).min(40_000) as u32;
    let depth = bytes / 20;
    let back = [&GET_0[..], &[0x0d, 0, END]].concat();
    let body = [set_all(locals), repeat(depth, &LOOP), sum_all(locals), SET_0.to_vec(), repeat(depth, &back)];
    one(&[(locals, I32)], &[body.concat(), GET_0.to_vec()].concat())
}

/// A loop over statements that each set one of six locals, all of them live to its end.
fn loop_over(bytes: usize, statement: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let length = statement(1).len();
    let statements: Vec<u8> = (0..(bytes / length) as u32).flat_map(|number| statement(number % 6 + 1)).collect();
    let again = [&GET_0[..], &[0x0d, 0, END]].concat();
    one(&[(6, I32)], &[&LOOP[..], &statements, &sum_all(6), &SET_0, &again, &GET_0].concat())
}

fn joins_in_a_loop(bytes: usize) -> Vec<u8> {
    let set = |value: u8, local: u32| [vec![0x41, value], op(0x21, local)].concat();
    loop_over(bytes, |local| [&GET_0[..], &IF, &set(7, local), &[0x05], &set(9, local), &[END]].concat())
}

fn selects_in_a_loop(bytes: usize) -> Vec<u8> {
    loop_over(bytes, |local| [&[0x41, 7, 0x41, 9][..], &GET_0, &[0x1b], &op(0x21, local)].concat())
}

/// Enough that a function is not inlined.
fn padding() -> Vec<u8> {
    repeat(30, &[&GET_0[..], &GET_0, &[0x6c], &SET_0].concat())
}

fn call_chain(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    let count = (bytes / 230).max(2) as u32;
    for index in 0..count {
        let next = if index + 1 < count { op(0x10, index + 1) } else { Vec::new() };
        // Twice, so that no caller is the only one.
        let body = [padding(), GET_0.to_vec(), next.clone(), next].concat();
        builder.function(&[], &body);
    }
    builder.finish(1)
}

fn call_graph(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    let count = (bytes / 720).max(3) as u32;
    for index in 0..count {
        let calls: Vec<u8> = (1..100).filter(|n| index + n < count).flat_map(|n| op(0x10, index + n)).collect();
        builder.function(&[], &[padding(), GET_0.to_vec(), calls].concat());
    }
    builder.finish(u32::MAX)
}

fn one_circle(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    let count = (bytes / 250).max(2) as u32;
    for index in 0..count {
        let call = op(0x10, (index + 1) % count);
        let call = [&GET_0[..], &IF, &GET_0, &call, &SET_0, &[END]].concat();
        builder.function(&[], &[padding(), call, GET_0.to_vec()].concat());
    }
    builder.finish(1)
}

fn recursion_with_much_to_save(bytes: usize) -> Vec<u8> {
    let locals = (bytes / 20).min(40_000) as u32;
    let calls = repeat(bytes / 12, &[&GET_0[..], &[0x10, 0], &SET_0].concat());
    one(&[(locals, I32)], &[set_all(locals), calls, sum_all(locals)].concat())
}

fn many_calls_of_one(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    for _ in 0..(bytes / 7600).max(1) {
        builder.function(&[], &[GET_0.to_vec(), repeat(1500, &op(0x10, (bytes / 7600).max(1) as u32))].concat());
    }
    builder.function(&[], &[GET_0.to_vec(), repeat(10, &[&GET_0[..], &[0x6c]].concat())].concat());
    builder.finish(u32::MAX)
}

fn many_calls_of_a_large_one(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.function(&[], &[GET_0.to_vec(), repeat(bytes / 4, &[0x10, 1])].concat());
    builder
        .function(&[], &[repeat(bytes / 14, &[&GET_0[..], &GET_0, &[0x6c], &SET_0].concat()), GET_0.to_vec()].concat());
    builder.finish(1)
}

fn many_indirect_calls(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    let functions = (bytes / 12).max(2) as u32;
    builder.function(&[], &[GET_0.to_vec(), repeat(bytes / 12, &[&GET_0[..], &[0x11, 0, 0]].concat())].concat());
    for _ in 1..functions {
        builder.function(&[], &GET_0);
    }
    let mut tables = TableSection::new();
    let (element_type, minimum) = (RefType::FUNCREF, 60_000);
    tables.table(TableType { element_type, minimum, maximum: None, table64: false, shared: false });
    let mut elements = ElementSection::new();
    let all: Vec<u32> = (0..functions.min(60_000)).collect();
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(all.into()));
    builder.finish_with(
        1,
        |module| {
            module.section(&tables);
        },
        |module| {
            module.section(&elements);
        },
    )
}

fn wide_blocks(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.types.ty().function([I32; 64], [I32; 64]);
    let blocks = repeat(bytes / 3, &[0x02, 1, END]);
    builder.function(&[], &[&repeat(64, &GET_0)[..], &blocks, &[DROP; 64], &GET_0].concat());
    builder.finish(1)
}

fn many_branches(bytes: usize) -> Vec<u8> {
    let statement = [&GET_0[..], &IF, &[0x41, 7], &SET_0, &[END]].concat();
    one(&[], &[repeat(bytes / statement.len(), &statement), GET_0.to_vec()].concat())
}

fn deep_expression(bytes: usize) -> Vec<u8> {
    let depth = bytes / 3;
    one(&[], &[repeat(depth + 1, &GET_0), repeat(depth, &[0x6a])].concat())
}

fn many_segments(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    let count = (bytes / 22).clamp(1, 90_000) as u32;
    let mut body = Vec::new();
    for segment in 0..count {
        body.extend([0x41, 0, 0x41, 0, 0x41, 1, 0xfc]);
        leb(8, &mut body);
        leb(segment, &mut body);
        body.push(0);
    }
    builder.function(&[], &[&body[..], &GET_0].concat());
    let mut data = DataSection::new();
    for _ in 0..count {
        data.passive([7]);
    }
    let mut exports = ExportSection::new();
    exports.export("f0", ExportKind::Func, 0);
    let mut module = Module::new();
    module.section(&builder.types).section(&builder.functions).section(&memory()).section(&exports);
    module.section(&wasm_encoder::DataCountSection { count }).section(&builder.code).section(&data);
    module.finish()
}

fn many_exports(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.function(&[], &GET_0);
    let mut exports = ExportSection::new();
    for number in 0..(bytes / 10).min(90_000) {
        exports.export(&format!("e{number}"), ExportKind::Func, 0);
    }
    let mut module = Module::new();
    module.section(&builder.types).section(&builder.functions).section(&exports).section(&builder.code);
    module.finish()
}

fn wide_types(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    for number in 0..bytes / 1010 {
        let params = (0..1000).map(|bit| if number >> (bit % 16) & 1 == 0 { I32 } else { ValType::I64 });
        builder.types.ty().function(params, []);
    }
    builder.function(&[], &GET_0);
    builder.finish(1)
}

fn many_globals(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    let count = (bytes / 12).clamp(1, 900_000) as u32;
    let body: Vec<u8> = (0..count).flat_map(|global| [GET_0.to_vec(), op(0x24, global)].concat()).collect();
    builder.function(&[], &[&body[..], &GET_0].concat());
    let mut globals = GlobalSection::new();
    for _ in 0..count {
        globals.global(GlobalType { val_type: I32, mutable: true, shared: false }, &ConstExpr::i32_const(1));
    }
    builder.finish_with(
        1,
        |module| {
            module.section(&globals);
        },
        |_| {},
    )
}

fn many_traps(bytes: usize) -> Vec<u8> {
    let mut builder = Builder::new();
    let statement = [&GET_0[..], &[0x28, 2, 0], &SET_0].concat();
    builder.function(&[], &[repeat(bytes / statement.len(), &statement), GET_0.to_vec()].concat());
    builder.finish_with(
        1,
        |module| {
            module.section(&memory());
        },
        |_| {},
    )
}

fn straight(bytes: usize) -> Vec<u8> {
    one(&[], &[repeat(bytes / 7, &[&GET_0[..], &GET_0, &[0x6c], &SET_0].concat()), GET_0.to_vec()].concat())
}
