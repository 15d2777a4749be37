//! The C header of world `hooks` says the same as the tables here.

use skep_abi::{
    hooks::wire::{FILTER_V1, OBSERVE_V1, SHAPE_V1},
    operator::FieldKind,
};

const HEADER: &str = include_str!("../../../guest/c/skep_plugin.h");

#[test]
fn the_fingerprints_of_the_c_header_are_those_of_the_layouts() {
    for (name, fingerprint) in [
        ("SKEP_SCHEMA_FILTER_V1", FILTER_V1),
        ("SKEP_SCHEMA_SHAPE_V1", SHAPE_V1),
        ("SKEP_SCHEMA_OBSERVE_V1", OBSERVE_V1),
    ] {
        let octal: String = fingerprint.iter().map(|byte| format!("\\\\{byte:03o}")).collect();
        let line = format!("#define {name} \"{octal}\"");
        assert!(HEADER.contains(&line), "the header needs the line\n{line}");
    }
}

#[test]
fn the_kinds_of_the_c_header_are_in_the_order_of_their_numbers() {
    let list = HEADER.split("enum skep_kind {").nth(1).unwrap().split('}').next().unwrap();
    let names: Vec<&str> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    assert_eq!(names[0], "SKEP_BOOL = 1");
    for (number, name) in (2..).zip(&names[1..]) {
        let kind = format!("{:?}", FieldKind::from_raw(number).unwrap()).to_uppercase();
        assert_eq!(*name, format!("SKEP_{kind}"));
    }
}
