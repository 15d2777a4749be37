//! How much of anything a module may have.
//!
//! A list that costs a hundred bytes an item can be made of three bytes an item, so that without these limits memory
//! would be a large multiple of the input. Real modules stay far below: the largest known have about a hundred imports
//! and some thousand exports.

use wasmparser::{Encoding, Payload};

use crate::{Rejection, RejectionKind as Kind, inspect::broken};

/// Imports a module may have.
pub const MAX_IMPORTS: u32 = 2_000;
/// Exports a module may have.
pub const MAX_EXPORTS: u32 = 10_000;
/// Types a module may have.
pub const MAX_TYPES: u32 = 50_000;
/// Global variables a module may define.
pub const MAX_GLOBALS: u32 = 50_000;
/// Exceptions' tags a module may define.
pub const MAX_TAGS: u32 = 1_000;
/// Custom sections a module may have.
pub const MAX_SECTIONS: usize = 1_000;
/// Bytes that the names of all imports may have, and those of all exports.
pub const MAX_NAMES: usize = 1 << 20;
/// Hooks, and capabilities, that a plugin's description may name.
pub const MAX_DECLARED: usize = 64;

/// Counts that a few bytes can claim are checked before a list is made of them.
pub(crate) fn bounded(payload: &Payload<'_>) -> Result<(), Rejection> {
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
        Payload::ImportSection(section) => {
            let lengths = section.clone().into_imports().map(|import| {
                let import = import.map_err(broken)?;
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

/// One name may be long, as those of C++ are; all of them together are copied several times.
fn names(what: &str, mut lengths: impl Iterator<Item = Result<usize, Rejection>>) -> Result<(), Rejection> {
    let sum = lengths.try_fold(0, |sum, length| Ok::<usize, Rejection>(sum + length?))?;
    if sum > MAX_NAMES { Err(too_many(what, MAX_NAMES, &sum.to_string())) } else { Ok(()) }
}

/// Whether there may be one more custom section.
pub(crate) fn section(seen: usize) -> Result<(), Rejection> {
    if seen < MAX_SECTIONS { Ok(()) } else { Err(too_many("custom sections", MAX_SECTIONS, "more")) }
}

/// Whether a description may name so many of something.
pub(crate) fn declared(what: &str, count: usize) -> Result<(), Rejection> {
    if count <= MAX_DECLARED { Ok(()) } else { Err(too_many(what, MAX_DECLARED, &count.to_string())) }
}

fn too_many(what: &str, limit: usize, found: &str) -> Rejection {
    Rejection::new(Kind::TooManyItems, what).expected(format!("at most {limit}")).found(found)
}
