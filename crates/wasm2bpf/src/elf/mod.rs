//! Finished code → an ELF object that libbpf opens and its static linker takes.

mod btf;

use std::collections::HashMap;

use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Relocation, Symbol, SymbolId, SymbolSection},
};

use crate::{
    emit::{STEP, assemble::Code, insn::Target},
    mnemonic,
    module::Ty,
    source::Lines,
};

const R_BPF_64_64: u32 = 1;
const R_BPF_64_32: u32 = 10;
const BPF_MAP_TYPE_ARENA: u32 = 33;
const BPF_F_MMAPABLE: u32 = 1 << 10;

/// A function with its symbol.
pub(crate) struct Linked<'a> {
    pub(crate) index: u32,
    pub(crate) symbol: String,
    pub(crate) params: Vec<Ty>,
    pub(crate) code: &'a Code,
}

/// A function of another object: by the import's index, its symbol and parameters.
pub(crate) struct External {
    pub(crate) index: u32,
    pub(crate) symbol: String,
    pub(crate) params: Vec<Ty>,
}

/// What instances live in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Memory {
    /// An arena of so many pages of 4 KiB.
    Arena { pages: u32 },
    /// An array of so many bytes, in a section of its own: programs that are linked with it have variables in `.bss`.
    Array { bytes: u64 },
}

/// Where lines come from.
pub(crate) struct Source<'a> {
    pub(crate) lines: &'a Lines,
    pub(crate) wasm: &'a [u8],
}

/// Writes the object: the functions in `.text`, the entries in `syscall`, the arena or array.
pub(crate) fn write(
    functions: &[Linked<'_>],
    externals: &[External],
    entries: &[(&str, Code)],
    memory: Memory,
    source: &Source<'_>,
) -> Result<Vec<u8>, String> {
    let mut elf = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let section = |elf: &mut Object<'_>, name: &str, kind| elf.add_section(Vec::new(), name.into(), kind);
    let text = section(&mut elf, ".text", SectionKind::Text);
    let syscall = section(&mut elf, "syscall", SectionKind::Text);
    let license = section(&mut elf, "license", SectionKind::Data);
    elf.append_section_data(license, b"Dual MIT/GPL\0", 1);

    let mut btf = btf::Btf::new();
    let symbol = |elf: &mut Object<'_>, name: &str, value, size, kind, section| {
        elf.add_symbol(Symbol {
            name: name.into(),
            value,
            size,
            kind,
            scope: SymbolScope::Dynamic,
            weak: false,
            section,
            flags: SymbolFlags::None,
        })
    };
    symbol(&mut elf, "_license", 0, 13, SymbolKind::Data, SymbolSection::Section(license));
    let place = match memory {
        Memory::Arena { .. } => {
            let maps = section(&mut elf, ".maps", SectionKind::Data);
            elf.append_section_data(maps, &[0; 24], 8);
            symbol(&mut elf, "arena", 0, 24, SymbolKind::Data, SymbolSection::Section(maps))
        }
        Memory::Array { bytes } => {
            let bss = section(&mut elf, ARRAY_SECTION, SectionKind::UninitializedData);
            elf.append_section_bss(bss, bytes, 4096);
            symbol(&mut elf, ARRAY, 0, bytes, SymbolKind::Data, SymbolSection::Section(bss))
        }
    };
    let places = Places { memory: place, text: elf.section_symbol(text) };
    let mut symbols: HashMap<u32, SymbolId> = HashMap::new();
    let mut offsets: HashMap<u32, u64> = HashMap::new();
    let mut text_info = Vec::new();
    let mut at = 0u64;
    for function in functions {
        let size = function.code.bytes.len() as u64;
        offsets.insert(function.index, at);
        if function.index & STEP != 0 {
            let (name, scope) = (function.symbol.as_bytes().into(), SymbolScope::Compilation);
            let (kind, section) = (SymbolKind::Text, SymbolSection::Section(text));
            elf.add_symbol(Symbol {
                name,
                value: at,
                size,
                kind,
                scope,
                weak: false,
                section,
                flags: SymbolFlags::None,
            });
            text_info.push((at as u32, btf.callback(&function.symbol)));
        } else {
            let id = symbol(&mut elf, &function.symbol, at, size, SymbolKind::Text, SymbolSection::Section(text));
            symbols.insert(function.index, id);
            text_info.push((at as u32, btf.function(&function.symbol, &function.params, btf::GLOBAL)));
        }
        at += size;
    }
    for external in externals {
        let id = symbol(&mut elf, &external.symbol, 0, 0, SymbolKind::Unknown, SymbolSection::Undefined);
        symbols.insert(external.index, id);
        btf.function(&external.symbol, &external.params, btf::EXTERN);
    }
    let (mut entry_info, mut at) = (Vec::new(), 0);
    for (name, code) in entries {
        let size = code.bytes.len() as u64;
        symbol(&mut elf, name, at, size, SymbolKind::Text, SymbolSection::Section(syscall));
        entry_info.push((at as u32, btf.entry(name)));
        at += size;
    }
    match memory {
        Memory::Arena { pages } => {
            btf.arena(BPF_MAP_TYPE_ARENA, BPF_F_MMAPABLE, pages);
        }
        Memory::Array { bytes } => btf.array(ARRAY, ARRAY_SECTION, bytes as u32),
    }

    for function in functions {
        let at = offsets[&function.index];
        let mut bytes = function.code.bytes.clone();
        relocate(&mut elf, text, at, function.code, &mut bytes, &symbols, places, Some(&offsets))?;
        elf.append_section_data(text, &bytes, 8);
    }
    let mut at = 0;
    for (_, code) in entries {
        let mut bytes = code.bytes.clone();
        relocate(&mut elf, syscall, at, code, &mut bytes, &symbols, places, None)?;
        elf.append_section_data(syscall, &bytes, 8);
        at += code.bytes.len() as u64;
    }

    let text_lines = text_lines(functions, &offsets, source, &mut btf);
    let entry_lines = entry_lines(entries, &mut btf);
    let (text_name, syscall_name) = (btf.string(".text"), btf.string("syscall"));
    let extension = btf::extension(&[
        btf::Section { name: text_name, functions: text_info, lines: text_lines },
        btf::Section { name: syscall_name, functions: entry_info, lines: entry_lines },
    ]);
    let types = section(&mut elf, ".BTF", SectionKind::Metadata);
    elf.append_section_data(types, &btf.finish(), 4);
    let infos = section(&mut elf, ".BTF.ext", SectionKind::Metadata);
    elf.append_section_data(infos, &extension, 4);
    elf.write().map_err(|error| error.to_string())
}

