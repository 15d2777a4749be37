//! Compiled functions and eBPF programs written in C, joined by libbpf's static linker and run: scalars, memory, traps and
//! imports; on several processors and on several levels of interrupts at once.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use skep_bpf::kernel_wasm::{KernelModule, Outcome};
use skep_suite::kernel_gate;
use tempfile::TempDir;
use wasm2bpf::{Binding, Isa, Object, Options, Target, TrapKind};

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf").join(name)
}

/// Compiles the module and the program, links them, and loads what comes of it.
fn load(text: &str, program: &str, options: &Options, instances: u32) -> KernelModule {
    let bytes = wat::parse_str(text).unwrap();
    let mut object = wasm2bpf::compile(&bytes, options).unwrap();
    object.elf = link(&object, program);
    KernelModule::load(object, &bytes, instances, false).unwrap_or_else(|error| panic!("{}", error.report(40)))
}

fn link(object: &Object, program: &str) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("handler.h"), object.header()).unwrap();
    std::fs::write(path("handler.bpf.o"), &object.elf).unwrap();
    skep_dev::bpf::compile(&source(program), &path("program.bpf.o"), &[dir.path().to_owned()]).unwrap();
    let mut linker = libbpf_rs::Linker::new(path("linked.bpf.o")).unwrap();
    linker.add_file(path("program.bpf.o")).unwrap();
    linker.add_file(path("handler.bpf.o")).unwrap();
    linker.link().unwrap();
    std::fs::read(path("linked.bpf.o")).unwrap()
}

/// Words of the context that a program of `calls.bpf.c` is given.
struct Called {
    result: u64,
    trap: Option<TrapKind>,
    scaled: u32,
}

fn call(module: &KernelModule, instance: u32, which: u32, argument: u64, record: u64) -> Called {
    let mut context = Vec::new();
    context.extend(instance.to_le_bytes());
    context.extend(which.to_le_bytes());
    for word in [argument, record, 0, 0] {
        context.extend(word.to_le_bytes());
    }
    module.loaded().run(module.loaded().program("call").unwrap(), &mut context).unwrap();
    let (words, _) = context.as_chunks::<8>();
    let last = u64::from_le_bytes(words[4]);
    let trap = (last as u32).checked_sub(1).map(|site| module.object().sites[site as usize].kind);
    Called { result: u64::from_le_bytes(words[3]), trap, scaled: (last >> 32) as u32 }
}

const HANDLERS: &str = r#"(module
    (import "env" "scale" (func $scale (param i32) (result i64)))
    (memory (export "memory") 1)
    ;; The record, which the program wrote at 64, times the argument, by a function of the program's; noted at 72.
    (func (export "weigh") (param i32) (result i64)
        (i64.store (i32.const 72) (call $scale (local.get 0)))
        (i64.add (i64.load (i32.const 72)) (i64.load (i32.const 64))))
    (func (export "divide") (param i64 i64) (result i64) (i64.div_u (local.get 0) (local.get 1)))
    (func (export "spin") (loop (br 0))))"#;

fn options() -> Options {
    let imports = [(("env".to_owned(), "scale".to_owned()), Binding::Function("scale".to_owned()))];
    Options { max_memory_pages: 1, imports: imports.into_iter().collect(), instances: 2, ..Options::default() }
}

fn handlers_are_called(module: &KernelModule) {
    for instance in [0, 1] {
        assert_eq!(module.instantiate(instance, &|_, _| None).unwrap().1, None);
    }
    let weighed = call(module, 1, 0, 3, 1 << 40);
    assert_eq!((weighed.result, weighed.trap, weighed.scaled), (4 << 40, None, 1));
    // Both sides saw the same memory, and the other instance's is another.
    let word = |instance| {
        let mut word = [0; 8];
        module.read_memory(module.instance(instance).unwrap(), 72, &mut word).unwrap();
        u64::from_le_bytes(word)
    };
    assert_eq!((word(1), word(0)), (3 << 40, 0));
    assert_eq!(call(module, 0, 1, 100, 7).result, 14);
    assert_eq!(call(module, 0, 1, 100, 0).trap, Some(TrapKind::DivideByZero));
    assert_eq!(call(module, 0, 2, 0, 0).trap, Some(TrapKind::Fuel));
    assert_eq!(call(module, 0, 1, 100, 7).trap, None, "a trap is gone with the next call");
}

#[test]
fn kernel_a_program_in_c_calls_compiled_functions() {
    if !kernel_gate("libbpf's linker with an arena") {
        return;
    }
    handlers_are_called(&load(HANDLERS, "calls.bpf.c", &options(), 2));
}

