//! How much of anything a module may have.
//!
//! A list that costs a hundred bytes an item can be made of three bytes an item, so that without these limits memory
//! would be a large multiple of the input. Real modules stay far below: the largest known have about a hundred imports,
//! some thousand exports and some hundred types of functions.

use wasmparser::{CompositeInnerType, Encoding, Payload, RecGroup, SubType, TypeSectionReader};

use crate::{
    Rejection, RejectionKind as Kind,
    inspect::{broken, items},
};

macro_rules! limits {
    ($($name:ident: $ty:ty = $value:expr, $about:literal;)*) => {
        $(#[doc = $about] pub const $name: $ty = $value;)*

        /// Every limit and what it bounds, for the documentation.
        pub const LIMITS: &[(u64, &str)] = &[$(($value as u64, $about),)*];
    };
}

limits! {
    MAX_MODULE: u64 = 256 << 20, "Bytes of a module's file";
    MAX_IMPORTS: u32 = 2_000, "Imports";
    MAX_EXPORTS: u32 = 10_000, "Exports";
    MAX_NAMES: usize = 1 << 20, "Bytes of all imports' names, of all exports', and of all custom sections'";
    MAX_TYPES: u32 = 5_000, "Types";
    MAX_TYPE_VALUES: usize = 50_000, "Parameters, results and fields of all types";
    MAX_GLOBALS: u32 = 50_000, "Global variables";
    MAX_TAGS: u32 = 1_000, "Exceptions' tags";
    MAX_SECTIONS: usize = 1_000, "Custom sections";
    MAX_METADATA: usize = 64 << 10, "Bytes of a plugin's description";
    MAX_DEPTH: usize = 16, "Levels of objects and arrays in a description; what is read of it has four";
    MAX_DECLARED: usize = 64, "Hooks, and capabilities, that a description names";
}

/// Counts that a few bytes can claim are checked before a list is made of them.
pub(crate) fn bounded(bytes: &[u8], payload: &Payload<'_>) -> Result<(), Rejection> {
    let (what, count, limit) = match payload {
        Payload::TypeSection(section) => ("types", section.count(), MAX_TYPES),
        Payload::ImportSection(section) => ("imports", section.count(), MAX_IMPORTS),
        Payload::ExportSection(section) => ("exports", section.count(), MAX_EXPORTS),
        Payload::GlobalSection(section) => ("globals", section.count(), MAX_GLOBALS),
        Payload::TagSection(section) => ("tags", section.count(), MAX_TAGS),
        Payload::Version { encoding: Encoding::Component, .. } => return Err(Rejection::new(Kind::Component, "")),
        _ => return Ok(()),
    };
    if count > limit {
        return Err(too_many(what, limit as usize, &count.to_string()));
    }
    match payload {
        Payload::TypeSection(section) => types(bytes, section),
        Payload::ImportSection(section) => {
            // One item of the section may be many imports, in the compact encoding.
            let mut count = 0;
            let lengths = section.clone().into_imports().map(|import| {
                let import = import.map_err(broken)?;
                count += 1;
                if count > MAX_IMPORTS {
                    return Err(too_many("imports", MAX_IMPORTS as usize, "more"));
                }
                Ok(import.module.len() + import.name.len())
            });
            names("bytes of imports' names", lengths)
        }
        Payload::ExportSection(section) => {
            let lengths = section.clone().into_iter().map(|export| Ok(export.map_err(broken)?.name.len()));
            names("bytes of exports' names", lengths)
        }
        _ => Ok(()),
    }
}

/// One item of the section may be a group of many types, all of which are read at once.
fn types(bytes: &[u8], section: &TypeSectionReader<'_>) -> Result<(), Rejection> {
    const GROUP: u8 = 0x4e;
    let Some(mut reader) = items(bytes, section) else { return Ok(()) };
    let (mut count, mut values): (u32, usize) = (0, 0);
    for _ in 0..section.count() {
        let mut ahead = reader.clone();
        let of = match ahead.read_u8().map_err(broken)? {
            GROUP => ahead.read_var_u32().map_err(broken)?,
            _ => 1,
        };
        count = count.saturating_add(of);
        if count > MAX_TYPES {
            return Err(too_many("types", MAX_TYPES as usize, "more"));
        }
        values += reader.read::<RecGroup>().map_err(broken)?.types().map(type_values).sum::<usize>();
        if values > MAX_TYPE_VALUES {
            return Err(too_many("parameters, results and fields of types", MAX_TYPE_VALUES, "more"));
        }
    }
    Ok(())
}

fn type_values(ty: &SubType) -> usize {
    match &ty.composite_type.inner {
        CompositeInnerType::Func(func) => func.params().len() + func.results().len(),
        CompositeInnerType::Struct(fields) => fields.fields.len(),
        CompositeInnerType::Array(_) | CompositeInnerType::Cont(_) => 1,
    }
}

/// One name may be long, as those of C++ are; all of them together are copied several times.
fn names(what: &str, mut lengths: impl Iterator<Item = Result<usize, Rejection>>) -> Result<(), Rejection> {
    let sum = lengths.try_fold(0, |sum, length| Ok::<usize, Rejection>(sum + length?))?;
    if sum > MAX_NAMES { Err(too_many(what, MAX_NAMES, &sum.to_string())) } else { Ok(()) }
}

/// Whether there may be one more custom section, whose name and those before it have so many bytes.
pub(crate) fn section(seen: usize, name_bytes: usize) -> Result<(), Rejection> {
    if seen >= MAX_SECTIONS {
        return Err(too_many("custom sections", MAX_SECTIONS, "more"));
    }
    names("bytes of custom sections' names", std::iter::once(Ok(name_bytes)))
}

/// Whether a description may name so many of something.
pub(crate) fn declared(what: &str, count: usize) -> Result<(), Rejection> {
    if count <= MAX_DECLARED { Ok(()) } else { Err(too_many(what, MAX_DECLARED, &count.to_string())) }
}

fn too_many(what: &str, limit: usize, found: &str) -> Rejection {
    Rejection::new(Kind::TooManyItems, what).expected(format!("at most {limit}")).found(found)
}