/// Line information for `.text`: the WebAssembly instruction as the text, with its source's file and line. The kernel
/// wants one at each function's start (`check_btf_line`), and libbpf wants it of functions that a program with lines is
/// linked with.
fn text_lines(
    functions: &[Linked<'_>],
    offsets: &HashMap<u32, u64>,
    source: &Source<'_>,
    btf: &mut btf::Btf,
) -> Vec<btf::Line> {
    let mut all = Vec::new();
    for function in functions {
        let start = offsets.get(&function.index).copied().unwrap_or_default();
        let mut last = None;
        for &(slot, ref insn) in &function.code.insns {
            if last.replace(insn.wasm) == Some(insn.wasm) {
                continue;
            }
            let at = (start + u64::from(slot) * 8) as u32;
            match source.lines.at(insn.wasm) {
                Some(line) => all.push(btf.line(at, &line.file, &mnemonic::at(source.wasm, insn.wasm), line.line)),
                None if slot == 0 => all.push(btf.line(at, "", &function.symbol, 0)),
                None => {}
            }
        }
    }
    all
}

fn entry_lines(entries: &[(&str, Code)], btf: &mut btf::Btf) -> Vec<btf::Line> {
    let mut at = 0;
    entries
        .iter()
        .map(|(name, code)| {
            let line = btf.line(at, "", name, 0);
            at += code.bytes.len() as u32;
            line
        })
        .collect()
}

/// The array's symbol.
const ARRAY: &str = "wasm_memory";
const ARRAY_SECTION: &str = ".bss.wasm";

/// What relocations refer to besides functions.
#[derive(Clone, Copy)]
struct Places {
    memory: SymbolId,
    text: SymbolId,
}

#[allow(clippy::too_many_arguments)]
fn relocate(
    elf: &mut Object<'_>,
    section: object::write::SectionId,
    at: u64,
    code: &Code,
    bytes: &mut [u8],
    symbols: &HashMap<u32, SymbolId>,
    places: Places,
    local: Option<&HashMap<u32, u64>>,
) -> Result<(), String> {
    for &(slot, insn) in &code.insns {
        let offset = at + u64::from(slot) * 8;
        let (symbol, r_type) = match insn.target {
            Target::None | Target::Label(_) => continue,
            Target::Arena | Target::Array => (places.memory, R_BPF_64_64),
            Target::Address(index) => {
                // A static function is named by its place in the section, which is the addend.
                let to = local.and_then(|offsets| offsets.get(&index)).ok_or("a round that is not there")?;
                let field = slot as usize * 8 + 4;
                bytes[field..field + 4].copy_from_slice(&(*to as i32).to_le_bytes());
                (places.text, R_BPF_64_64)
            }
            Target::Function(index) | Target::Extern(index) => {
                if let Some(&to) = local.and_then(|offsets| offsets.get(&index)) {
                    // In the same section a call is relative, and stays so when sections are joined.
                    let imm = (to as i64 - offset as i64) / 8 - 1;
                    let field = slot as usize * 8 + 4;
                    bytes[field..field + 4].copy_from_slice(&(imm as i32).to_le_bytes());
                    continue;
                }
                let Some(&symbol) = symbols.get(&index) else { return Err(format!("function {index} is not there")) };
                (symbol, R_BPF_64_32)
            }
        };
        let relocation = Relocation {
            offset,
            symbol,
            addend: 0,
            flags: RelocationFlags::Elf { r_type: object::elf::RelocationType(r_type) },
        };
        elf.add_relocation(section, relocation).map_err(|error| error.to_string())?;
    }
    Ok(())
}
