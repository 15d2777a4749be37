//! Plugins for the tests of world `hooks`: admitted, and made of a body in the text format.
#![allow(dead_code)]

use skep_abi::{hooks::wire::FILTER_V1, operator::FieldKind};
use skep_admit::{Policy, Slot, admit, inspect};
use skep_sandbox::worlds::hooks::{Plugin, RecordField, RecordLayout, Services};

pub(crate) fn field(name: &str, kind: FieldKind, offset: usize, size: usize) -> RecordField {
    RecordField { name: name.into(), kind, offset: offset as u32, size: size as u32 }
}

pub(crate) fn plugin_with(
    wasm: &[u8],
    slot: Slot,
    policy: &Policy,
    layout: RecordLayout,
    services: Services,
) -> Plugin {
    let admission = admit(&inspect(wasm), slot, policy).unwrap();
    Plugin::new(wasm, admission, layout, 1000, services, None).unwrap()
}

pub(crate) fn plugin(wasm: &[u8], slot: Slot, layout: RecordLayout) -> Plugin {
    plugin_with(wasm, slot, &Policy::default(), layout, Services::log_only())
}

/// A plugin of one hook `filter` with that body; `more` goes on after `"wire_version":1`, to the metadata's end.
pub(crate) fn filter_of(body: &str, more: &str, imports: &str) -> Vec<u8> {
    let alloc = "global.get $next (global.set $next (i32.add (global.get $next) (local.get 0)))";
    filter_with(alloc, body, more, imports)
}

/// [`filter_of`], with the body of `skep_alloc` too.
pub(crate) fn filter_with(alloc: &str, body: &str, more: &str, imports: &str) -> Vec<u8> {
    let escape = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let metadata = format!(r#"{{"name":"t","version":"1","hooks":{{"filter":{{"wire_version":1{more}"#);
    let text = format!(
        r#"(module {imports} (memory (export "memory") 4) (global $next (mut i32) (i32.const 65536))
            (func (export "skep_alloc") (param i32 i32) (result i32) {alloc})
            (func (export "skep_free") (param i32 i32 i32))
            (func (export "skep_filter") (param i32 i32) (result i64) {body})
            (@custom "skep.plugin.v1" "{}")
            (@custom "skep.schema.filter.v1" "{}"))"#,
        escape(metadata.as_bytes()),
        escape(&FILTER_V1)
    );
    wat::parse_str(text).unwrap()
}

pub(crate) const END: &str = "}}}";
pub(crate) const CLOSED: &str = r#","on_failure":"closed"}}}"#;

pub(crate) fn one_field() -> RecordLayout {
    RecordLayout { stride: 8, fields: vec![field("v", FieldKind::Uint64, 0, 8)] }
}
