//! Which world a module speaks, and what of it does not fit that world.

use skep_abi::{Form, Func, Marker, ValType, World, surface::MEMORY};
use skep_error::did_you_mean;

use crate::{Extern, FuncType, Import, Inspection, Rejection, RejectionKind as Kind, Ty};

/// Imports and exports that are looked at for a near name, and imports whose reason names one: comparing each of a
/// hostile module's with every known name takes longer than all the rest.
const LOOKED_AT: usize = 200;

/// The order in which worlds are asked: what says its own name first, a function called `filter` last.
const ORDER: [World; 5] = [World::Hooks, World::Operator, World::Program, World::Packet, World::Filter];

/// Fills in world, form and reasons.
pub(crate) fn world(found: &mut Inspection) {
    let told = ORDER.iter().find_map(|world| {
        let form = world.surface().forms.iter().find(|form| form.markers.iter().any(|marker| bears(found, marker)))?;
        Some((*world, form))
    });
    let Some((world, form)) = told else {
        let reason = none(found);
        found.reasons.push(reason);
        return;
    };
    found.world = Some(world);
    found.form = Some(form);
    let mut reasons = Vec::new();
    for import in &found.imports {
        reasons.extend(judge_import(world, import, reasons.len() < LOOKED_AT).err());
    }
    exports(found, world, form, &mut reasons);
    found.reasons.append(&mut reasons);
}

fn bears(found: &Inspection, marker: &Marker) -> bool {
    match *marker {
        Marker::ImportModule(module) => found.imports.iter().any(|import| import.module == module),
        Marker::Import(module, name) => {
            found.imports.iter().any(|import| import.module == module && import.name == name)
        }
        Marker::Export(name) => found.exported_function(name).is_some(),
        Marker::Section(name) => found.sections.iter().any(|section| section.name == name),
    }
}

/// The table's row that an import is, which may stand in the table under a newer module name.
pub(crate) fn known(world: World, import: &Import) -> Option<&'static Func> {
    let surface = world.surface();
    let module = surface.module(&import.module);
    let Extern::Func(ty) = &import.ty else { return None };
    surface.functions().find(|func| func.module == module && func.name == import.name && ty.is(&func.sig))
}

/// Whether the host brings the memory that is imported: world `filter` alone does.
pub(crate) fn host_memory(world: World, import: &Import) -> bool {
    world.surface().memory == Some((import.module.as_str(), import.name.as_str()))
        && matches!(import.ty, Extern::Memory(_))
}

fn judge_import(world: World, import: &Import, suggest: bool) -> Result<(), Rejection> {
    if known(world, import).is_some() || host_memory(world, import) {
        return Ok(());
    }
    let surface = world.surface();
    let module = surface.module(&import.module);
    let item = format!("{}.{}", import.module, import.name);
    let same_name: Vec<&Func> =
        surface.functions().filter(|func| func.module == module && func.name == import.name).collect();
    if !same_name.is_empty() {
        return Err(Rejection::new(Kind::ImportType, item)
            .in_world(world)
            .expected(alternatives(&same_name))
            .found(import.ty.to_string()));
    }
    let unknown = Rejection::new(Kind::UnknownImport, item).in_world(world).found(import.ty.to_string());
    if !suggest {
        return Err(unknown);
    }
    let names = || surface.functions().filter(|func| func.module == module).map(|func| func.name);
    let hint = if let Some(hint) = left_by_a_compiler(world, import) {
        hint
    } else if names().next().is_some() {
        did_you_mean(&import.name, unique(names()))
    } else {
        format!("no module \"{}\" in world {world}; {}", import.module, did_you_mean(&import.module, modules(world)))
    };
    Err(unknown.hint(hint))
}

/// What to do about an import that nobody wrote: a compiler's own run time has it.
fn left_by_a_compiler(world: World, import: &Import) -> Option<String> {
    let wasi = |module: &str| module == skep_abi::wasi::MODULE;
    if wasi(&import.module) && !modules(world).into_iter().any(wasi) {
        return Some(format!(
            "world {world} has no WASI: build for a target without it (in Rust wasm32-unknown-unknown, in C \
             --target=wasm32 -nostdlib; Go's run time needs WASI)"
        ));
    }
    if assembly_script(import) {
        return Some(
            "AssemblyScript calls it where a check fails: compile with --use abort= and --runtime stub".into(),
        );
    }
    let emscripten = import.name.starts_with("emscripten_") || import.name == "setTempRet0";
    emscripten.then(|| "Emscripten's JavaScript has it: build with clang --target=wasm32 -nostdlib".into())
}

/// AssemblyScript's `abort`, as its compiler declares it.
fn assembly_script(import: &Import) -> bool {
    let i32s = |ty: &FuncType| ty.params.len() == 4 && ty.params.iter().all(|ty| *ty == Ty::Number(ValType::I32));
    import.module == "env" && import.name == "abort" && matches!(&import.ty, Extern::Func(ty) if i32s(ty))
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

fn modules(world: World) -> Vec<&'static str> {
    unique(world.surface().functions().map(|func| func.module))
}

