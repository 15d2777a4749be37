//! The heap that inspection and admission take, counted: at most the module's own size, so that with the module itself
//! it is at most twice the input; and a fixed amount above it for modules that are made of nothing but items.
//!
//! One test, since the counter is the process's.

mod enlarged;
mod plugin;

use enlarged::{enlarged, sample};
use peak_alloc::PeakAlloc;
use plugin::{METADATA, Plugin};
use skep_admit::{
    MAX_EXPORTS, MAX_GLOBALS, MAX_IMPORTS, MAX_NAMES, MAX_SECTIONS, MAX_TAGS, MAX_TYPES, Policy, Slot, admit, inspect,
    rejections,
};
use wasm_encoder as enc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The heap's highest mark above what was there before, in bytes: the input is not in it.
fn peak(bytes: &[u8]) -> usize {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let found = inspect(bytes);
    for slot in Slot::ALL {
        drop(admit(&found, *slot, &Policy::default()));
        drop(rejections(&found, *slot, &Policy::allow_all()));
    }
    HEAP.peak_usage() - before
}

fn module(fill: impl FnOnce(&mut enc::Module)) -> Vec<u8> {
    let mut module = enc::Module::new();
    fill(&mut module);
    module.finish()
}

fn types(module: &mut enc::Module, count: u32) {
    let mut types = enc::TypeSection::new();
    (0..count).for_each(|_| types.ty().function([], []));
    module.section(&types);
}

fn with_imports(count: u32, name: &str) -> Vec<u8> {
    module(|module| {
        types(module, 1);
        let mut imports = enc::ImportSection::new();
        (0..count).for_each(|_| _ = imports.import("skep", name, enc::EntityType::Function(0)));
        module.section(&imports);
    })
}

/// A module of nothing but a type section of one group.
fn with_type_group(count: u32) -> Vec<u8> {
    let mut group = vec![1, 0x4e];
    enc::Encode::encode(&count, &mut group);
    group.extend([0x60, 0, 0].repeat(count as usize));
    let mut bytes = b"\0asm\x01\0\0\0\x01".to_vec();
    enc::Encode::encode(group.as_slice(), &mut bytes);
    bytes
}

/// Types of which no two are the same, with so many parameters each.
fn with_distinct_types(count: u32, params: u32) -> Vec<u8> {
    use enc::ValType::{F32, F64, I32, I64};
    module(|module| {
        let mut types = enc::TypeSection::new();
        let ty = |digit: u32| [I32, I64, F32, F64][digit as usize % 4];
        (0..count).for_each(|n| types.ty().function((0..params).map(|place| ty(n >> (2 * (place % 8)))), []));
        module.section(&types);
    })
}

/// Exports of a function with as many parameters and results as there may be.
fn with_wide_exports(count: u32) -> Vec<u8> {
    module(|module| {
        let mut types = enc::TypeSection::new();
        types.ty().function([enc::ValType::I32; 1_000], [enc::ValType::I64; 1_000]);
        module.section(&types);
        let mut imports = enc::ImportSection::new();
        imports.import("", "", enc::EntityType::Function(0));
        module.section(&imports);
        let mut list = enc::ExportSection::new();
        (0..count).for_each(|n| _ = list.export(&format!("{n:x}"), enc::ExportKind::Func, 0));
        module.section(&list);
    })
}

/// Functions of four bytes each, all told.
fn with_functions(count: u32, exports: u32) -> Vec<u8> {
    module(|module| {
        types(module, 1);
        let mut functions = enc::FunctionSection::new();
        (0..count).for_each(|_| _ = functions.function(0));
        module.section(&functions);
        let mut list = enc::ExportSection::new();
        (0..exports).for_each(|n| _ = list.export(&format!("{n:x}"), enc::ExportKind::Func, 0));
        module.section(&list);
        let mut code = enc::CodeSection::new();
        let mut empty = enc::Function::new([]);
        empty.instructions().end();
        (0..count).for_each(|_| _ = code.function(&empty));
        module.section(&code);
    })
}

fn with_nested_blocks(depth: usize) -> Vec<u8> {
    module(|module| {
        types(module, 1);
        let mut functions = enc::FunctionSection::new();
        functions.function(0);
        module.section(&functions);
        let mut code = enc::CodeSection::new();
        let mut nested = enc::Function::new([]);
        nested.raw([[0x02, 0x40].repeat(depth), vec![0x0b; depth + 1]].concat());
        code.function(&nested);
        module.section(&code);
    })
}

fn with_globals(count: u32) -> Vec<u8> {
    module(|module| {
        let mut globals = enc::GlobalSection::new();
        let ty = enc::GlobalType { val_type: enc::ValType::I32, mutable: false, shared: false };
        (0..count).for_each(|_| _ = globals.global(ty, &enc::ConstExpr::i32_const(0)));
        module.section(&globals);
    })
}

