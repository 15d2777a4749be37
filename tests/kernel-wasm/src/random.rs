//! Random modules, in the kernel and in wasmtime: results, traps, memory and globals must be the same.

mod program;
mod smith;

use arbitrary::Unstructured;
use skep_bpf::kernel_wasm::{InstanceId, KernelModule, Outcome};
use wasm2bpf::{Options, Reason, TrapKind};
use wasmtime::{Config, Engine, Extern, Instance, Module, Store, Trap, Val, ValType};

/// What became of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// So many calls gave the same.
    Same(u32),
    /// The compiler turned all of it down.
    Refused(String),
    /// The bytes made no module.
    Nothing,
}

/// Fuel for each call, on both sides; a run that one of them ends for lack of it says nothing.
const FUEL: u64 = 20_000;

/// Calls of one function.
const CALLS: u32 = 3;

/// The steps of a simple generator (splitmix64): seeds to bytes, the same on every machine.
pub fn bytes_of(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend((z ^ (z >> 31)).to_le_bytes());
    }
    out.truncate(length);
    out
}

/// An engine that counts fuel.
///
/// # Errors
/// wasmtime's words.
pub fn engine() -> Result<Engine, String> {
    let mut config = Config::new();
    config.consume_fuel(true);
    Engine::new(&config).map_err(|error| error.to_string())
}

/// Makes a module of `data` and compares.
///
/// # Errors
/// What differs, with the function and its arguments; also when the kernel refuses what was compiled.
pub fn compare(engine: &Engine, data: &[u8]) -> Result<Verdict, String> {
    let mut u = Unstructured::new(data);
    let Ok(bytes) = generate(&mut u) else { return Ok(Verdict::Nothing) };
    compare_module(engine, &bytes, &mut u)
}

/// The module that [`compare`] makes of `data`: half of them wasm-smith's, which reach every corner of the format, half
/// programs of ours, which compute something.
///
/// # Errors
/// When the data ends too early.
pub fn generate(u: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    if u.ratio(1, 2)? { smith::generate(u) } else { program::generate(u) }
}

/// Compares a module, with arguments from `u`.
///
/// # Errors
/// As [`compare`].
pub fn compare_module(engine: &Engine, bytes: &[u8], u: &mut Unstructured<'_>) -> Result<Verdict, String> {
    let options = Options { partial: true, max_memory_pages: 16, max_table_entries: 256, ..Options::default() };
    let object = match wasm2bpf::compile(bytes, &options) {
        Ok(object) => object,
        Err(refusal) => return Ok(Verdict::Refused(format!("{:?}", refusal.reason))),
    };
    // A limit that was granted differs from the one that wasmtime lets it grow to.
    if object.module.memories.iter().any(|memory| memory.max.is_none_or(|max| max > 16))
        || object.module.tables.iter().any(|table| table.max.is_none_or(|max| max > 256))
    {
        return Ok(Verdict::Refused("a limit above what is granted".to_owned()));
    }
    if let Some(invalid) = object.report.refused.iter().find(|r| matches!(r.reason, Reason::Invalid(_))) {
        return Err(format!("a valid module was called invalid: {invalid}"));
    }
    // An engine without garbage collection knows no externref.
    let Ok(module) = Module::new(engine, bytes) else {
        return Ok(Verdict::Refused("wasmtime as it is built here does not take it".to_owned()));
    };
    let kernel = KernelModule::load(object, bytes, 1, false).map_err(|error| error.report(30))?;
    let mut store = Store::new(engine, ());
    store.set_fuel(FUEL).map_err(|error| error.to_string())?;
    let (id, trapped) = kernel.instantiate(0, &|_, _| None).map_err(|error| error.report(10))?;
    let instance = match (Instance::new(&mut store, &module, &[]), trapped) {
        (Ok(instance), None) => instance,
        (Err(_), Some(_)) => return Ok(Verdict::Same(1)),
        (Ok(_), Some(trap)) => return Err(format!("only the kernel's instance trapped: {trap}")),
        (Err(error), None) => return Err(format!("only wasmtime's instance trapped: {error}")),
    };
    let mut calls = 0;
    for export in &kernel.object().module.exports {
        let compiled = kernel.object().report.functions.iter().any(|function| function.index == export.index);
        if export.kind != wasmparser::ExternalKind::Func || !compiled {
            continue;
        }
        for _ in 0..CALLS {
            let Some(function) = instance.get_func(&mut store, &export.name) else { continue };
            let types: Vec<ValType> = function.ty(&store).params().collect();
            let Some(arguments) = types.iter().map(|ty| value(ty, u)).collect::<Option<Vec<Val>>>() else { break };
            let same = call(&kernel, id, export.index, &mut store, &function, &arguments)?;
            if !same {
                // Fuel ran out on one side: the states are no longer the same.
                return Ok(Verdict::Same(calls));
            }
            calls += 1;
            state(&kernel, id, &mut store, &instance).map_err(|why| format!("after `{}`: {why}", export.name))?;
        }
    }
    if kernel.guards_intact(id).map_err(|error| error.to_string())? {
        Ok(Verdict::Same(calls))
    } else {
        Err("the guards were written to".to_owned())
    }
}