#[test]
fn kernel_a_program_in_c_calls_functions_whose_memory_is_an_array() {
    if !kernel_gate("libbpf's linker with an array") {
        return;
    }
    let options = Options { target: Target::Array, isa: Isa::V3, ..options() };
    handlers_are_called(&load(HANDLERS, "calls.bpf.c", &options, 2));
}

#[test]
fn kernel_imports_are_helpers_or_nothing() {
    if !kernel_gate("imports bound to helpers") {
        return;
    }
    let text = r#"(module
        (import "env" "now" (func $now (result i64)))
        (import "env" "cpu" (func $cpu (result i32)))
        (import "env" "log" (func $log (param i32) (result i32)))
        (func (export "now") (result i64) (call $now))
        (func (export "cpu") (result i32) (call $cpu))
        (func (export "log") (result i32) (call $log (i32.const 9))))"#;
    let name = |name: &str| ("env".to_owned(), name.to_owned());
    // bpf_ktime_get_ns and bpf_get_smp_processor_id.
    let imports =
        [(name("now"), Binding::Helper(5)), (name("cpu"), Binding::Helper(8)), (name("log"), Binding::Nothing)];
    let options = Options { imports: imports.into_iter().collect(), ..Options::default() };
    let bytes = wat::parse_str(text).unwrap();
    let module = KernelModule::load(wasm2bpf::compile(&bytes, &options).unwrap(), &bytes, 1, false).unwrap();
    let (id, _) = module.instantiate(0, &|_, _| None).unwrap();
    let call = |name: &str| {
        let index = module.object().module.exports.iter().find(|export| export.name == name).unwrap().index;
        match module.call(id, index, &[], 10).unwrap().outcome {
            Outcome::Returned(values) => values[0],
            trapped => panic!("{name}: {trapped:?}"),
        }
    };
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    };
    let (before, inside, after) = (now(), call("now"), now());
    assert!((before..=after).contains(&inside), "{before} {inside} {after}");
    let processors = processors();
    for &processor in &processors {
        pin(processor);
        assert_eq!(call("cpu"), processor as u64);
    }
    assert_eq!(call("log"), 0);
}

/// Those that this process may run on.
fn processors() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None).unwrap();
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&processor| set.is_set(processor)).collect()
}

/// This thread stays there.
fn pin(processor: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(processor);
    rustix::thread::sched_setaffinity(None, &set).unwrap();
}

