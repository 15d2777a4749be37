//! Which world a module speaks, and what is said when it only nearly does.

use skep_abi::World;
use skep_admit::{Feature, Inspection, RejectionKind as Kind, inspect};

fn look(text: &str) -> Inspection {
    inspect(&wat::parse_str(text).unwrap())
}

fn kinds(inspection: &Inspection) -> Vec<Kind> {
    inspection.reasons.iter().map(|reason| reason.kind).collect()
}

const PROGRAM: &str = r#"(module
    (import "MODULE" "wasm_load_bpf_object" (func (param i32 i32) (result i64)))
    (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
    EXTRA
    (memory (export "memory") 1) (func (export "_start")))"#;

fn program(module: &str, extra: &str) -> Inspection {
    look(&PROGRAM.replace("MODULE", module).replace("EXTRA", extra))
}

#[test]
fn a_program_is_known_by_its_imports_under_both_module_names() {
    for module in ["wasm_bpf", "env"] {
        let found = program(module, "");
        assert_eq!(found.check(), Ok(World::Program), "{module}");
        assert_eq!(found.imports.len(), 2);
    }
}

#[test]
fn both_forms_of_map_operate_are_programs() {
    for params in ["i32 i32 i32 i32 i32 i64", "i32 i32 i64 i64 i64 i64"] {
        let import = format!(r#"(import "wasm_bpf" "wasm_bpf_map_operate" (func (param {params}) (result i32)))"#);
        assert_eq!(program("wasm_bpf", &import).check(), Ok(World::Program), "{params}");
    }
}

#[test]
fn a_tinygo_program_has_to_export_its_callback() {
    let poll = r#"(import "callback-wrapper" "wasm_bpf_buffer_poll"
        (func (param i64 i32 i32 i32 i32 i32) (result i32)))"#;
    let found = program("wasm_bpf", poll);
    assert_eq!(found.form.unwrap().name, "tinygo");
    assert_eq!(kinds(&found), [Kind::MissingExport]);
    assert_eq!(found.reasons[0].item, "go-callback");
}