fn value(ty: &ValType, u: &mut Unstructured<'_>) -> Option<Val> {
    match ty {
        ValType::I32 => Some(Val::I32(u.arbitrary().unwrap_or(0))),
        ValType::I64 => Some(Val::I64(u.arbitrary().unwrap_or(0))),
        ValType::Ref(ty) if ty.is_nullable() => Some(Val::null_ref(ty.heap_type())),
        _ => None,
    }
}

fn bits(value: &Val) -> u64 {
    match value {
        Val::I32(value) => u64::from(*value as u32),
        Val::I64(value) => *value as u64,
        Val::F32(bits) => u64::from(*bits),
        Val::F64(bits) => *bits,
        // References are compared as null or not.
        Val::FuncRef(reference) => u64::from(reference.is_some()),
        Val::ExternRef(reference) => u64::from(reference.is_some()),
        _ => 0,
    }
}

/// False when one side ran out of fuel or stack, which the other need not.
fn call(
    kernel: &KernelModule,
    id: InstanceId,
    index: u32,
    store: &mut Store<()>,
    function: &wasmtime::Func,
    arguments: &[Val],
) -> Result<bool, String> {
    let context = |why: String| format!("function {index} with {arguments:?}: {why}");
    let inputs: Vec<u64> = arguments.iter().map(bits).collect();
    let run = kernel.call(id, index, &inputs, FUEL).map_err(|error| context(error.report(10)))?;
    store.set_fuel(FUEL * 1000).map_err(|error| error.to_string())?;
    let result_types: Vec<ValType> = function.ty(&*store).results().collect();
    let mut results = vec![Val::I32(0); result_types.len()];
    let theirs = function.call(&mut *store, arguments, &mut results);
    let trap = theirs.as_ref().err().and_then(|error| error.downcast_ref::<Trap>().copied());
    match (&run.outcome, theirs.is_ok()) {
        (Outcome::Trapped(site), _)
            if matches!(site.kind, TrapKind::Fuel | TrapKind::Stack | TrapKind::KernelLimit) =>
        {
            Ok(false)
        }
        (_, false) if matches!(trap, Some(Trap::OutOfFuel | Trap::StackOverflow)) => Ok(false),
        (Outcome::Returned(values), true) => {
            let expected: Vec<u64> = results.iter().map(bits).collect();
            let ours = values.iter().zip(&result_types).map(|(&value, ty)| match ty {
                ValType::Ref(_) => u64::from(value != 0),
                _ => value,
            });
            let ours: Vec<u64> = ours.collect();
            if ours == expected { Ok(true) } else { Err(context(format!("{ours:x?} instead of {expected:x?}"))) }
        }
        (Outcome::Trapped(site), false) if trap.is_some_and(|trap| agree(trap, site.kind)) => Ok(true),
        (ours, _) => Err(context(format!("{ours:?} instead of {theirs:?} {results:?}"))),
    }
}

/// Whether wasmtime's trap is ours; it has one for everything outside a table.
fn agree(trap: Trap, kind: TrapKind) -> bool {
    match trap {
        Trap::UnreachableCodeReached => kind == TrapKind::Unreachable,
        Trap::MemoryOutOfBounds => kind == TrapKind::MemoryBounds,
        Trap::TableOutOfBounds => matches!(kind, TrapKind::TableBounds | TrapKind::UndefinedElement),
        Trap::IntegerDivisionByZero => kind == TrapKind::DivideByZero,
        Trap::IntegerOverflow => kind == TrapKind::IntegerOverflow,
        Trap::IndirectCallToNull => kind == TrapKind::UninitializedElement,
        Trap::BadSignature => kind == TrapKind::IndirectType,
        _ => false,
    }
}

/// Globals and memory.
fn state(kernel: &KernelModule, id: InstanceId, store: &mut Store<()>, instance: &Instance) -> Result<(), String> {
    for export in &kernel.object().module.exports {
        match instance.get_export(&mut *store, &export.name) {
            Some(Extern::Global(global)) => {
                let value = global.get(&mut *store);
                let expected = bits(&value);
                let ours = kernel.global(id, export.index).map_err(|error| error.to_string())?;
                let ours =
                    if matches!(value, Val::FuncRef(_) | Val::ExternRef(_)) { u64::from(ours != 0) } else { ours };
                if ours != expected {
                    return Err(format!("global {} is {ours:x}, not {expected:x}", export.index));
                }
            }
            Some(Extern::Memory(memory)) => {
                let expected = memory.data(&*store);
                let mut ours = vec![0; expected.len()];
                kernel.read_memory(id, 0, &mut ours).map_err(|error| error.to_string())?;
                if let Some(at) = ours.iter().zip(expected).position(|(ours, expected)| ours != expected) {
                    return Err(format!("memory at {at:#x} is {:x}, not {:x}", ours[at], expected[at]));
                }
            }
            _ => {}
        }
    }
    Ok(())
}