/// Memory, a global, the shadow stack and a frame, all of them written again and again.
const MIX: &str = r#"(module (memory 1) (global $sum (mut i64) (i64.const 0))
    (func $deep (param i32) (result i64)
        (if (result i64) (local.get 0)
            (then (i64.add (i64.mul (call $deep (i32.sub (local.get 0) (i32.const 1))) (i64.const 31))
                (i64.extend_i32_u (local.get 0))))
            (else (global.get $sum))))
    (func (export "mix") (param $seed i64) (param $rounds i32) (result i64) (local $at i32)
        (global.set $sum (local.get $seed))
        (loop $fill
            (i64.store (local.get $at) (i64.mul (i64.add (local.get $seed) (i64.extend_i32_u (local.get $at)))
                (i64.const 0x9e3779b97f4a7c15)))
            (br_if $fill (i32.ne (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 4096))))
        (loop $round
            (local.set $seed (i64.xor (local.get $seed) (i64.shl (local.get $seed) (i64.const 13))))
            (local.set $seed (i64.xor (local.get $seed) (i64.shr_u (local.get $seed) (i64.const 7))))
            (local.set $seed (i64.xor (local.get $seed) (i64.shl (local.get $seed) (i64.const 17))))
            (local.set $at (i32.and (i32.wrap_i64 (local.get $seed)) (i32.const 4088)))
            (i64.store (local.get $at) (i64.add (i64.load (local.get $at)) (local.get $seed)))
            (global.set $sum (i64.xor (i64.load (local.get $at))
                (call $deep (i32.and (i32.wrap_i64 (local.get $seed)) (i32.const 15)))))
            (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
        (local.set $at (i32.const 4096))
        (loop $total
            (local.set $at (i32.sub (local.get $at) (i32.const 8)))
            (global.set $sum (i64.add (i64.rotl (global.get $sum) (i64.const 3)) (i64.load (local.get $at))))
            (br_if $total (local.get $at)))
        (global.get $sum)))"#;

fn mixed(seed: u64, rounds: u32) -> u64 {
    let mut store = wasmtime::Store::new(&wasmtime::Engine::default(), ());
    let module = wasmtime::Module::new(store.engine(), wat::parse_str(MIX).unwrap()).unwrap();
    let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
    instance.get_typed_func::<(u64, u32), u64>(&mut store, "mix").unwrap().call(&mut store, (seed, rounds)).unwrap()
}

/// Runs a program of `nested.bpf.c`; returns the result and the trap.
fn run_nested(module: &KernelModule, program: &str, instance: u32, rounds: u32, seed: u64, result: u64) -> (u64, u64) {
    let mut context = Vec::new();
    context.extend(instance.to_le_bytes());
    context.extend(rounds.to_le_bytes());
    for word in [seed, result, 0] {
        context.extend(word.to_le_bytes());
    }
    module.loaded().run(module.loaded().program(program).unwrap(), &mut context).unwrap();
    let (words, _) = context.as_chunks::<8>();
    (u64::from_le_bytes(words[2]), u64::from_le_bytes(words[3]))
}

/// Runs on top of tasks' runs in soft interrupts and in timer interrupts, and results that were wrong.
fn counts(module: &KernelModule) -> [u64; 3] {
    let mut context = [0; 24];
    module.loaded().run(module.loaded().program("report").unwrap(), &mut context).unwrap();
    let (words, _) = context.as_chunks::<8>();
    [0, 1, 2].map(|word| u64::from_le_bytes(words[word]))
}

#[test]
fn kernel_processors_and_interrupts_run_one_function_at_once() {
    if !kernel_gate("one function on every processor and level") {
        return;
    }
    const ROUNDS: u32 = 2000;
    // Interrupts of a level on top of tasks that are to be seen, and how long they may take to come.
    const SEEN: u64 = 30;
    const PATIENCE: Duration = Duration::from_secs(60);
    let processors = processors();
    let levels = processors.iter().max().unwrap() + 1;
    let options = Options { max_memory_pages: 1, ..Options::default() };
    let module = load(MIX, "nested.bpf.c", &options, 3 * levels as u32);
    for instance in 0..3 * levels as u32 {
        assert_eq!(module.instantiate(instance, &|_, _| None).unwrap().1, None);
    }
    let seeds: Vec<(u64, u64)> = (1..8).map(|seed| (seed, mixed(seed, ROUNDS))).collect();
    run_nested(&module, "begin", levels as u32, 0, 0, mixed(7, 3));
    let _soft = module.loaded().attach("in_soft").unwrap();
    let _timer = module.loaded().attach("in_timer").unwrap();
    let (over, runs) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for &processor in &processors {
            let (module, seeds, over, runs) = (&module, &seeds, &over, &runs);
            scope.spawn(move || {
                pin(processor);
                for &(seed, expected) in seeds.iter().cycle() {
                    let (result, trap) = run_nested(module, "in_task", processor as u32, ROUNDS, seed, 0);
                    if (result, trap) != (expected, 0) {
                        over.store(true, Ordering::Relaxed);
                        panic!(
                            "seed {seed} on processor {processor}: {result:#x} instead of {expected:#x}, trap {trap}"
                        );
                    }
                    runs.fetch_add(1, Ordering::Relaxed);
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let begun = Instant::now();
        let enough = || {
            let [soft, timer, wrong] = counts(&module);
            (soft >= SEEN && timer >= SEEN) || wrong > 0 || over.load(Ordering::Relaxed)
        };
        while !enough() && begun.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        over.store(true, Ordering::Relaxed);
    });
    let [soft, timer, wrong] = counts(&module);
    assert_eq!(wrong, 0, "results of {soft} and {timer} interrupts");
    assert!(soft >= SEEN && timer >= SEEN, "{soft} soft interrupts and {timer} timers came on top of tasks");
    assert!(runs.load(Ordering::Relaxed) >= processors.len() as u64);
    for instance in 0..3 * levels as u32 {
        assert!(module.guards_intact(module.instance(instance).unwrap()).unwrap(), "instance {instance}");
    }
}

/// The lines of the documentation are those of a program that compiles and links.
#[test]
fn the_page_calls_a_handler_as_a_program_in_c_does() {
    let page = skep_dev::workspace().join("docs/src/wasm-from-c.md");
    let page = std::fs::read_to_string(page).unwrap();
    let code = page.split_once("```c\n").unwrap().1.split_once("```").unwrap().0;
    let text = format!(
        "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n#include \"handler.h\"\nenum {{ PASS = 1 }};\n\
         char LICENSE[] SEC(\"license\") = \"Dual MIT/GPL\";\n\
         SEC(\"syscall\") int judge(void *context)\n{{\n__u64 size = 1;\nint verdict;\n{code}\nreturn verdict;\n}}\n"
    );
    let dir = TempDir::new().unwrap();
    let program = dir.path().join("judge.bpf.c");
    std::fs::write(&program, text).unwrap();
    let filter = r#"(module (memory 1) (func (export "filter") (param i32 i32) (result i32)
        (i64.gt_u (i64.load (local.get 0)) (i64.const 100))))"#;
    let object = wasm2bpf::compile(&wat::parse_str(filter).unwrap(), &options()).unwrap();
    assert!(!link(&object, program.to_str().unwrap()).is_empty());
}