fn alternatives(funcs: &[&Func]) -> String {
    funcs.iter().map(|func| func.sig.to_string()).collect::<Vec<_>>().join(" or ")
}

fn exports(found: &Inspection, world: World, form: &Form, reasons: &mut Vec<Rejection>) {
    let brought = found.imports.iter().any(|import| host_memory(world, import));
    if form.memory && !brought {
        match found.export(MEMORY).map(|export| &export.ty) {
            Some(Extern::Memory(_)) => {}
            Some(other) => reasons.push(
                Rejection::new(Kind::ExportType, MEMORY).in_world(world).expected("a memory").found(other.to_string()),
            ),
            None => reasons.push(Rejection::new(Kind::MissingExport, MEMORY).in_world(world).expected("a memory")),
        }
    }
    for name in unique(form.required.iter().map(|func| func.name)) {
        if found.export(name).is_none() {
            let names = found.exports.iter().take(LOOKED_AT).map(|export| export.name.as_str());
            let known = form.required.iter().chain(form.optional).map(|func| func.name);
            let near = skep_error::nearest(name, names.filter(|name| !known.clone().any(|known| known == *name)));
            let mut reason = Rejection::new(Kind::MissingExport, name)
                .in_world(world)
                .expected(alternatives(&of_name(form.required, name)));
            if let Some(near) = near {
                reason = reason.hint(format!("\"{near}\" is exported: is it meant?"));
            }
            reasons.push(reason);
        }
    }
    for name in unique(form.required.iter().chain(form.optional).map(|func| func.name)) {
        let rows: Vec<&Func> = form.required.iter().chain(form.optional).filter(|func| func.name == name).collect();
        let Some(export) = found.export(name) else { continue };
        let fits = |ty: &FuncType| rows.iter().any(|row| ty.is(&row.sig));
        if !matches!(&export.ty, Extern::Func(ty) if fits(ty)) {
            reasons.push(
                Rejection::new(Kind::ExportType, name)
                    .in_world(world)
                    .expected(alternatives(&rows))
                    .found(export.ty.to_string()),
            );
        }
    }
    globals(found, world, form, reasons);
}

fn of_name<'a>(funcs: &'a [Func], name: &str) -> Vec<&'a Func> {
    funcs.iter().filter(|func| func.name == name).collect()
}

fn globals(found: &Inspection, world: World, form: &Form, reasons: &mut Vec<Rejection>) {
    for name in form.globals {
        let reason = match found.export(name).map(|export| &export.ty) {
            Some(Extern::Global(Ty::Number(ValType::I32))) => continue,
            Some(other) => Rejection::new(Kind::ExportType, *name).found(other.to_string()),
            None => Rejection::new(Kind::MissingExport, *name),
        };
        reasons.push(reason.in_world(world).expected("a global of type i32"));
    }
}

/// Why a module is of no world: what each world is told by.
fn none(found: &Inspection) -> Rejection {
    let marks = |world: &World| {
        let text = |marker: &Marker| match *marker {
            Marker::ImportModule(module) => format!("an import of \"{module}\""),
            Marker::Import(module, name) => format!("the import {module}.{name}"),
            Marker::Export(name) => format!("the export {name}"),
            Marker::Section(name) => format!("the section {name}"),
        };
        let first = world.surface().forms.iter().filter_map(|form| form.markers.first()).map(text);
        format!("{world}: {}", first.collect::<Vec<_>>().join(" or "))
    };
    let expected = World::ALL.iter().map(marks).collect::<Vec<_>>().join("; ");
    let mut reason = Rejection::new(Kind::NoWorld, "").expected(expected).found(offers(found));
    if let Some(hint) = foreign(found).or_else(|| near_world(found)).or_else(|| elsewhere(found)) {
        reason = reason.hint(hint);
    }
    reason
}

/// What other hosts' modules are told by: the start of an import's module, of its name, or of an export.
const FOREIGN: &[(Start, &str)] = &[
    (Start::Module("extism:host/"), "a plugin for Extism"),
    (Start::Export("proxy_abi_version_"), "a filter for proxies (proxy-wasm)"),
    (Start::Module("wapc"), "a module for waPC"),
    (Start::Module("wasi:"), "a module for the component model"),
    (Start::Export("wasi:"), "a module for the component model"),
    (Start::Module("__wbindgen"), "a module for JavaScript (wasm-bindgen)"),
    (Start::Import("__wbindgen_"), "a module for JavaScript (wasm-bindgen)"),
    (Start::Import("__wbg_"), "a module for JavaScript (wasm-bindgen)"),
    (Start::Module("gojs"), "a module that Go built for JavaScript (GOOS=js)"),
    (Start::Module("javy"), "JavaScript that Javy compiled"),
    (Start::Import("emscripten_"), "a module for JavaScript (Emscripten)"),
    (Start::Import("_embind_"), "a module for JavaScript (Emscripten)"),
    (Start::Module("GOT."), "a module for JavaScript (Emscripten)"),
    (Start::Module("wasi_unstable"), "a module for WASI before preview 1"),
];

