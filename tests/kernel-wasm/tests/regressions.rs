//! Defects that random modules found, each with the smallest module that showed it.

use skep_bpf::kernel_wasm::{KernelModule, Outcome};
use skep_suite::kernel_gate;
use wasm2bpf::Options;

fn load(text: &str) -> KernelModule {
    let bytes = wat::parse_str(text).unwrap();
    let options = Options { max_memory_pages: 4, ..Options::default() };
    let object = wasm2bpf::compile(&bytes, &options).unwrap();
    KernelModule::load(object, &bytes, 1, false).unwrap()
}

/// What `f`, called with `arguments`, returns in the kernel.
fn run(text: &str, arguments: &[u64]) -> Outcome {
    let module = load(text);
    let function = module.object().module.exports.iter().find(|export| export.name == "f").unwrap().index;
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

/// Instructions walked for each one emitted.
fn walked(text: &str) -> f64 {
    let module = load(text);
    let (_, verified) = &module.loaded().verified()[0];
    f64::from(verified.walked) / f64::from(verified.emitted)
}

#[test]
fn kernel_a_copy_that_a_loop_changes_is_no_copy_for_the_verifier() {
    if !kernel_gate("copies before a loop") {
        return;
    }
    // Local 3 is a copy of local 1 where the loop is entered, and not where it comes around: the loop was walked again
    // with what its branches had told, which decided them; larger ones ended in "verifier bug".
    let branch = |limit| {
        format!(
            "(if (i64.gt_s (local.get 1) (i64.const {limit}))
                (then (local.set 2 (i64.mul (local.get 2) (local.get 3)))))"
        )
    };
    let branches = [1000, 2000, 3000, 4000].map(branch).concat();
    let ratio = walked(&format!(
        r#"(module (func (export "f") (param i32 i64 i64) (result i64) (local i64)
            (local.set 3 (local.get 1))
            (loop
                {branches}
                (local.set 3 (i64.add (local.get 3) (local.get 2)))
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (i64.add (local.get 3) (i64.add (local.get 2) (local.get 1)))))"#
    ));
    assert!(ratio < 2.5, "{ratio:.2} instructions walked for each");
}

#[test]
fn kernel_what_is_left_in_a_callees_registers_is_not_compared_at_loops() {
    if !kernel_gate("calls in a loop") {
        return;
    }
    // The verifier takes a call to read five registers. The fifth still held the parameter that the loop changes.
    let body = "(local.set 0 (i32.mul (local.get 0) (local.get 0)))".repeat(40);
    let branch = |limit| {
        format!("(if (i32.gt_s (local.get 2) (i32.const {limit})) (then (local.set 1 (call $callee (local.get 1)))))")
    };
    let branches = [1000, 2000, 3000, 4000].map(branch).concat();
    let ratio = walked(&format!(
        r#"(module
        (func $callee (param i32) (result i32) {body} (local.get 0))
        (func (export "other") (param i32) (result i32)
            (i32.add (call $callee (local.get 0)) (call $callee (i32.const 3))))
        (func (export "f") (param i32 i32 i32 i64) (result i64)
            (loop
                {branches}
                (local.set 3 (i64.add (local.get 3) (i64.extend_i32_u (local.get 1))))
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (local.get 3)))"#
    ));
    assert!(ratio < 2.5, "{ratio:.2} instructions walked for each");
}
