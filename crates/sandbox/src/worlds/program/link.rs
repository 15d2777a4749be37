//! Gives each import its function, in the form in which the module declares it.

use skep_abi::{
    Func, Sig, ValType,
    program::{
        ATTACH, ATTACH_FD, BUFFER_POLL, BUFFER_POLL_TINYGO, CLOSE, ITER_READ, LOAD, MAP_FD, MAP_OPERATE,
        MAP_OPERATE_WIDE, MODULE, MODULE_OLD, MODULE_SHARED, MODULE_TINYGO, MODULE_WASI, SHARED_INFO, SHARED_LOAD,
        SHARED_MAP, SHARED_UNMAP, SHARED_WAIT, SURFACE,
    },
};
use skep_error::{Error, Kind, Result, did_you_mean, one_line};
use wasmtime::{Caller, ExternType, FuncType, ImportType, Linker};

use super::{
    host::State,
    maps::{self, Pointers},
    objects,
    poll::{self, Poll},
    shared,
};

/// Defines what `module` imports, WASI apart.
///
/// # Errors
/// `BadInput` for an import that this world does not have, by its name and the nearest known one.
pub(super) fn define_imports(linker: &mut Linker<State>, module: &wasmtime::Module) -> Result<()> {
    let mut defined: Vec<(&str, &Func)> = Vec::new();
    for import in module.imports() {
        let known = import.ty().func().and_then(|ty| find(import.module(), import.name(), ty));
        let Some(known) = known else { return Err(unknown(&import)) };
        if known.module == MODULE_WASI {
            continue;
        }
        // An import is found by its names alone, so one of two forms would get the other's function.
        let of_two_forms = |(module, other): &(&str, &Func)| {
            *module == import.module() && other.name == known.name && other.sig != known.sig
        };
        if defined.iter().any(of_two_forms) {
            let message = format!("the module imports {}.{} in two forms", import.module(), import.name());
            let error =
                Error::new(Kind::BadInput, message).help("declare it with pointers of 32 bits or of 64, not both");
            return Err(error.context("linking the module"));
        }
        defined.push((import.module(), known));
        define(linker, import.module(), known)
            .map_err(|error| Error::new(Kind::Internal, format!("{error:#}")).context("defining the imports"))?;
    }
    Ok(())
}

fn all() -> impl Iterator<Item = &'static Func> + Clone {
    SURFACE.imports.iter().copied().flatten()
}

fn find(module: &str, name: &str, ty: &FuncType) -> Option<&'static Func> {
    all().find(|known| {
        let same_module = known.module == module || (known.module == MODULE && module == MODULE_OLD);
        same_module && known.name == name && same_type(&known.sig, ty)
    })
}

fn same_type(sig: &Sig, ty: &FuncType) -> bool {
    let same = |ours: &ValType, theirs: wasmtime::ValType| {
        matches!(
            (ours, theirs),
            (ValType::I32, wasmtime::ValType::I32)
                | (ValType::I64, wasmtime::ValType::I64)
                | (ValType::F32, wasmtime::ValType::F32)
                | (ValType::F64, wasmtime::ValType::F64)
        )
    };
    sig.params.len() == ty.params().len()
        && sig.results.len() == ty.results().len()
        && sig.params.iter().zip(ty.params()).all(|(ours, theirs)| same(ours, theirs))
        && sig.results.iter().zip(ty.results()).all(|(ours, theirs)| same(ours, theirs))
}

