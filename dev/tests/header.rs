//! The C header declares what the table of the world says: one fact stands once, and this test holds the copy to it.

use std::{collections::BTreeSet, fs};

use skep_abi::program;

/// `(module, name)` of every `SKEP_IMPORT` in a header under `guest/c/skep`.
fn declared(header: &str) -> BTreeSet<(String, String)> {
    let path = skep_dev::workspace().join("guest/c/skep").join(header);
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("SKEP_IMPORT("))
        .map(|line| {
            let names: Vec<&str> =
                line.trim_end_matches(')').split(',').map(|name| name.trim().trim_matches('"')).collect();
            (names[0].to_owned(), names[1].to_owned())
        })
        .collect()
}

fn table(functions: &[skep_abi::Func]) -> BTreeSet<(String, String)> {
    functions.iter().map(|function| (function.module.to_owned(), function.name.to_owned())).collect()
}

#[test]
fn the_c_header_declares_the_functions_of_the_world() {
    assert_eq!(declared("imports.h"), table(program::IMPORTS));
}

#[test]
fn the_c_header_declares_the_functions_for_shared_maps() {
    assert_eq!(declared("shared.h"), table(program::SHARED_IMPORTS));
}