#[test]
fn a_misspelt_import_gets_a_near_name() {
    let found = program("wasm_bpf", r#"(import "wasm_bpf" "wasm_bpf_bufer_poll" (func))"#);
    assert_eq!(kinds(&found), [Kind::UnknownImport]);
    assert_eq!(found.reasons[0].item, "wasm_bpf.wasm_bpf_bufer_poll");
    assert_eq!(found.reasons[0].help(), r#"did you mean "wasm_bpf_buffer_poll"?"#);
}

#[test]
fn an_import_of_another_type_shows_both_types() {
    let found = program("wasm_bpf", r#"(import "wasm_bpf" "wasm_close_bpf_object" (func (param i32) (result i32)))"#);
    assert_eq!(kinds(&found), [Kind::ImportType]);
    assert_eq!(found.reasons[0].expected.as_deref(), Some("(i64) -> (i32)"));
    assert_eq!(found.reasons[0].found.as_deref(), Some("(i32) -> (i32)"));
}

#[test]
fn an_operator_is_known_by_its_import_module() {
    let found = look(
        r#"(module (import "ig" "gadgetLog" (func (param i32 i64)))
            (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
            (memory (export "memory") 1)
            (func (export "gadgetAPIVersion") (result i64) i64.const 1)
            (func (export "gadgetStart") (result i32) i32.const 0)
            (func (export "dataSourceCallback") (param i64 i32 i32)))"#,
    );
    assert_eq!(found.check(), Ok(World::Operator));
}

#[test]
fn a_filter_is_known_by_its_export_and_may_bring_or_import_its_memory() {
    let own = look(
        r#"(module (import "env" "log" (func (param i32 i32))) (memory (export "memory") 1)
            (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#,
    );
    assert_eq!(own.check(), Ok(World::Filter));
    let host = look(
        r#"(module (import "env" "memory" (memory 1))
            (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#,
    );
    assert_eq!(host.check(), Ok(World::Filter));
    let none = look(r#"(module (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#);
    assert_eq!(kinds(&none), [Kind::MissingExport]);
    let other =
        look(r#"(module (memory (export "memory") 1) (func (export "filter") (param i32) (result i32) i32.const 1))"#);
    assert_eq!(kinds(&other), [Kind::ExportType]);
}

#[test]
fn packet_modules_come_in_two_forms() {
    let packets = look(
        r#"(module (import "env" "_debug" (func (param i32 i32) (result i32)))
            (import "env" "table_keys" (func (result i32 i32)))
            (memory (export "memory") 1)
            (func (export "malloc") (param i32) (result i32) i32.const 0)
            (func (export "free") (param i32 i32))
            (func (export "packet_in") (param i32 i32) (result i32) i32.const 1))"#,
    );
    assert_eq!(packets.check(), Ok(World::Packet));
    assert_eq!(packets.form.unwrap().name, "packets");
    let dns = look(
        r#"(module (memory (export "memory") 1)
            (global (export "SOURCE") i32 (i32.const 0)) (global (export "DESTINATION") i32 (i32.const 20))
            (global (export "DNS_PACKET") i32 (i32.const 40))
            (func (export "main") (param i32 i32) (result i32) i32.const 0)
            (func (export "dns_query") (param i32)) (func (export "dns_response") (param i32)))"#,
    );
    assert_eq!(dns.check(), Ok(World::Packet));
    assert_eq!(dns.form.unwrap().name, "dns");
}

#[test]
fn a_module_of_no_world_is_told_what_was_looked_for_and_what_is_near() {
    let found = look(r#"(module (import "wasm_bfp" "wasm_load_bpf_object" (func (param i32 i32) (result i64))))"#);
    assert_eq!(kinds(&found), [Kind::NoWorld]);
    assert_eq!(found.world, None);
    assert!(found.reasons[0].expected.as_deref().unwrap().contains("the export filter"));
    assert!(found.reasons[0].help().contains(r#""wasm_bpf" of world program"#), "{}", found.reasons[0].help());
    assert_eq!(kinds(&look("(module)")), [Kind::NoWorld]);
}

#[test]
fn features_are_told_by_instructions_types_and_memories() {
    let found = look(
        r#"(module (memory 1 2 shared) (table 1 funcref) (type $t (func))
            (func (param i32) (result i32 i32)
                (drop (f64.mul (f64.const 1) (f64.const 2)))
                (drop (i32x4.splat (i32.const 1)))
                (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))
                (call_indirect (type $t) (i32.const 0))
                (i32.extend8_s (local.get 0)) (i32.const 0)))"#,
    );
    use Feature as F;
    assert_eq!(
        found.features,
        [F::Float, F::SignExtension, F::BulkMemory, F::MultiValue, F::Simd, F::Threads, F::IndirectCall]
    );
    assert!(found.kernel.obstacles.iter().any(|obstacle| obstacle.kind == "float"));
    assert!(look("(module (func (result i32) i32.const 1))").features.is_empty());
}

#[test]
fn modules_for_other_hosts_are_told_whose_they_are() {
    for (text, words) in [
        (r#"(import "extism:host/env" "input_length" (func (result i64)))"#, "Extism"),
        (r#"(func (export "proxy_abi_version_0_2_1"))"#, "proxy-wasm"),
        (
            r#"(import "wasi_snapshot_preview1" "proc_exit" (func (param i32))) (func (export "_start"))"#,
            "WASI command",
        ),
        (r#"(import "wasi_unstable" "proc_exit" (func (param i32))) (func (export "_start"))"#, "before preview 1"),
        (r#"(@custom "other.plugin.v1" "{}")"#, "host \"other\""),
        (r#"(@custom "cc_lb.schema.filter.v1" "x")"#, "host \"cc_lb\""),
        (r#"(import "env" "newDataSource" (func (param i64) (result i32)))"#, "operator has it in \"ig\""),
        // The greeting that wasm3-kernel-module's page starts with.
        (
            r#"(import "env" "_debug" (func (param i32 i32) (result i32))) (func (export "main"))"#,
            "as modules of world packet do, but it exports none of packet_in, packet_out, dns_query, dns_response",
        ),
        (
            r#"(func (export "skep_alloc")) (func (export "skep_free"))
                (func (export "skep_filtr") (param i32 i32) (result i64) unreachable)"#,
            "\"skep_filter\"",
        ),
        (r#"(import "wapc" "__guest_request" (func (param i32 i32)))"#, "waPC"),
        (r#"(func (export "wasi:http/incoming-handler@0.2.0#handle") (param i32 i32))"#, "component model"),
        (r#"(import "__wbindgen_placeholder__" "__wbindgen_describe" (func (param i32)))"#, "wasm-bindgen"),
        (r#"(import "./x_bg.js" "__wbindgen_throw" (func (param i32 i32)))"#, "wasm-bindgen"),
        (r#"(import "./x_bg.js" "__wbg_log_0123" (func (param i32 i32)))"#, "wasm-bindgen"),
        (r#"(import "gojs" "runtime.wasmExit" (func (param i32))) (func (export "run") (param i32 i32))"#, "GOOS=js"),
        (r#"(import "env" "emscripten_memcpy_big" (func (param i32 i32 i32) (result i32)))"#, "Emscripten"),
        (r#"(import "a" "a" (func)) (import "a" "ba" (func)) (func (export "e"))"#, "shortened"),
        (r#"(import "env" "abort" (func (param i32 i32 i32 i32))) (func (export "greet"))"#, "AssemblyScript"),
    ] {
        let found = look(&format!("(module {text})"));
        assert_eq!(kinds(&found), [Kind::NoWorld], "{text}");
        assert!(found.reasons[0].help().contains(words), "{text}: {}", found.reasons[0].help());
    }
}

#[test]
fn a_function_of_another_type_is_no_misspelling() {
    for text in [
        r#"(func (export "fileno") (param i32) (result i32) i32.const 1)"#,
        r#"(global (export "filte") i32 i32.const 0)"#,
    ] {
        let found = look(&format!("(module {text})"));
        assert!(!found.reasons[0].help().contains("is meant"), "{}", found.reasons[0].help());
        assert_eq!(found.reasons[0].help(), Kind::NoWorld.help());
    }
    let meant = look(r#"(module (func (export "filtr") (param i32 i32) (result i32) i32.const 1))"#);
    assert!(meant.reasons[0].help().contains(r#"is "filter" of world filter meant?"#), "{}", meant.reasons[0].help());
}

#[test]
fn imports_that_a_compiler_left_say_how_to_build_without_them() {
    for (import, words) in [
        (r#""wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))"#, "no WASI"),
        (r#""env" "abort" (func (param i32 i32 i32 i32))"#, "--use abort="),
        (r#""env" "emscripten_memcpy_big" (func (param i32 i32 i32) (result i32))"#, "-nostdlib"),
        (r#""env" "abort" (func)"#, "known: log"),
    ] {
        let found = look(&format!(
            r#"(module (import {import}) (memory (export "memory") 1)
                (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#
        ));
        assert_eq!(kinds(&found), [Kind::UnknownImport], "{import}");
        assert!(found.reasons[0].help().contains(words), "{import}: {}", found.reasons[0].help());
    }
}
