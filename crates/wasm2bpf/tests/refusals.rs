//! Every reason to turn a module down, and hostile bytes.

use wasm2bpf::{
    Isa, Limit, Options, Reason, Refusal, Target, compile, link,
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

/// 9,000 variables that live through 9,000 blocks. Variables that are never used cost nothing.
fn many_variables_in_many_blocks() -> String {
    let (set, sum): (String, String) = (1..=9000)
        .map(|n| {
            (format!("(local.set {n} (local.get 0))"), format!("(local.set 0 (i32.add (local.get 0) (local.get {n})))"))
        })
        .unzip();
    let blocks = "(block (br_if 0 (local.get 0)))".repeat(9000);
    let locals = "i32 ".repeat(9000);
    format!(
        "(module (func (export \"f\") (param i32) (result i32) (local {locals}) {set} {blocks} {sum} (local.get 0)))"
    )
}

/// More functions than a program has room for, too large, and called too often, to be inlined.
fn many_functions() -> String {
    let body = "(local.set 0 (i32.mul (local.get 0) (local.get 0)))".repeat(30);
    let functions: String =
        (0..300).map(|n| format!("(func $f{n} (param i32) (result i32) {body} (local.get 0))")).collect();
    let calls: String = (0..300).map(|n| format!("(drop (call $f{n} (i32.const 3)))")).collect();
    let callers: String = ["one", "two"].map(|name| format!("(func (export \"{name}\") {calls})")).concat();
    format!("(module {functions} {callers})")
}

/// One exported function of an i32 whose body is so many times `statement`.
fn repeated(statement: &str, times: usize) -> String {
    let body = statement.repeat(times);
    format!("(module (func (export \"f\") (param i32) (result i32) {body} (local.get 0)))")
}

fn link_with(provider: &str, user: &str) -> Refusal {
    let (provider, user) = (wat::parse_str(provider).unwrap(), wat::parse_str(user).unwrap());
    let names = [("p".to_owned(), 0)].into_iter().collect();
    link(&[(&provider, &Providers::new()), (&user, &names)], &Options::default()).unwrap_err()
}

/// What is left out because of what it calls.
fn refused_for_its_callee() -> Refusal {
    let text = r#"(module (func $float (param f32) (result f32) (f32.sqrt (local.get 0)))
        (func (export "f") (param f32) (result f32) (call $float (local.get 0))))"#;
    let options = Options { partial: true, ..Options::default() };
    compile(&wat::parse_str(text).unwrap(), &options).unwrap().report.refused.pop().unwrap()
}

const RECURSION: &str = r#"(module (func $f (export "f") (param i32) (result i32)
    (if (result i32) (local.get 0) (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1)))))
        (else (i32.const 0)))))"#;

/// What is refused for each reason, by the reason's name.
fn refused_for(name: &str) -> Option<Refusal> {
    let options = Options::default();
    Some(match name {
        "invalid" => refuse("(module (func (export \"f\") (result i32)))"),
        "float" => refuse("(module (func (export \"f\") (param f32) (result f32) (f32.sqrt (local.get 0))))"),
        "feature" => refuse("(module (func (export \"f\") (param v128)))"),
        "unbound import" => refuse(r#"(module (import "e" "f" (func $f)) (func (export "f") (call $f)))"#),
        "unknown import" => link_with("(module)", r#"(module (import "p" "f" (func)))"#),
        "incompatible import" => {
            link_with(r#"(module (func (export "f") (param i32)))"#, r#"(module (import "p" "f" (func)))"#)
        }
        "callee" => refused_for_its_callee(),
        "functions" => refuse(&many_functions()),
        "complexity" => refuse(&many_variables_in_many_blocks()),
        "branches" => refuse(&repeated("(if (local.get 0) (then (local.set 0 (i32.const 7))))", 9000)),
        "instructions" => {
            let long = "(local.set 0 (i32.rotl (i32.popcnt (local.get 0)) (i32.clz (local.get 0))))";
            refuse(&repeated(long, 30_000))
        }
        "memory" => refuse_with("(module (memory 9))", &Options { max_memory_pages: 8, ..options }),
        "instance" => refuse_with(RECURSION, &Options { shadow_stack: 2 << 30, ..options }),
        "array" => {
            let options = Options { target: Target::Array, isa: Isa::V3, instances: 1000, ..options };
            refuse_with("(module (memory 1) (func (export \"f\")))", &options)
        }
        "table" => refuse("(module (table 65537 funcref))"),
        "signature" => refuse(&format!("(module (func (export \"f\") (result {}) unreachable))", "i32 ".repeat(65))),
        _ => return None,
    })
}

#[test]
fn every_reason_refuses_something_and_says_what_would_help() {
    for &name in Reason::NAMES {
        let refusal = refused_for(name).unwrap_or_else(|| panic!("nothing here is refused as `{name}`"));
        assert_eq!(refusal.reason.name(), name, "{refusal}");
        let said = refusal.to_string();
        assert!(said.ends_with(refusal.reason.help()) && said.len() > refusal.reason.help().len() + 10, "{said}");
    }
}

#[test]
fn limits_say_what_was_needed() {
    let reason = |name| refused_for(name).unwrap().reason;
    assert_eq!(reason("memory"), Reason::Limit(Limit::Memory { needed: 9, granted: 8 }));
    assert_eq!(reason("functions"), Reason::Limit(Limit::Functions { needed: 301 }));
    assert!(matches!(reason("branches"), Reason::Limit(Limit::Branches { needed: 9000.. })));
    assert!(matches!(reason("instructions"), Reason::Limit(Limit::Instructions { needed: 400_001.. })));
    assert!(matches!(reason("array"), Reason::Limit(Limit::Array { needed: 0x400_0001.. })));
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
