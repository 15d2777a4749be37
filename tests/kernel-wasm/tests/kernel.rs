//! Compiled modules in the kernel: the suite, traps, guards, programs.

use std::collections::HashSet;

use skep_bpf::kernel_wasm::{KernelModule, Outcome, Run};
use skep_kernel_wasm::{
    programs::{InKernel, InWasmtime, PROGRAMS},
    suite,
};
use skep_suite::kernel_gate;
use wasm2bpf::{Isa, Options, TrapKind};

fn load(text: &str, options: &Options, instances: u32) -> KernelModule {
    let bytes = wat::parse_str(text).unwrap();
    let object = wasm2bpf::compile(&bytes, options).unwrap();
    KernelModule::load(object, &bytes, instances, false).unwrap()
}

fn small() -> Options {
    Options { max_memory_pages: 4, ..Options::default() }
}

fn call(module: &KernelModule, instance: u32, export: &str, arguments: &[u64], fuel: u64) -> Run {
    let (id, trap) = module.instantiate(instance, &|_, _| None).unwrap();
    assert_eq!(trap, None);
    let function = module.object().module.exports.iter().find(|e| e.name == export).unwrap().index;
    let run = module.call(id, function, arguments, fuel).unwrap();
    assert!(module.guards_intact(id).unwrap(), "{export} wrote outside its instance");
    run
}

#[test]
fn kernel_suite_of_the_specification_passes() {
    if !kernel_gate("the WebAssembly test suite in the kernel") {
        return;
    }
    let report = suite::run("", &suite::options());
    let failures: Vec<String> = report
        .files
        .iter()
        .flat_map(|file| file.failed.iter().map(move |why| format!("{}: {why}", file.name)))
        .collect();
    assert_eq!(failures, Vec::<String>::new());
    let (passed, _, refused, _) = report.totals();
    assert!(passed >= 13_798, "{passed} assertions passed, 13,798 did before");
    assert!(refused <= 14, "{refused} assertions were refused, 14 were before");
}

#[test]
fn kernel_suite_passes_in_an_array_but_for_memory_that_has_no_room() {
    if !kernel_gate("the WebAssembly test suite in an array") {
        return;
    }
    let report = suite::run("", &suite::array_options());
    let failures: Vec<String> = report
        .files
        .iter()
        .flat_map(|file| file.failed.iter().map(move |why| format!("{}: {why}", file.name)))
        .collect();
    // These grow memory by more pages than an array has.
    let known = ["call: line 359", "local_tee: line 345", "memory_grow: line 45", "memory_grow: line 48"];
    let others: Vec<&String> =
        failures.iter().filter(|why| !known.iter().any(|known| why.starts_with(known))).collect();
    assert_eq!(others, Vec::<&String>::new());
    let (passed, _, refused, _) = report.totals();
    assert!(passed >= 13_760, "{passed} assertions passed");
    assert!(refused <= 47, "{refused} assertions were refused");
}

#[test]
fn kernel_every_trap_is_told_with_its_function_and_offset() {
    if !kernel_gate("traps in the kernel") {
        return;
    }
    let module = load(
        r#"(module (memory 1) (table 3 funcref) (elem (i32.const 0) $nothing)
            (type $t (func (result i32))) (func $nothing)
            (func (export "unreachable") unreachable)
            (func (export "memory") (drop (i32.load (i32.const 65533))))
            (func (export "table") (drop (table.get 0 (i32.const 3))))
            (func (export "zero") (param i32) (drop (i32.div_u (i32.const 1) (local.get 0))))
            (func (export "overflow") (param i32) (drop (i32.div_s (i32.const 0x80000000) (local.get 0))))
            (func (export "undefined") (drop (call_indirect (type $t) (i32.const 9))))
            (func (export "null") (drop (call_indirect (type $t) (i32.const 1))))
            (func (export "type") (drop (call_indirect (type $t) (i32.const 0))))
            (func (export "fuel") (loop (br 0)))
            (func $deep (export "stack") (call $deep)))"#,
        &small(),
        1,
    );
    const FUEL: u64 = 100_000;
    let cases: [(&str, &[u64], u64, TrapKind); 11] = [
        ("unreachable", &[], FUEL, TrapKind::Unreachable),
        ("memory", &[], FUEL, TrapKind::MemoryBounds),
        ("table", &[], FUEL, TrapKind::TableBounds),
        ("zero", &[0], FUEL, TrapKind::DivideByZero),
        ("overflow", &[0xffff_ffff], FUEL, TrapKind::IntegerOverflow),
        ("undefined", &[], FUEL, TrapKind::UndefinedElement),
        ("null", &[], FUEL, TrapKind::UninitializedElement),
        ("type", &[], FUEL, TrapKind::IndirectType),
        ("fuel", &[], FUEL, TrapKind::Fuel),
        ("stack", &[], FUEL, TrapKind::Stack),
        // Fuel without end: the kernel's own limit ends the loop, and that is no silent end either.
        ("fuel", &[], u64::MAX, TrapKind::KernelLimit),
    ];
    let told: HashSet<TrapKind> = cases.iter().map(|case| case.3).collect();
    assert_eq!(told, TrapKind::ALL.iter().copied().collect(), "a kind of trap without a case");
    for (export, arguments, fuel, kind) in cases {
        let index = module.object().module.exports.iter().find(|e| e.name == export).unwrap().index;
        match call(&module, 0, export, arguments, fuel).outcome {
            Outcome::Trapped(site) => {
                assert_eq!((site.kind, site.function), (kind, index), "{export}");
                let body = &module.object().module.bodies[index as usize].range;
                assert!(body.contains(&(site.offset as usize)), "{export}: {site:?} is not in {body:?}");
            }
            other => panic!("{export}: {other:?}"),
        }
    }
}