fn with_tags(count: u32) -> Vec<u8> {
    module(|module| {
        types(module, 1);
        let mut tags = enc::TagSection::new();
        let ty = enc::TagType { kind: enc::TagKind::Exception, func_type_idx: 0 };
        (0..count).for_each(|_| _ = tags.tag(ty));
        module.section(&tags);
    })
}

fn with_elements(count: u32) -> Vec<u8> {
    module(|module| {
        let mut elements = enc::ElementSection::new();
        (0..count).for_each(|_| _ = elements.passive(enc::Elements::Functions((&[]).into())));
        module.section(&elements);
    })
}

fn with_sections(count: usize, name: &str, size: usize) -> Vec<u8> {
    let data = vec![b' '; size];
    module(|module| {
        for _ in 0..count {
            module.section(&enc::CustomSection { name: name.into(), data: (&data).into() });
        }
    })
}

fn described(rest: &str) -> Vec<u8> {
    let metadata = METADATA.replace(r#""hooks":{"#, rest);
    Plugin { metadata: vec![metadata.into()], ..Plugin::default() }.bytes()
}

/// Modules as compilers write them: C, Rust and Go, the sizes that the bars are about among them.
fn real() -> Vec<(String, Vec<u8>)> {
    let mut modules: Vec<(String, Vec<u8>)> =
        ["bootstrap/bootstrap.wasm", "opensnoop/opensnoop.wasm", "tcpstates/tcpstates.wasm", "execve/execve.wasm"]
            .map(|path| (path.to_owned(), sample(path)))
            .into();
    modules.push(("100 KiB of Rust".into(), enlarged(&modules[2].1, 100 << 10)));
    modules.push(("4 MiB of Go".into(), enlarged(&modules[3].1, (4 << 20) + (16 << 10))));
    for (name, bytes) in &modules {
        wasmparser::validate(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    modules
}

fn hostile() -> Vec<(&'static str, Vec<u8>)> {
    let capabilities = format!(r#""capabilities":[{}""],"hooks":{{"#, r#""","#.repeat(20_000));
    let hooks: String = (0..2_300).map(|n| format!(r#""{n}":{{"wire_version":1}},"#)).collect();
    vec![
        ("a hundred thousand imports", with_imports(100_000, "")),
        ("as many imports as may be", with_imports(MAX_IMPORTS, "")),
        ("long names", with_imports(MAX_IMPORTS, &"n".repeat(50_000))),
        ("names as long as may be", with_imports(MAX_IMPORTS, &"n".repeat(MAX_NAMES / MAX_IMPORTS as usize - 4))),
        ("a million types", module(|module| types(module, 1_000_000))),
        ("as many types as may be", module(|module| types(module, MAX_TYPES))),
        ("as many types as may be, all different", with_distinct_types(MAX_TYPES, 8)),
        ("as many parameters as may be", with_distinct_types(50, 1_000)),
        ("five million parameters", with_distinct_types(MAX_TYPES, 1_000)),
        ("as many types as may be in a group", with_type_group(MAX_TYPES)),
        ("a group of a million types", with_type_group(1_000_000)),
        ("four hundred exports of a thousand parameters", with_wide_exports(400)),
        ("as many exports as may be", with_functions(1, MAX_EXPORTS)),
        ("a million functions", with_functions(1_000_000, 0)),
        ("a million blocks in each other", with_nested_blocks(1_000_000)),
        ("a million globals", with_globals(1_000_000)),
        ("as many globals as may be", with_globals(MAX_GLOBALS)),
        ("as many tags as may be", with_tags(MAX_TAGS)),
        ("a million tags", with_tags(1_000_000)),
        ("a hundred thousand element segments", with_elements(100_000)),
        ("as many sections as may be", with_sections(MAX_SECTIONS, "", 0)),
        ("a name section of 8 MiB", with_sections(1, "name", 8 << 20)),
        ("a custom section of 8 MiB", with_sections(1, &"n".repeat(90_000), 8 << 20)),
        ("a description of 50 MiB", with_sections(1, "skep.plugin.v1", 50 << 20)),
        ("twenty thousand capabilities", described(&capabilities)),
        ("two thousand hooks", described(&format!(r#""hooks":{{{hooks}"#))),
    ]
}

#[test]
fn heap_stays_within_the_size_of_the_input() {
    // The first run of anything allocates what stays.
    peak(&sample("execve/execve.wasm"));
    for (name, bytes) in real() {
        let heap = peak(&bytes);
        println!("{name}: {} bytes, {heap} of heap, {:.3} of the input", bytes.len(), heap as f64 / bytes.len() as f64);
        assert!(heap <= bytes.len(), "{name}");
    }
    for (name, bytes) in hostile() {
        let heap = peak(&bytes);
        println!("{name}: {} bytes, {heap} of heap, {:?}", bytes.len(), inspect(&bytes).reasons[0].kind);
        assert!(heap <= bytes.len() + (3 << 20), "{name}: {heap} for {}", bytes.len());
    }
}
