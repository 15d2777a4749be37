//! Source lines from a module's DWARF: the rows of `.debug_line`, by offset in the module.
//!
//! DWARF in WebAssembly counts addresses from the start of the code section's contents. Line programs are read one
//! after another from their own section, without the units that refer to them, so that the cost is linear whatever
//! the other sections say.

use std::{collections::HashMap, ops::Range, rc::Rc};

use gimli::{
    AttributeValue, DebugLine, DebugLineOffset, DebugLineStr, DebugStr, EndianSlice, LineProgramHeader, LittleEndian,
};
use wasmparser::{Parser, Payload};

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The file, as the debug information names it.
    pub(crate) file: Rc<str>,
    /// From 1 on.
    pub(crate) line: u32,
}

/// The lines of a module; empty without debug information.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Where each row starts in the module's bytes; none ends a sequence.
    rows: Vec<(u32, Option<Line>)>,
}

/// The sections that lines are in, and where addresses count from.
#[derive(Default)]
struct Sections<'a> {
    line: &'a [u8],
    line_str: &'a [u8],
    str: &'a [u8],
    code: u32,
}

impl<'a> Sections<'a> {
    fn find(wasm: &'a [u8]) -> Self {
        let mut sections = Self::default();
        for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
            match payload {
                Payload::CodeSectionStart { unchecked_range, .. } => sections.code = unchecked_range.start as u32,
                Payload::CustomSection(section) => match section.name() {
                    ".debug_line" => sections.line = section.data(),
                    ".debug_line_str" => sections.line_str = section.data(),
                    ".debug_str" => sections.str = section.data(),
                    _ => {}
                },
                _ => {}
            }
        }
        sections
    }
}

impl Lines {
    /// Reads what can be read; malformed debug information is no fault of the program.
    /// `wasm` is one module or several; `parts` are their ranges.
    pub(crate) fn new(wasm: &[u8], parts: impl Iterator<Item = Range<usize>>) -> Self {
        let mut lines = Self::default();
        for part in parts {
            lines.module(wasm.get(part.clone()).unwrap_or_default(), part.start as u32);
        }
        // Sequences may come in any order; where two rows are at one place, the last written holds.
        lines.rows.sort_by_key(|row| row.0);
        lines
    }

    fn module(&mut self, wasm: &[u8], start: u32) {
        let mut sections = Sections::find(wasm);
        sections.code = sections.code.saturating_add(start);
        let debug_line = DebugLine::new(sections.line, LittleEndian);
        let mut at = 0;
        while at < sections.line.len() {
            let Ok(program) = debug_line.program(DebugLineOffset(at), 4, None, None) else { break };
            // The length does not count itself: 4 bytes in the 32-bit format, which is WebAssembly's.
            let Some(next) = at.checked_add(program.header().unit_length() + 4) else { break };
            at = next;
            self.program(&sections, program);
        }
    }

    fn program(&mut self, sections: &Sections<'_>, program: gimli::IncompleteLineProgram<Slice<'_>>) {
        let mut files: HashMap<u64, Rc<str>> = HashMap::new();
        let mut rows = program.rows();
        while let Ok(Some((header, row))) = rows.next_row() {
            let Some(at) = u32::try_from(row.address()).ok().and_then(|at| at.checked_add(sections.code)) else {
                continue;
            };
            let line = row.line().filter(|_| !row.end_sequence()).map(|line| Line {
                file: files.entry(row.file_index()).or_insert_with(|| file(sections, header, row.file_index())).clone(),
                line: line.get() as u32,
            });
            self.rows.push((at, line));
        }
    }

    /// The line that the instruction at that offset was made for.
    pub(crate) fn at(&self, offset: u32) -> Option<&Line> {
        let after = self.rows.partition_point(|row| row.0 <= offset);
        self.rows[..after].last()?.1.as_ref()
    }
}

fn file(sections: &Sections<'_>, header: &LineProgramHeader<Slice<'_>>, index: u64) -> Rc<str> {
    let text = |value: AttributeValue<Slice<'_>>| -> Option<String> {
        let slice = match value {
            AttributeValue::String(text) => text,
            AttributeValue::DebugLineStrRef(at) => DebugLineStr::from(slice(sections.line_str)).get_str(at).ok()?,
            AttributeValue::DebugStrRef(at) => DebugStr::from(slice(sections.str)).get_str(at).ok()?,
            _ => return None,
        };
        Some(slice.to_string_lossy().into_owned())
    };
    let file = header.file(index);
    let name = file.and_then(|file| text(file.path_name())).unwrap_or_else(|| "?".to_owned());
    // Directory 0 is the compilation's own, which says nothing about where the source is now.
    let directory = file.filter(|file| file.directory_index() != 0).and_then(|file| text(file.directory(header)?));
    match directory {
        Some(directory) if !name.starts_with('/') => format!("{directory}/{name}").into(),
        _ => name.into(),
    }
}

fn slice(bytes: &[u8]) -> Slice<'_> {
    EndianSlice::new(bytes, LittleEndian)
}