#[test]
fn kernel_fuel_is_counted_and_ends_loops_before_the_kernel_does() {
    if !kernel_gate("fuel in the kernel") {
        return;
    }
    let module = load(
        r#"(module (func (export "spin") (param i32) (result i32) (local i32)
            (loop (local.set 1 (i32.add (local.get 1) (i32.const 1)))
                (br_if 0 (i32.ne (local.get 1) (local.get 0))))
            (local.get 1)))"#,
        &small(),
        1,
    );
    let run = call(&module, 0, "spin", &[1000], 1000);
    assert_eq!((run.outcome, run.fuel_used), (Outcome::Returned(vec![1000]), 1000));
    let run = call(&module, 0, "spin", &[1001], 1000);
    assert!(matches!(run.outcome, Outcome::Trapped(site) if site.kind == TrapKind::Fuel), "{run:?}");
}

#[test]
fn kernel_a_module_that_scribbles_over_its_memory_touches_nothing_else() {
    if !kernel_gate("guards in the kernel") {
        return;
    }
    let text = r#"(module (memory 2)
        (func (export "scribble") (result i32) (local i32)
            (memory.fill (i32.const 0) (i32.const 0xee) (i32.const 131072))
            (loop
                (i64.store (local.get 0) (i64.const -1))
                (local.set 0 (i32.add (local.get 0) (i32.const 8)))
                (br 0))
            (unreachable))
        (func (export "first") (result i64) (i64.load (i32.const 0))))"#;
    let module = load(text, &small(), 3);
    for instance in [0, 2] {
        let (id, _) = module.instantiate(instance, &|_, _| None).unwrap();
        module.write_memory(id, 0, &7u64.to_le_bytes()).unwrap();
    }
    let run = call(&module, 1, "scribble", &[], 1_000_000);
    assert!(matches!(run.outcome, Outcome::Trapped(site) if site.kind == TrapKind::MemoryBounds), "{run:?}");
    assert_eq!(run.fuel_used, 131_072 / 8 + 1 + 131_072 / 8 + 1 + 1);
    for instance in [0, 2] {
        let run = module.call(module.instance(instance).unwrap(), 1, &[], 10).unwrap();
        assert_eq!(run.outcome, Outcome::Returned(vec![7]), "instance {instance}");
    }
}

#[test]
fn kernel_programs_give_wasmtimes_checksums_and_verify_in_linear_time() {
    if !kernel_gate("programs in the kernel") {
        return;
    }
    let mut logs = 0.0;
    for program in PROGRAMS {
        let kernel = InKernel::new(program).unwrap();
        assert_eq!(kernel.run(20).unwrap(), program.checksum, "{}, as native code has it", program.name);
        let kernel = InKernel::new(program).unwrap();
        let mut wasmtime = InWasmtime::new(program).unwrap();
        for rounds in [0, 1, 7] {
            assert_eq!(kernel.run(rounds).unwrap(), wasmtime.run(rounds).unwrap(), "{} {rounds}", program.name);
        }
        let (_, verified) = &kernel.module.loaded().verified()[0];
        assert!(verified.walked <= 100_000, "{}: {verified:?}", program.name);
        logs += (f64::from(verified.walked) / f64::from(verified.emitted)).ln();
    }
    let mean = (logs / PROGRAMS.len() as f64).exp();
    assert!(mean <= 2.0, "the verifier walks {mean:.2} instructions for each emitted one");
}

#[test]
fn kernel_a_large_function_is_walked_about_once() {
    if !kernel_gate("a large function in the kernel") {
        return;
    }
    let mut statements = String::new();
    for n in 0..4000 {
        let statement = match n % 4 {
            0 => format!("(local.set 1 (i32.add (local.get 1) (i32.load offset={n} (local.get 0))))"),
            1 => format!("(if (i32.gt_u (local.get 1) (i32.const {n})) (then (local.set 2 (i32.const {n}))))"),
            2 => "(i32.store (local.get 0) (local.get 2))".to_owned(),
            _ => format!("(local.set 0 (i32.and (i32.mul (local.get 1) (i32.const {n})) (i32.const 1023)))"),
        };
        statements.push_str(&statement);
    }
    let text = format!(
        "(module (memory 1) (func (export \"f\") (param i32) (result i32) (local i32 i32)
            {statements} (i32.add (local.get 1) (local.get 2))))"
    );
    let module = load(&text, &small(), 1);
    let (_, verified) = &module.loaded().verified()[0];
    assert!(verified.walked <= 2 * verified.emitted, "{verified:?}");
    assert!(matches!(call(&module, 0, "f", &[3], 10_000).outcome, Outcome::Returned(_)));
}