fn unknown(import: &ImportType<'_>) -> Error {
    let (module, name) = (import.module(), import.name());
    let shown = format!("{module}.{name}");
    let shown = one_line(&shown);
    let of_that_name = all().find(|known| known.name == name);
    // A misspelt function is most often one of the module that it is asked of.
    let asked_of = if module == MODULE_OLD { MODULE } else { module };
    let same_module = || all().filter(|known| known.module == asked_of).map(|known| known.name);
    let error = match (of_that_name, import.ty()) {
        (Some(known), ExternType::Func(ty)) if same_type(&known.sig, &ty) => {
            let message = format!("the module imports {shown}, which world program has in another module");
            Error::new(Kind::BadInput, message).help(format!("import it from module {}", known.module))
        }
        (Some(known), ExternType::Func(ty)) => {
            let names = |types: &mut dyn Iterator<Item = wasmtime::ValType>| {
                types.map(|ty| ty.to_string()).collect::<Vec<_>>().join(", ")
            };
            let (takes, gives) = (names(&mut ty.params()), names(&mut ty.results()));
            let message = format!("the module imports {shown} as ({takes}) -> ({gives}), which is no form of it");
            Error::new(Kind::BadInput, message).help(format!("it is {} in module {}", known.sig, known.module))
        }
        (None, ExternType::Func(_)) => {
            Error::new(Kind::BadInput, format!("the module imports {shown}, which world program does not have")).help(
                match same_module().next() {
                    Some(_) => did_you_mean(name, same_module().collect::<Vec<_>>()),
                    None => did_you_mean(module, all().map(|known| known.module).chain([MODULE_OLD])),
                },
            )
        }
        (_, other) => Error::new(Kind::BadInput, format!("the module imports {shown}, a {}", what(&other)))
            .help("world program gives functions alone: let the module define its own memory and tables"),
    };
    error.context("linking the module")
}

fn what(ty: &ExternType) -> &'static str {
    match ty {
        ExternType::Memory(_) => "memory",
        ExternType::Table(_) => "table",
        ExternType::Global(_) => "global",
        _ => "thing that is no function",
    }
}

type Call<'a> = Caller<'a, State>;

fn define(linker: &mut Linker<State>, module: &str, func: &Func) -> wasmtime::Result<()> {
    let name = func.name;
    // The same function may be imported twice.
    linker.allow_shadowing(true);
    match *func {
        LOAD => linker.func_wrap(module, name, objects::load),
        CLOSE => linker.func_wrap(module, name, objects::close),
        ATTACH => linker.func_wrap(module, name, objects::attach),
        ATTACH_FD => linker.func_wrap(module, name, objects::attach_fd),
        MAP_FD => linker.func_wrap(module, name, objects::map_fd),
        BUFFER_POLL => {
            linker.func_wrap(module, name, |caller: Call<'_>, object, map, function, ctx, data, max, timeout_ms| {
                poll::poll(caller, Poll { object, map, function: Some(function), ctx, data, max, timeout_ms })
            })
        }
        BUFFER_POLL_TINYGO => {
            debug_assert_eq!(module, MODULE_TINYGO);
            linker.func_wrap(module, name, |caller: Call<'_>, object, map, ctx, data, max, timeout_ms| {
                poll::poll(caller, Poll { object, map, function: None, ctx, data, max, timeout_ms })
            })
        }
        MAP_OPERATE => linker.func_wrap(
            module,
            name,
            |caller: Call<'_>, map: i32, command: i32, key: u32, value: u32, next_key: u32, flags: u64| {
                maps::operate(caller, map, command, Pointers { key, value, next_key }, flags)
            },
        ),
        MAP_OPERATE_WIDE => linker.func_wrap(
            module,
            name,
            |caller: Call<'_>, map: i32, command: i32, key: u64, value: u64, next_key: u64, flags: u64| {
                let at = Pointers { key: narrow(key), value: narrow(value), next_key: narrow(next_key) };
                maps::operate(caller, map, command, at, flags)
            },
        ),
        SHARED_MAP => linker.func_wrap(module, name, shared::map),
        SHARED_UNMAP => linker.func_wrap(module, name, shared::unmap),
        SHARED_INFO => linker.func_wrap(module, name, shared::info),
        SHARED_WAIT => linker.func_wrap(module, name, shared::wait),
        ITER_READ => linker.func_wrap(module, name, objects::read_iterator),
        SHARED_LOAD => linker.func_wrap(module, name, shared::load_at),
        _ => return Err(wasmtime::Error::msg(format!("{MODULE_SHARED}: no function for {name}"))),
    }?;
    linker.allow_shadowing(false);
    Ok(())
}

/// An address of 64 bits in a memory of 32: one that does not fit lies outside it.
fn narrow(address: u64) -> u32 {
    u32::try_from(address).unwrap_or(u32::MAX)
}