enum Start {
    Module(&'static str),
    Import(&'static str),
    Export(&'static str),
}

/// Whose module it is, if another host is meant to run it.
fn of_another_host(found: &Inspection) -> Option<&'static str> {
    let bears = |start: &Start| match start {
        Start::Module(start) => found.imports.iter().any(|import| import.module.starts_with(start)),
        Start::Import(start) => found.imports.iter().any(|import| import.name.starts_with(start)),
        Start::Export(start) => found.exports.iter().any(|export| export.name.starts_with(start)),
    };
    if let Some((_, whose)) = FOREIGN.iter().find(|(start, _)| bears(start)) {
        return Some(whose);
    }
    if found.imports.iter().any(assembly_script) {
        return Some("a module for JavaScript (AssemblyScript)");
    }
    let shortened = |import: &Import| import.module.len() == 1 && import.name.len() <= 2;
    (!found.imports.is_empty() && found.imports.iter().all(shortened))
        .then_some("a module for JavaScript, whose names are shortened (as Emscripten does)")
}

/// A module that another host is meant to run, or none at all.
fn foreign(found: &Inspection) -> Option<String> {
    if let Some(whose) = of_another_host(found) {
        return Some(format!("it is {whose}, which Skep does not run: build it with an SDK of one of the worlds"));
    }
    // The public origin of world hooks, and whoever has taken it over, keep to its names under a prefix of their own.
    let prefix = |name: &'_ str| {
        Some(name.strip_suffix(".plugin.v1").or(name.split_once(".schema.").map(|(p, _)| p))?.to_owned())
    };
    if let Some(prefix) = found.sections.iter().find_map(|section| prefix(&section.name)) {
        return Some(format!("it is a plugin for the host \"{prefix}\": build it with Skep's SDK of world hooks"));
    }
    let wasi_alone = found.imports.iter().all(|import| import.module == skep_abi::wasi::MODULE);
    (wasi_alone && found.exported_function("_start").is_some())
        .then(|| "it is a WASI command that loads no eBPF: `skep run` runs it where no policy is given".to_owned())
}

/// What a module of no world would be told by, were it of that one.
fn lacks(world: World) -> String {
    let export = |marker: &Marker| match marker {
        Marker::Export(name) => Some(*name),
        _ => None,
    };
    let markers = world.surface().forms.iter().flat_map(|form| form.markers);
    format!("it exports none of {}", markers.filter_map(export).collect::<Vec<_>>().join(", "))
}

/// A function of some world that is imported, from the module it belongs to or from another.
fn elsewhere(found: &Inspection) -> Option<String> {
    let of = |import: &Import| {
        ORDER.iter().find_map(|world| {
            let named = |func: &&Func| func.name == import.name && func.module != skep_abi::wasi::MODULE;
            let func = world.surface().functions().find(named)?;
            let (module, name) = (&import.module, &import.name);
            (func.name.len() > 4).then(|| match func.module == module {
                true => format!("{module}.{name} is imported, as modules of world {world} do, but {}", lacks(*world)),
                false => format!(
                    "{module}.{name} is imported, and world {world} has it in \"{}\": it was built for an older or \
                     another host",
                    func.module
                ),
            })
        })
    };
    found.imports.iter().take(LOOKED_AT).find_map(of)
}

fn offers(found: &Inspection) -> String {
    let modules = unique(found.imports.iter().take(LOOKED_AT).map(|import| import.module.as_str()));
    let exports: Vec<&str> = found.exports.iter().map(|export| export.name.as_str()).take(8).collect();
    let list = |names: &[&str]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    format!(
        "imports from {}; exports {}{}",
        list(&modules[..modules.len().min(8)]),
        list(&exports),
        if found.exports.len() > 8 { ", …" } else { "" }
    )
}

/// A module that only just misses a world: a misspelt module or export.
fn near_world(found: &Inspection) -> Option<String> {
    for world in ORDER {
        for import in found.imports.iter().take(LOOKED_AT) {
            if let Some(near) = skep_error::nearest(&import.module, modules(world)) {
                // WASI alone makes no world.
                if near != skep_abi::wasi::MODULE && near != import.module {
                    return Some(format!(
                        "\"{}\" is imported from: is \"{near}\" of world {world} meant?",
                        import.module
                    ));
                }
            }
        }
        for export in found.exports.iter().take(LOOKED_AT) {
            // Short names are near to many; the one that was meant has the type that is called.
            let Extern::Func(ty) = &export.ty else { continue };
            let functions = || world.surface().forms.iter().flat_map(|form| form.required.iter().chain(form.optional));
            let typed = |name: &str| functions().any(|func| func.name == name && ty.is(&func.sig));
            let marks = world.surface().forms.iter().flat_map(|form| form.markers).filter_map(|marker| match marker {
                Marker::Export(name) if typed(name) => Some(*name),
                _ => None,
            });
            let known = world.surface().forms.iter().any(|form| form.required.iter().any(|f| f.name == export.name));
            if known {
                continue;
            }
            if let Some(near) = skep_error::nearest(&export.name, marks).filter(|near| *near != export.name) {
                return Some(format!("\"{}\" is exported: is \"{near}\" of world {world} meant?", export.name));
            }
        }
    }
    None
}