#[test]
fn kernel_the_older_instruction_set_divides_alike() {
    if !kernel_gate("v3 in the kernel") {
        return;
    }
    let text = r#"(module
        (func (export "div") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
        (func (export "rem") (param i32 i32) (result i32) (i32.rem_s (local.get 0) (local.get 1)))
        (func (export "div64") (param i64 i64) (result i64) (i64.div_s (local.get 0) (local.get 1)))
        (func (export "rem64") (param i64 i64) (result i64) (i64.rem_s (local.get 0) (local.get 1)))
        (func (export "extend") (param i64) (result i64) (i64.extend16_s (local.get 0))))"#;
    let module = load(text, &Options { isa: Isa::V3, ..small() }, 1);
    for (a, b) in [(7i32, -2i32), (-7, 2), (-7, -2), (i32::MIN, 3), (i32::MIN, 1), (5, 9)] {
        let arguments = [u64::from(a as u32), u64::from(b as u32)];
        let one = |export: &str, arguments: &[u64]| call(&module, 0, export, arguments, 10).outcome;
        assert_eq!(one("div", &arguments), Outcome::Returned(vec![u64::from((a / b) as u32)]), "{a} / {b}");
        assert_eq!(one("rem", &arguments), Outcome::Returned(vec![u64::from((a % b) as u32)]), "{a} % {b}");
        let (a, b) = (i64::from(a) << 20, i64::from(b));
        let arguments = [a as u64, b as u64];
        assert_eq!(one("div64", &arguments), Outcome::Returned(vec![(a / b) as u64]), "{a} / {b}");
        assert_eq!(one("rem64", &arguments), Outcome::Returned(vec![(a % b) as u64]), "{a} % {b}");
        assert_eq!(one("extend", &arguments[..1]), Outcome::Returned(vec![i64::from(a as i16) as u64]));
    }
}

#[test]
fn kernel_what_the_verifier_refuses_is_kept_with_the_listing() {
    if !kernel_gate("a refusal by the verifier") {
        return;
    }
    let text = r#"(module (func (export "more") (param i32) (result i32) (i32.add (local.get 0) (i32.const 7))))"#;
    let bytes = wat::parse_str(text).unwrap();
    let mut object = wasm2bpf::compile(&bytes, &small()).unwrap();
    // The compiler makes nothing that is refused, as far as we know: here the addition becomes a read through a register
    // that was never written.
    let at = object.elf.chunks(8).position(|insn| insn[0] == 0x04 && insn[4..] == [7, 0, 0, 0]).unwrap() * 8;
    object.elf[at..at + 8].copy_from_slice(&[0x79, 0x80, 0, 0, 0, 0, 0, 0]);
    let dir = std::env::temp_dir().join(format!("skep-defect-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let error = KernelModule::load_or_keep(object, &bytes, &dir).map(drop).unwrap_err();
    let kept: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!((error.kind(), kept.len()), (skep_error::Kind::Kernel, 1), "{error}");
    let said = error.report(1000);
    assert!(said.contains(&kept[0].display().to_string()) && said.contains("defect of the compiler"), "{said}");
    let text = std::fs::read_to_string(&kept[0]).unwrap();
    assert!(text.contains("wasm_more:") && text.contains("i32.add"), "no listing: {text}");
    assert!(text.contains("R8 !read_ok"), "no verifier's log: {text}");
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn kernel_a_generated_function_of_4000_statements_is_walked_about_once() {
    if !kernel_gate("a generated function in the kernel") {
        return;
    }
    let bytes = skep_kernel_wasm::generated::module(1, 4000);
    let module = KernelModule::load(wasm2bpf::compile(&bytes, &small()).unwrap(), &bytes, 1, false).unwrap();
    let (_, verified) = &module.loaded().verified()[0];
    assert!(verified.walked <= 2 * verified.emitted, "{verified:?}");
    let run = call(&module, 0, "0", &[3], 10_000);
    let mut store = wasmtime::Store::new(&wasmtime::Engine::default(), ());
    let wasm = wasmtime::Module::new(store.engine(), &bytes).unwrap();
    let instance = wasmtime::Instance::new(&mut store, &wasm, &[]).unwrap();
    let function = instance.get_typed_func::<i32, i32>(&mut store, "0").unwrap();
    let expected = function.call(&mut store, 3).unwrap() as u32;
    assert_eq!(run.outcome, Outcome::Returned(vec![u64::from(expected)]));
}
