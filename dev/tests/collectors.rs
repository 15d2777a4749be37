//! What is committed beside its source is what the source says: the collectors' objects and the filters of `examples/filters`. Bytes differ
//! from one compiler to the next; names, sizes and types do not.

use std::{collections::BTreeMap, path::Path, process::Command};

use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
use skep_dev::{Tool, bpf, surface::Surface, workspace};

/// The sections of an object that are programs or maps, and its functions and maps with the sizes that no compiler chooses.
fn shape(object: &Path) -> (Vec<String>, BTreeMap<String, u64>) {
    let bytes = std::fs::read(object).unwrap();
    let file = object::File::parse(bytes.as_slice()).unwrap();
    let mut sections: Vec<String> = file
        .sections()
        .map(|section| section.name().unwrap_or_default().to_owned())
        .filter(|name| ["raw_tp", "tp_btf", "perf_event", ".maps", "license"].iter().any(|kind| name.starts_with(kind)))
        .collect();
    sections.sort();
    let symbols = file
        .symbols()
        .filter(|symbol| symbol.is_global())
        .map(|symbol| {
            let size = if symbol.kind() == SymbolKind::Text { 0 } else { symbol.size() };
            (symbol.name().unwrap_or_default().to_owned(), size)
        })
        .collect();
    (sections, symbols)
}

#[test]
fn collectors_are_built_from_their_sources() {
    if Tool::CLANG.find().is_err() {
        println!("left out: clang is not installed");
        return;
    }
    let gadgets = workspace().join("gadgets");
    let temporary = tempfile::tempdir().unwrap();
    for name in ["profile_cpu", "trace_lock", "trace_syscall", "profile_offcpu"] {
        let rebuilt = temporary.path().join(name).join("program.bpf.o");
        bpf::compile(&gadgets.join(name).join("program.bpf.c"), &rebuilt, &[gadgets.join("include")]).unwrap();
        assert_eq!(shape(&rebuilt), shape(&gadgets.join(name).join("program.bpf.o")), "{name}");
    }
}

#[test]
fn filters_are_built_from_their_sources() {
    let Ok(clang) = Tool::CLANG.find() else {
        println!("left out: clang is not installed");
        return;
    };
    let temporary = tempfile::tempdir().unwrap();
    for name in ["slow", "failed"] {
        let source = workspace().join(format!("examples/filters/{name}.c"));
        let rebuilt = temporary.path().join(format!("{name}.wasm"));
        let mut command = Command::new(&clang);
        command.args(["--target=wasm32", "-O2", "-nostdlib", "-ffreestanding", "-Wl,--no-entry", "-Wl,--strip-all"]);
        command.args(["-Wl,--allow-undefined", "-Wl,-z,stack-size=8192", "-o"]).arg(&rebuilt).arg(&source);
        let output = command.output().unwrap();
        if !output.status.success() {
            println!("left out: this clang cannot build for wasm32: {}", String::from_utf8_lossy(&output.stderr));
            return;
        }
        let surface = |path: &Path| Surface::of(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(surface(&rebuilt), surface(&source.with_extension("wasm")), "{name}");
    }
}
