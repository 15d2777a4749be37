//! Bad input: each kind is refused with its own reason.

mod plugin;

use plugin::{METADATA, Plugin, kinds};
use skep_abi::hooks::Hook;
use skep_admit::{Policy, RejectionKind as Kind, Slot, admit, inspect};
use wasm_encoder as enc;

fn first(bytes: &[u8]) -> Kind {
    let found = inspect(bytes);
    assert!(found.check().is_err());
    found.reasons[0].kind
}

#[test]
fn a_right_plugin_has_nothing_against_it() {
    let found = inspect(&Plugin::default().bytes());
    assert_eq!(found.reasons, []);
    assert_eq!(found.metadata.unwrap().name, "p");
    assert_eq!(found.fingerprints[0].hook, Hook::Filter);
}

#[test]
fn an_empty_file_is_refused() {
    assert_eq!(first(b""), Kind::Empty);
}

#[test]
fn text_an_object_and_an_old_version_are_told_apart() {
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
fn metadata_that_is_not_utf8_is_refused() {
    assert_eq!(Plugin::with_metadata([0xff, 0xfe]), [Kind::MetadataNotUtf8]);
}

#[test]
fn metadata_that_is_not_json_or_no_object_is_refused() {
    for text in ["{", "[]", "name = \"p\"", ""] {
        assert_eq!(Plugin::with_metadata(text), [Kind::MetadataNotJson], "{text}");
    }
}

#[test]
fn metadata_nested_ten_thousand_deep_is_refused() {
    let deep = format!(r#"{{"name":"p","version":"1","x":{}{},"hooks":{{}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(Plugin::with_metadata(deep), [Kind::MetadataTooDeep]);
}

#[test]
fn metadata_of_fifty_mebibytes_is_refused() {
    assert_eq!(Plugin::with_metadata(vec![b' '; 50 << 20]), [Kind::MetadataTooLarge]);
}

#[test]
fn metadata_that_declares_more_than_there_is_is_refused() {
    let many = format!(r#""capabilities":[{}"log"],"hooks""#, r#""log","#.repeat(64));
    assert_eq!(Plugin::with_metadata(METADATA.replace(r#""hooks""#, &many)), [Kind::TooManyItems]);
}

#[test]
fn a_memory_that_starts_above_the_cap_is_refused() {
    let refused = |memory| {
        let module = inspect(&Plugin { memory, ..Plugin::default() }.bytes());
        admit(&module, Slot::Filter, &Policy::default()).err()
    };
    assert_eq!(refused(256), None);
    let rejection = refused(257).unwrap();
    assert_eq!(rejection.kind, Kind::MemoryAboveCap);
    assert_eq!(
        (rejection.expected.as_deref(), rejection.found.as_deref()),
        (Some("at most 256 pages"), Some("257 pages"))
    );
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
    for length in [0, 31, 33] {
        let reasons = with(vec![("skep.schema.filter.v1", vec![0; length])]);
        assert_eq!(reasons, [Kind::FingerprintLength, Kind::MissingFingerprint], "{length} bytes");
    }
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

/// One item of the import section that is many imports without names: three bytes each, or one.
fn compact_imports(count: u32, typed: bool) -> Vec<u8> {
    let mut group = vec![1, 0, 0];
    group.extend(if typed { vec![0x7f] } else { vec![0x7e, 0, 0] });
    enc::Encode::encode(&count, &mut group);
    (0..count).for_each(|_| group.extend(if typed { &[0, 0, 0][..] } else { &[0] }));
    let mut bytes = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02".to_vec();
    enc::Encode::encode(group.as_slice(), &mut bytes);
    bytes
}

#[test]
fn a_group_of_imports_counts_as_many() {
    for typed in [true, false] {
        let few = inspect(&compact_imports(3, typed));
        assert_eq!((few.imports.len(), kinds(&few)), (3, vec![Kind::NoWorld]), "{:?}", few.reasons);
        assert!(few.features.iter().any(|feature| feature.name() == "compact-imports"));
        let many = inspect(&compact_imports(200_000, typed));
        assert_eq!((many.imports.len(), kinds(&many)), (0, vec![Kind::TooManyItems]));
        assert_eq!(many.reasons[0].item, "imports");
    }
}

#[test]
fn what_the_engine_does_not_run_is_refused() {
    for (memories, feature) in [
        (r#"(memory (export "memory") i64 1)"#, "memory64"),
        (r#"(memory (export "memory") 1) (memory 1)"#, "multi-memory"),
        (r#"(memory (export "memory") 1 2 shared)"#, "threads"),
        (r#"(memory (export "memory") 1 (pagesize 1))"#, "custom-page-sizes"),
    ] {
        let text = format!(r#"(module {memories} (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#);
        let found = inspect(&wat::parse_str(text).unwrap());
        assert_eq!(kinds(&found), [Kind::FeatureDenied], "{feature}");
        assert_eq!(found.reasons[0].item, feature);
    }
}

#[test]
fn names_of_sections_are_bounded_and_compared_with_none_of_the_others() {
    let named = |count: usize, length: usize| {
        let mut module = enc::Module::new();
        for number in 0..count {
            let name = format!("skep.schema.{}{number:04}", "n".repeat(length));
            module.section(&enc::CustomSection { name: name.into(), data: (&[]).into() });
        }
        inspect(&module.finish())
    };
    let found = named(1_000, 90_000);
    assert_eq!(kinds(&found), [Kind::TooManyItems]);
    assert_eq!(found.reasons[0].item, "bytes of custom sections' names");
    assert_eq!(found.sections.len(), 11);
    let within = named(1_000, 1_000);
    assert_eq!(within.reasons.iter().filter(|reason| reason.kind == Kind::UnknownSection).count(), 1_000);
}

#[test]
fn a_data_segment_of_any_form_is_looked_at() {
    let module = |data: &str| {
        let text = format!(
            r#"(module (memory (export "memory") 1) {data}
                (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#
        );
        inspect(&wat::parse_str(text).unwrap())
    };
    let found = module(r#"(data "passive") (data (i32.const 8) "ab") (data (i32.const 65535) "abc")"#);
    assert_eq!((found.data_size, kinds(&found)), (12, vec![Kind::DataOutsideMemory]));
    assert_eq!(found.reasons[0].item, "data segment 2");
    // The same place, said the long way: the memory's number written out.
    let long = wat::parse_str(r#"(module (memory 1) (memory 1) (data (memory 1) (i32.const 65535) "abc"))"#).unwrap();
    assert!(!kinds(&inspect(&long)).contains(&Kind::DataOutsideMemory), "another memory's affair");
}

#[test]
fn data_segments_of_the_plainest_form_have_to_be_right_too() {
    let segments = |memory: &str, sections: &[(u8, &[u8])]| {
        let mut bytes = wat::parse_str(format!("(module {memory})")).unwrap();
        for (id, data) in sections {
            bytes.push(*id);
            enc::Encode::encode(*data, &mut bytes);
        }
        inspect(&bytes)
    };
    let kind = |memory: &str, sections: &[(u8, &[u8])]| segments(memory, sections).reasons[0].kind;
    const DATA: u8 = 11;
    const DATA_COUNT: u8 = 12;
    let two = [2, 0, 0x41, 8, 0x0b, 2, b'a', b'b', 0, 0x41, 4, 0x0b, 1, b'c'];
    let found = segments("(memory 1)", &[(DATA, &two)]);
    assert_eq!((found.data_size, kinds(&found)), (3, vec![Kind::NoWorld]));
    for (memory, data) in [
        ("", &two[..]),
        ("(memory i64 1)", &two),
        ("(memory 1)", &[&two[..], &[0]].concat()),
        ("(memory 1)", &[&[3][..], &two[1..]].concat()),
        ("(memory 1)", &[&[3][..], &two[1..], &[0, 0x42, 0, 0x0b, 0]].concat()),
    ] {
        let kind = kind(memory, &[(DATA, data)]);
        assert!(matches!(kind, Kind::Malformed | Kind::Truncated), "{memory} {data:?}: {kind:?}");
    }
    for sections in [&[(DATA, &two[..]), (DATA, &two)][..], &[(DATA_COUNT, &[1]), (DATA, &two)]] {
        assert_eq!(kind("(memory 1)", sections), Kind::Malformed, "{sections:?}");
    }
    let mut many = Vec::new();
    enc::Encode::encode(&100_001u32, &mut many);
    many.extend([0, 0x41, 0, 0x0b, 0].repeat(100_001));
    assert_eq!(kind("(memory 1)", &[(DATA, &many)]), Kind::Malformed);
}

#[test]
fn a_data_segment_outside_memory_is_refused() {
    assert_eq!(Plugin { data_at: Some(65_532), ..Plugin::default() }.reasons(), []);
    let found = inspect(&Plugin { data_at: Some(65_533), ..Plugin::default() }.bytes());
    assert_eq!(kinds(&found), [Kind::DataOutsideMemory]);
    assert_eq!(found.reasons[0].found.as_deref(), Some("one at 65537"));
    assert_eq!(Plugin { data_at: Some(-4), ..Plugin::default() }.reasons(), [Kind::DataOutsideMemory]);
}
