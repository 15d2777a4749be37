//! Defects that random modules found, each with the smallest module that showed it.

use skep_bpf::kernel_wasm::{KernelModule, Outcome};
use skep_suite::kernel_gate;
use wasm2bpf::Options;

/// What `f`, called with `arguments`, returns in the kernel.
fn run(text: &str, arguments: &[u64]) -> Outcome {
    let bytes = wat::parse_str(text).unwrap();
    let options = Options { max_memory_pages: 4, ..Options::default() };
    let object = wasm2bpf::compile(&bytes, &options).unwrap();
    let function = object.module.exports.iter().find(|export| export.name == "f").unwrap().index;
    let module = KernelModule::load(object, &bytes, 1, false).unwrap();
    let (id, trap) = module.instantiate(0, &|_, _| None).unwrap();
    assert_eq!(trap, None);
    module.call(id, function, arguments, 100_000).unwrap().outcome
}

#[test]
fn kernel_a_recursive_function_below_another_keeps_its_callers_frame() {
    if !kernel_gate("recursion below recursion") {
        return;
    }
    // Two groups of recursive functions: frames of the second went on top of the first's.
    let text = r#"(module
        (func $count (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
                (else (i32.add (i32.const 1) (call $count (i32.sub (local.get 0) (i32.const 1)))))))
        (func $f (export "f") (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
                (else (i32.add (call $count (local.get 0)) (call $f (i32.sub (local.get 0) (i32.const 1))))))))"#;
    assert_eq!(run(text, &[6]), Outcome::Returned(vec![6 + 5 + 4 + 3 + 2 + 1]));
}

#[test]
fn kernel_a_rotation_by_the_smallest_number_is_none() {
    if !kernel_gate("rotation by a constant") {
        return;
    }
    let text = r#"(module (func (export "f") (param i32) (result i32)
        (i32.rotr (local.get 0) (i32.const 0x80000000))))"#;
    assert_eq!(run(text, &[0x1234_5678]), Outcome::Returned(vec![0x1234_5678]));
}

#[test]
fn kernel_code_after_an_inlined_function_that_never_returns_is_left_out() {
    if !kernel_gate("inlined functions that trap") {
        return;
    }
    let text = r#"(module
        (func $stop unreachable)
        (func (export "f") (param i32) (result i32)
            (call $stop)
            (loop (br_if 0 (i32.eqz (local.get 0))))
            (if (local.get 0) (then (local.set 0 (i32.const 3))) (else (local.set 0 (i32.const 4))))
            (local.get 0)))"#;
    assert!(matches!(run(text, &[1]), Outcome::Trapped(site) if site.kind == wasm2bpf::TrapKind::Unreachable));
}
