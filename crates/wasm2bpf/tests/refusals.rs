//! Every reason to turn a module down, and hostile bytes.

use wasm2bpf::{
    Limit, Options, Reason, Refusal, compile, link,
    module::{Mismatch, Providers},
};

fn refuse(text: &str) -> Refusal {
    refuse_with(text, &Options::default())
}

fn refuse_with(text: &str, options: &Options) -> Refusal {
    let bytes = wat::parse_str(text).unwrap();
    compile(&bytes, options).unwrap_err()
}

#[test]
fn a_float_is_named_with_its_function_and_what_would_help() {
    let refusal = refuse(
        r#"(module (func (export "score") (param f64 f64) (result f64)
        local.get 0 local.get 1 f64.add))"#,
    );
    assert_eq!(refusal.reason, Reason::Float("f64.add"));
    let text = refusal.to_string();
    assert!(text.starts_with("uses f64.add in `score` at offset 0x"), "{text}");
    assert!(text.ends_with("floats are not available in the kernel; use integers or run it in user space"), "{text}");
}

#[test]
fn bytes_that_are_no_module_are_invalid_at_an_offset() {
    let refusal = compile(b"\0asm\x01\0\0\0\x01\x02", &Options::default()).unwrap_err();
    assert!(matches!(refusal.reason, Reason::Invalid(_)) && refusal.offset > 0, "{refusal:?}");
}

#[test]
fn vectors_are_a_feature_that_is_missing() {
    let refusal = refuse(
        r#"(module (func (export "f") (result i32)
        v128.const i64x2 1 2 i32x4.extract_lane 0))"#,
    );
    assert_eq!(refusal.reason, Reason::Feature("vectors (SIMD)".to_owned()));
}

#[test]
fn an_import_bound_to_nothing_is_refused_where_it_is_called() {
    let refusal = refuse(r#"(module (import "env" "now" (func $now)) (func (export "f") call $now))"#);
    assert_eq!(refusal.reason, Reason::UnboundImport("env".to_owned(), "now".to_owned()));
    assert_eq!(refusal.function, Some(1));
}

#[test]
fn partial_compilation_leaves_out_what_is_refused_and_its_callers() {
    let text = r#"(module
        (func $float (param f32) (result f32) local.get 0 f32.sqrt)
        (func (export "calls") (param f32) (result f32) local.get 0 call $float)
        (func (export "fine") (result i32) i32.const 7))"#;
    let options = Options { partial: true, ..Options::default() };
    let object = compile(&wat::parse_str(text).unwrap(), &options).unwrap();
    let compiled: Vec<&str> = object.report.functions.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(compiled, ["fine"]);
    let reasons: Vec<&Reason> = object.report.refused.iter().map(|refusal| &refusal.reason).collect();
    assert_eq!(reasons, [&Reason::Float("f32.sqrt"), &Reason::Callee(0)]);
}

#[test]
fn limits_are_told_apart() {
    let memory = refuse_with("(module (memory 9))", &Options { max_memory_pages: 8, ..Options::default() });
    assert_eq!(memory.reason, Reason::Limit(Limit::Memory { needed: 9, granted: 8 }));
    assert_eq!(refuse("(module (table 65537 funcref))").reason, Reason::Limit(Limit::Table));
    let results = format!("(module (func (export \"f\") (result {}) unreachable))", "i32 ".repeat(65));
    assert_eq!(refuse(&results).reason, Reason::Limit(Limit::Signature));
    let locals = format!("(module (func (export \"f\") (local {})))", "i64 ".repeat(20_000));
    assert_eq!(refuse(&locals).reason, Reason::Limit(Limit::Complexity));
    // Too large, and called too often, to be inlined.
    let body = "(local.set 0 (i32.mul (local.get 0) (local.get 0)))".repeat(30);
    let functions: String =
        (0..300).map(|n| format!("(func $f{n} (param i32) (result i32) {body} (local.get 0))")).collect();
    let calls: String = (0..300).map(|n| format!("(drop (call $f{n} (i32.const 3)))")).collect();
    let callers: String = ["one", "two"].map(|name| format!("(func (export \"{name}\") {calls})")).concat();
    let many = refuse(&format!("(module {functions} {callers})")).reason;
    assert_eq!(many, Reason::Limit(Limit::Functions { needed: 301 }));
}

