//! Goldens: what each stage prints for small modules. `BLESS=1 cargo test -p wasm2bpf` writes them anew.

use std::{fs, path::Path};

use wasm2bpf::{Isa, Options, Target, compile};

fn check(name: &str, options: &Options) {
    check_as(name, name, options);
}

/// Compiles `module`.wat and compares with `name`.txt.
fn check_as(module: &str, name: &str, options: &Options) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let module = wat::parse_file(dir.join(format!("{module}.wat"))).unwrap();
    let object = compile(&module, options).unwrap();
    let stages = wasm2bpf::stages(&module, options).unwrap();
    assert!(object.ir().iter().all(|function| stages.contains(function)), "{name}: the IR is that of the last stage");
    let printed = format!("{stages}== code\n{}\n{}", object.listing(&module), object.report);
    let golden = dir.join(format!("{name}.txt"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(&golden, &printed).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    assert!(printed == expected, "{name} differs from its golden; BLESS=1 writes it anew:\n{printed}");
}

#[test]
fn a_loop_over_memory() {
    check("sum", &Options::default());
}

#[test]
fn calls_traps_and_tables() {
    check("calls", &Options::default());
}

#[test]
fn recursion_is_merged() {
    check("recursion", &Options::default());
}

#[test]
fn the_older_instruction_set() {
    check("division", &Options { isa: Isa::V3, ..Options::default() });
}

#[test]
fn an_array_instead_of_an_arena() {
    let options = Options { target: Target::Array, isa: Isa::V3, shadow_stack: 16 << 10, ..Options::default() };
    check_as("sum", "sum-array", &options);
    check_as("recursion", "recursion-array", &options);
}
