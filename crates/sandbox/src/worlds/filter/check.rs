//! What a module must look like. Everything is decided from its declared types; nothing of it runs.

use super::FilterPolicy;
use skep_abi::{
    Func, Sig, ValType,
    filter::{FILTER, LOG_LINE, MODULE},
    hooks::ALLOC,
    surface::MEMORY,
};
use skep_error::{Error, Kind, Result, did_you_mean, one_line};
use wasmtime::{ExternType, FuncType, MemoryType, Module};

/// Where a module's memory comes from.
pub(super) enum MemoryPlace {
    /// It defines and exports one.
    Own,
    /// It imports the host's, of that type.
    Imported(MemoryType),
}

/// `malloc` of C: where a guest has no allocator of the SDK's.
pub(super) const MALLOC: Func = Func::export("malloc", &[ValType::I32], &[ValType::I32]);

/// Whether the module has neither an allocator nor room to grow in its own memory, so that no place is left for the event.
pub(super) fn is_full(module: &Module) -> bool {
    let allocates =
        |func: &Func| matches!(module.get_export(func.name), Some(ExternType::Func(ty)) if has_sig(&ty, &func.sig));
    let full = |ty: &MemoryType| ty.maximum() == Some(ty.minimum());
    matches!(module.get_export(MEMORY), Some(ExternType::Memory(ty)) if full(&ty))
        && ![ALLOC, MALLOC].iter().any(allocates)
}

/// Checks the imports, the exports and the size of the memory.
pub(super) fn check(module: &Module, policy: &FilterPolicy) -> Result<MemoryPlace> {
    let mut imported = None;
    for import in module.imports() {
        match (import.module(), import.name(), import.ty()) {
            (module, name, ExternType::Func(ty)) if module == LOG_LINE.module && name == LOG_LINE.name => {
                same_type("import env.log", &ty, &LOG_LINE)?;
            }
            (module, name, ExternType::Memory(ty)) if module == MODULE && name == MEMORY => {
                memory_fits(&ty, policy)?;
                imported = Some(ty);
            }
            (module, name, _) => {
                let known = [format!("{MODULE}.{}", LOG_LINE.name), format!("{MODULE}.{MEMORY}")];
                let full = format!("{module}.{name}");
                let near = did_you_mean(&full, known.iter().map(String::as_str));
                let shown = one_line(&full);
                return Err(Error::new(
                    Kind::Refused,
                    format!("it imports {shown}, which world filter does not offer"),
                )
                .help(format!("{near}; a filter has no WASI: build it without an operating system")));
            }
        }
    }
    filter_export(module)?;
    match (module.get_export(MEMORY), imported) {
        (Some(ExternType::Memory(ty)), imported) => {
            memory_fits(&ty, policy)?;
            Ok(imported.map_or(MemoryPlace::Own, MemoryPlace::Imported))
        }
        (None, Some(ty)) => Ok(MemoryPlace::Imported(ty)),
        _ => Err(Error::new(Kind::BadInput, "it has no memory: it neither exports \"memory\" nor imports env.memory")
            .help("export the memory that the event is written to")),
    }
}

fn filter_export(module: &Module) -> Result<()> {
    let help = format!("export \"{}\" of type {}", FILTER.name, FILTER.sig);
    match module.get_export(FILTER.name) {
        Some(ExternType::Func(ty)) => same_type("export filter", &ty, &FILTER),
        Some(_) => Err(Error::new(Kind::BadInput, "its export \"filter\" is no function").help(help)),
        None => {
            let exports: Vec<&str> = module.exports().map(|export| export.name()).collect();
            let near = did_you_mean(FILTER.name, exports);
            Err(Error::new(Kind::BadInput, "it exports no function \"filter\"").help(format!("{help} ({near})")))
        }
    }
}

fn same_type(what: &str, ty: &FuncType, wanted: &Func) -> Result<()> {
    if has_sig(ty, &wanted.sig) {
        return Ok(());
    }
    let found = |types: Vec<wasmtime::ValType>| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (params, results) = (found(ty.params().collect()), found(ty.results().collect()));
    Err(Error::new(Kind::BadInput, format!("its {what} has the type ({params}) -> ({results}), not {}", wanted.sig)))
}

/// Whether a function has exactly that type.
pub(super) fn has_sig(ty: &FuncType, sig: &Sig) -> bool {
    let same = |ours: &ValType, theirs: &wasmtime::ValType| {
        matches!(
            (ours, theirs),
            (ValType::I32, wasmtime::ValType::I32)
                | (ValType::I64, wasmtime::ValType::I64)
                | (ValType::F32, wasmtime::ValType::F32)
                | (ValType::F64, wasmtime::ValType::F64)
        )
    };
    let (params, results): (Vec<_>, Vec<_>) = (ty.params().collect(), ty.results().collect());
    let all = |ours: &[ValType], theirs: &[wasmtime::ValType]| {
        ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(ours, theirs)| same(ours, theirs))
    };
    all(sig.params, &params) && all(sig.results, &results)
}

/// The cap binds whoever defines the memory.
fn memory_fits(ty: &MemoryType, policy: &FilterPolicy) -> Result<()> {
    if ty.is_shared() || ty.is_64() {
        return Err(Error::new(Kind::Refused, "its memory is shared or has 64-bit addresses"));
    }
    if ty.minimum() > policy.max_pages {
        let text = format!(
            "its memory starts with {} pages of 64 KiB, {} are allowed ({} KiB)",
            ty.minimum(),
            policy.max_pages,
            policy.max_pages * 64
        );
        return Err(Error::new(Kind::Refused, text).help(format!(
            "Rust reserves 1 MiB of stack by default: build with a smaller one \
             (-C link-arg=-zstack-size=65536; clang: -Wl,-z,stack-size=65536), or raise the cap \
             (--filter-pages {0}; FilterPolicy::max_pages)",
            ty.minimum().next_power_of_two()
        )));
    }
    Ok(())
}