#[test]
fn exports_that_no_program_has_room_for_together_get_several_entries() {
    let functions: String = (0..600).map(|n| format!("(func (export \"f{n}\"))")).collect();
    let object = compile(&wat::parse_str(format!("(module {functions})")).unwrap(), &Options::default()).unwrap();
    let entries: Vec<(&str, usize)> = object.entries.iter().map(|e| (e.program.as_str(), e.roots.len())).collect();
    assert_eq!(entries, [("wasm_entry", 255), ("wasm_entry_1", 255), ("wasm_entry_2", 90)]);
}

#[test]
fn an_import_that_does_not_fit_what_it_names_is_refused() {
    let provider = wat::parse_str(
        r#"(module (func (export "f") (param i32)) (global (export "g") (mut i32) (i32.const 1))
            (table (export "t") 1 4 funcref) (memory (export "m") 1))"#,
    )
    .unwrap();
    let names = [("p".to_owned(), 0)].into_iter().collect();
    let none = Providers::new();
    let check = |import: &str| {
        let user = wat::parse_str(format!("(module {import})")).unwrap();
        match link(&[(&provider, &none), (&user, &names)], &Options::default()) {
            Ok(_) => None,
            Err(Refusal { reason: Reason::Import { module, why, .. }, .. }) if module == "p" => Some(why),
            Err(other) => panic!("{import}: {other}"),
        }
    };
    let (unknown, incompatible) = (Some(Mismatch::Unknown), Some(Mismatch::Incompatible));
    assert_eq!(check(r#"(import "p" "f" (func (param i32)))"#), None);
    assert_eq!(check(r#"(import "p" "x" (func))"#), unknown);
    assert_eq!(check(r#"(import "p" "f" (func))"#), incompatible);
    assert_eq!(check(r#"(import "p" "f" (memory 1))"#), incompatible);
    assert_eq!(check(r#"(import "p" "g" (global i32))"#), incompatible);
    assert_eq!(check(r#"(import "p" "g" (global (mut i32)))"#), None);
    assert_eq!(check(r#"(import "p" "t" (table 1 3 funcref))"#), incompatible);
    assert_eq!(check(r#"(import "p" "t" (table 1 4 funcref))"#), None);
    assert_eq!(check(r#"(import "p" "m" (memory 1 9))"#), incompatible);
    assert_eq!(check(r#"(import "p" "m" (memory 1))"#), None);
}

#[test]
fn every_prefix_of_a_module_and_every_flipped_byte_is_an_answer() {
    let bytes = wat::parse_str(
        r#"(module (memory 1) (table 4 funcref) (elem (i32.const 0) $f $g) (global $x (mut i64) (i64.const 3))
            (func $f (param i32 i64) (result i64) (block (result i64)
                (br_table 0 0 (i64.add (local.get 1) (global.get $x)) (local.get 0))))
            (func $g (export "g") (param i32 i64) (result i64)
                (call_indirect (param i32 i64) (result i64) (local.get 0) (local.get 1) (local.get 0)))
            (data (i32.const 8) "abc"))"#,
    )
    .unwrap();
    let options = Options::default();
    assert!(compile(&bytes, &options).is_ok());
    for length in 0..bytes.len() {
        let _ = compile(&bytes[..length], &options);
    }
    for at in 8..bytes.len() {
        for flip in [1, 0x10, 0x80] {
            let mut hostile = bytes.clone();
            hostile[at] ^= flip;
            let _ = compile(&hostile, &options);
        }
    }
}

#[test]
fn deep_nesting_neither_overflows_nor_hangs() {
    let depth = 900;
    let text = format!("(module (func (export \"f\") {} {}))", "(loop (block ".repeat(depth), "))".repeat(depth));
    assert!(compile(&wat::parse_str(text).unwrap(), &Options::default()).is_ok());
}
