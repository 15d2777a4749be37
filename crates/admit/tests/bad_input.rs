//! Bad input: each kind is refused with its own reason.

use skep_abi::hooks::Hook;
use skep_admit::{Inspection, RejectionKind as Kind, inspect};
use wasm_encoder as enc;

fn kinds(inspection: &Inspection) -> Vec<Kind> {
    inspection.reasons.iter().map(|reason| reason.kind).collect()
}

fn first(bytes: &[u8]) -> Kind {
    let found = inspect(bytes);
    assert!(found.check().is_err());
    found.reasons[0].kind
}

/// A plugin that is right but for what a test changes.
struct Plugin {
    imports: Vec<(&'static str, &'static str, Vec<enc::ValType>)>,
    metadata: Vec<Vec<u8>>,
    fingerprints: Vec<(&'static str, Vec<u8>)>,
    filter_result: enc::ValType,
    also_observe: bool,
    start: bool,
    memory: u64,
    data_at: Option<i32>,
}

const METADATA: &str = r#"{"name":"p","version":"1","hooks":{"filter":{"wire_version":1}}}"#;

impl Default for Plugin {
    fn default() -> Self {
        Self {
            imports: Vec::new(),
            metadata: vec![METADATA.into()],
            fingerprints: vec![("skep.schema.filter.v1", vec![0; 32])],
            filter_result: enc::ValType::I64,
            also_observe: false,
            start: false,
            memory: 1,
            data_at: None,
        }
    }
}

impl Plugin {
    fn bytes(&self) -> Vec<u8> {
        use enc::ValType::I32;
        let mut module = enc::Module::new();
        let mut types = enc::TypeSection::new();
        types.ty().function([I32, I32], [I32]);
        types.ty().function([I32, I32, I32], []);
        types.ty().function([I32, I32], [self.filter_result]);
        types.ty().function([], []);
        types.ty().function([I32, I32], [enc::ValType::I64]);
        for (_, _, params) in &self.imports {
            types.ty().function(params.clone(), []);
        }
        module.section(&types);
        let mut imports = enc::ImportSection::new();
        for (index, (from, name, _)) in (5..).zip(&self.imports) {
            imports.import(from, name, enc::EntityType::Function(index));
        }
        module.section(&imports);
        let mut functions = enc::FunctionSection::new();
        for ty in 0..5 {
            functions.function(ty);
        }
        module.section(&functions);
        let mut memories = enc::MemorySection::new();
        memories.memory(enc::MemoryType {
            minimum: self.memory,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        module.section(&memories);
        let base = self.imports.len() as u32;
        let mut exports = enc::ExportSection::new();
        exports.export("memory", enc::ExportKind::Memory, 0);
        for (name, index) in [("skep_alloc", 0), ("skep_free", 1), ("skep_filter", 2)] {
            exports.export(name, enc::ExportKind::Func, base + index);
        }
        if self.also_observe {
            exports.export("skep_observe", enc::ExportKind::Func, base + 4);
        }
        module.section(&exports);
        if self.start {
            module.section(&enc::StartSection { function_index: base + 3 });
        }
        let mut code = enc::CodeSection::new();
        for _ in 0..5 {
            let mut function = enc::Function::new([]);
            function.instructions().unreachable().end();
            code.function(&function);
        }
        module.section(&code);
        if let Some(at) = self.data_at {
            let mut data = enc::DataSection::new();
            data.active(0, &enc::ConstExpr::i32_const(at), [1, 2, 3, 4]);
            module.section(&data);
        }
        for data in &self.metadata {
            module.section(&enc::CustomSection { name: "skep.plugin.v1".into(), data: data.into() });
        }
        for (name, data) in &self.fingerprints {
            module.section(&enc::CustomSection { name: (*name).into(), data: data.into() });
        }
        module.finish()
    }

    fn reasons(&self) -> Vec<Kind> {
        kinds(&inspect(&self.bytes()))
    }

    fn with_metadata(metadata: impl Into<Vec<u8>>) -> Vec<Kind> {
        Self { metadata: vec![metadata.into()], ..Self::default() }.reasons()
    }
}

#[test]
fn a_right_plugin_has_nothing_against_it() {
    let found = inspect(&Plugin::default().bytes());
    assert_eq!(found.reasons, []);
    assert_eq!(found.metadata.unwrap().name, "p");
    assert_eq!(found.fingerprints[0].hook, Hook::Filter);
}

#[test]
fn an_empty_file_text_an_object_and_an_old_version_are_told_apart() {
    assert_eq!(first(b""), Kind::Empty);
    assert_eq!(first(b"hello"), Kind::NotWasm);
    assert_eq!(first(b"(module)"), Kind::NotWasm);
    assert!(inspect(b"(module)").reasons[0].help().contains("wat2wasm"));
    assert_eq!(inspect(b"\x7fELF\x02").reasons[0].found.as_deref(), Some("an ELF object"));
    assert_eq!(first(b"\0asm\x02\0\0\0"), Kind::WasmVersion);
    assert_eq!(first(b"\0as"), Kind::Truncated);
}

#[test]
fn a_component_is_told_from_a_module() {
    assert_eq!(first(&wat::parse_str("(component)").unwrap()), Kind::Component);
}

#[test]
fn a_truncated_section_is_refused_at_every_length() {
    let whole = Plugin::default().bytes();
    // The custom sections come last: every cut before them goes through a section or leaves the code out.
    let code_end = whole.windows(14).position(|w| w == b"skep.plugin.v1").unwrap() - 3;
    for length in 9..code_end {
        let found = inspect(&whole[..length]);
        assert!(found.check().is_err(), "cut at {length}");
    }
    assert_eq!(first(&whole[..whole.len() - 1]), Kind::Truncated);
    assert_eq!(first(&whole[..12]), Kind::Truncated);
}

#[test]
fn metadata_that_is_not_utf8_not_json_too_deep_or_too_large_each_have_a_reason() {
    assert_eq!(Plugin::with_metadata([0xff, 0xfe]), [Kind::MetadataNotUtf8]);
    assert_eq!(Plugin::with_metadata("{"), [Kind::MetadataNotJson]);
    assert_eq!(Plugin::with_metadata("[]"), [Kind::MetadataNotJson]);
    let deep = format!(r#"{{"name":"p","version":"1","x":{}{},"hooks":{{}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(Plugin::with_metadata(deep), [Kind::MetadataTooDeep]);
    assert_eq!(Plugin::with_metadata(vec![b' '; 50 << 20]), [Kind::MetadataTooLarge]);
}

#[test]
fn a_hook_that_stands_twice_in_the_metadata_is_refused() {
    let twice = r#"{"name":"p","version":"1","hooks":{"filter":{"wire_version":1},"filter":{"wire_version":2}}}"#;
    assert_eq!(Plugin::with_metadata(twice), [Kind::MetadataNotJson]);
}

#[test]
fn unknown_hooks_and_no_hooks_are_refused() {
    let unknown = METADATA.replace("filter", "fliter");
    let found = Plugin::with_metadata(unknown);
    assert_eq!(found, [Kind::UnknownHook, Kind::UndeclaredHook]);
    let none = r#"{"name":"p","version":"1","hooks":{}}"#;
    assert_eq!(Plugin::with_metadata(none), [Kind::NoHook, Kind::UndeclaredHook]);
}

#[test]
fn missing_metadata_is_refused() {
    assert_eq!(Plugin { metadata: vec![], ..Plugin::default() }.reasons(), [Kind::MissingMetadata]);
}

#[test]
fn fingerprints_missing_short_or_of_no_hook_are_refused() {
    let with = |fingerprints| Plugin { fingerprints, ..Plugin::default() }.reasons();
    assert_eq!(with(vec![]), [Kind::MissingFingerprint]);
    assert_eq!(with(vec![("skep.schema.filter.v1", vec![0; 31])]), [Kind::FingerprintLength, Kind::MissingFingerprint]);
    for name in
        ["skep.schema.filter.v", "skep.schema.filter.v01", "skep.schema.fold.v1", "skep.schema.filter.v99999999999"]
    {
        let reasons = with(vec![("skep.schema.filter.v1", vec![0; 32]), (name, vec![0; 32])]);
        assert_eq!(reasons, [Kind::UnknownSection], "{name}");
    }
}

#[test]
fn two_sections_of_one_name_are_refused() {
    let twice = vec![METADATA.into(), METADATA.into()];
    assert_eq!(Plugin { metadata: twice, ..Plugin::default() }.reasons(), [Kind::DuplicateSection]);
    let section = ("skep.schema.filter.v1", vec![0; 32]);
    let twice = vec![section.clone(), section];
    assert_eq!(Plugin { fingerprints: twice, ..Plugin::default() }.reasons(), [Kind::DuplicateSection]);
}

#[test]
fn an_export_of_the_right_name_and_another_type_is_refused() {
    let found = inspect(&Plugin { filter_result: enc::ValType::I32, ..Plugin::default() }.bytes());
    assert_eq!(kinds(&found), [Kind::ExportType]);
    assert_eq!(found.reasons[0].expected.as_deref(), Some("(i32, i32) -> (i64)"));
    assert_eq!(found.reasons[0].found.as_deref(), Some("(i32, i32) -> (i32)"));
}

#[test]
fn an_undeclared_hook_export_and_a_start_function_are_refused() {
    assert_eq!(Plugin { also_observe: true, ..Plugin::default() }.reasons(), [Kind::UndeclaredHook]);
    assert_eq!(Plugin { start: true, ..Plugin::default() }.reasons(), [Kind::StartFunction]);
}

#[test]
fn an_import_that_shadows_a_capability_with_another_type_is_refused() {
    let plugin = Plugin { imports: vec![("skep", "log", vec![enc::ValType::I32])], ..Plugin::default() };
    assert_eq!(plugin.reasons(), [Kind::ImportType]);
}

#[test]
fn an_import_without_its_declared_capability_is_refused() {
    let imports = vec![("skep", "log", vec![enc::ValType::I32; 3])];
    let plugin = Plugin { imports: imports.clone(), ..Plugin::default() };
    assert_eq!(plugin.reasons(), [Kind::UndeclaredCapability]);
    let declared = METADATA.replace(r#""hooks""#, r#""capabilities":["log"],"hooks""#);
    let plugin = Plugin { imports, metadata: vec![declared.into()], ..Plugin::default() };
    assert_eq!(plugin.reasons(), []);
    let unknown = METADATA.replace(r#""hooks""#, r#""capabilities":["logg"],"hooks""#);
    assert_eq!(Plugin::with_metadata(unknown), [Kind::UnknownCapability]);
}

#[test]
fn a_hundred_thousand_imports_are_refused_before_a_list_is_made_of_them() {
    let mut module = enc::Module::new();
    let mut types = enc::TypeSection::new();
    types.ty().function([], []);
    module.section(&types);
    let mut imports = enc::ImportSection::new();
    for _ in 0..100_000 {
        imports.import("", "", enc::EntityType::Function(0));
    }
    module.section(&imports);
    let found = inspect(&module.finish());
    assert_eq!(kinds(&found), [Kind::TooManyItems]);
    assert_eq!(found.reasons[0].item, "imports");
    assert_eq!(found.reasons[0].found.as_deref(), Some("100000"));
    assert!(found.imports.is_empty());
}

#[test]
fn a_data_segment_outside_memory_is_refused() {
    assert_eq!(Plugin { data_at: Some(65_532), ..Plugin::default() }.reasons(), []);
    let found = inspect(&Plugin { data_at: Some(65_533), ..Plugin::default() }.bytes());
    assert_eq!(kinds(&found), [Kind::DataOutsideMemory]);
    assert_eq!(found.reasons[0].found.as_deref(), Some("one at 65537"));
    assert_eq!(Plugin { data_at: Some(-4), ..Plugin::default() }.reasons(), [Kind::DataOutsideMemory]);
}
