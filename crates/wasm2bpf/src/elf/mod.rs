//! Finished code → an ELF object that libbpf opens and its static linker takes.

mod btf;

use std::collections::HashMap;

use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind, SymbolScope,
    write::{Object, Relocation, SectionId, Symbol, SymbolId, SymbolSection},
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

/// The array's symbol.
const ARRAY: &str = "wasm_memory";
const ARRAY_SECTION: &str = ".bss.wasm";

/// Writes the object: the functions in `.text`, the entries in `syscall`, the arena or array.
pub(crate) fn write(
    functions: &[Linked<'_>],
    externals: &[External],
    entries: &[(&str, Code)],
    memory: Memory,
    source: &Source<'_>,
) -> Result<Vec<u8>, String> {
    let mut writer = Writer::new(memory);
    let text_info = writer.name_functions(functions);
    writer.name_externals(externals);
    let entry_info = writer.name_entries(entries);
    writer.describe(memory);
    for function in functions {
        writer.append(writer.text, writer.offsets[&function.index], function.code)?;
    }
    let mut at = 0;
    for (_, code) in entries {
        writer.append(writer.syscall, at, code)?;
        at += code.bytes.len() as u64;
    }
    let text_lines = text_lines(functions, &writer.offsets, source, &mut writer.btf);
    let entry_lines = entry_lines(entries, &mut writer.btf);
    let (text, syscall) = (writer.btf.string(".text"), writer.btf.string("syscall"));
    writer.finish(&[
        btf::Section { name: text, functions: text_info, lines: text_lines },
        btf::Section { name: syscall, functions: entry_info, lines: entry_lines },
    ])
}

/// An object under construction.
struct Writer {
    elf: Object<'static>,
    btf: btf::Btf,
    /// The section of the functions.
    text: SectionId,
    /// Its symbol, by which static functions are named.
    text_symbol: SymbolId,
    /// The section of the entries.
    syscall: SectionId,
    /// What instances live in.
    memory: SymbolId,
    /// Functions that calls can name, those of other objects too.
    symbols: HashMap<u32, SymbolId>,
    /// Where each function starts in `.text`.
    offsets: HashMap<u32, u64>,
}

fn section(elf: &mut Object<'_>, name: &str, kind: SectionKind) -> SectionId {
    elf.add_section(Vec::new(), name.into(), kind)
}

/// A symbol that other objects see.
fn global(name: &str, value: u64, size: u64, kind: SymbolKind, section: SymbolSection) -> Symbol {
    let scope = SymbolScope::Dynamic;
    Symbol { name: name.into(), value, size, kind, scope, weak: false, section, flags: SymbolFlags::None }
}

impl Writer {
    /// The sections, with the license, and what instances live in.
    fn new(memory: Memory) -> Self {
        let mut elf = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let text = section(&mut elf, ".text", SectionKind::Text);
        let syscall = section(&mut elf, "syscall", SectionKind::Text);
        let license = section(&mut elf, "license", SectionKind::Data);
        elf.append_section_data(license, b"Dual MIT/GPL\0", 1);
        elf.add_symbol(global("_license", 0, 13, SymbolKind::Data, SymbolSection::Section(license)));
        let memory = match memory {
            Memory::Arena { .. } => {
                let maps = section(&mut elf, ".maps", SectionKind::Data);
                elf.append_section_data(maps, &[0; 24], 8);
                global("arena", 0, 24, SymbolKind::Data, SymbolSection::Section(maps))
            }
            Memory::Array { bytes } => {
                let bss = section(&mut elf, ARRAY_SECTION, SectionKind::UninitializedData);
                elf.append_section_bss(bss, bytes, 4096);
                global(ARRAY, 0, bytes, SymbolKind::Data, SymbolSection::Section(bss))
            }
        };
        let memory = elf.add_symbol(memory);
        let text_symbol = elf.section_symbol(text);
        let (symbols, offsets) = (HashMap::new(), HashMap::new());
        Self { elf, btf: btf::Btf::new(), text, text_symbol, syscall, memory, symbols, offsets }
    }

    /// Gives each function its place in `.text`, a symbol and a type. Returns the places with the types.
    fn name_functions(&mut self, functions: &[Linked<'_>]) -> Vec<(u32, u32)> {
        let mut info = Vec::new();
        let mut at = 0u64;
        for function in functions {
            let size = function.code.bytes.len() as u64;
            self.offsets.insert(function.index, at);
            let symbol = global(&function.symbol, at, size, SymbolKind::Text, SymbolSection::Section(self.text));
            let ty = if function.index & STEP != 0 {
                self.elf.add_symbol(Symbol { scope: SymbolScope::Compilation, ..symbol });
                self.btf.callback(&function.symbol)
            } else {
                let id = self.elf.add_symbol(symbol);
                self.symbols.insert(function.index, id);
                self.btf.function(&function.symbol, &function.params, btf::GLOBAL)
            };
            info.push((at as u32, ty));
            at += size;
        }
        info
    }

    fn name_externals(&mut self, externals: &[External]) {
        for external in externals {
            let symbol = global(&external.symbol, 0, 0, SymbolKind::Unknown, SymbolSection::Undefined);
            let id = self.elf.add_symbol(symbol);
            self.symbols.insert(external.index, id);
            self.btf.function(&external.symbol, &external.params, btf::EXTERN);
        }
    }

    /// As [`Writer::name_functions`], in `syscall`.
    fn name_entries(&mut self, entries: &[(&str, Code)]) -> Vec<(u32, u32)> {
        let (mut info, mut at) = (Vec::new(), 0);
        for (name, code) in entries {
            let size = code.bytes.len() as u64;
            self.elf.add_symbol(global(name, at, size, SymbolKind::Text, SymbolSection::Section(self.syscall)));
            info.push((at as u32, self.btf.entry(name)));
            at += size;
        }
        info
    }

    /// The type of what instances live in.
    fn describe(&mut self, memory: Memory) {
        match memory {
            Memory::Arena { pages } => {
                self.btf.arena(BPF_MAP_TYPE_ARENA, BPF_F_MMAPABLE, pages);
            }
            Memory::Array { bytes } => self.btf.array(ARRAY, ARRAY_SECTION, bytes as u32),
        }
    }

    /// Appends code to a section, which ends at `at`, and adds its relocations.
    fn append(&mut self, section: SectionId, at: u64, code: &Code) -> Result<(), String> {
        let mut bytes = code.bytes.clone();
        // From other sections, functions are reached by their symbols.
        let local = (section == self.text).then_some(&self.offsets);
        let offset_of = |index| local.and_then(|offsets| offsets.get(&index).copied());
        for &(slot, insn) in &code.insns {
            let offset = at + u64::from(slot) * 8;
            let (symbol, r_type) = match insn.target {
                Target::None | Target::Label(_) => continue,
                Target::Arena | Target::Array => (self.memory, R_BPF_64_64),
                Target::Address(index) => {
                    // A static function is named by its place in the section, which is the addend.
                    let to = offset_of(index).ok_or("a round that is not there")?;
                    let field = slot as usize * 8 + 4;
                    bytes[field..field + 4].copy_from_slice(&(to as i32).to_le_bytes());
                    (self.text_symbol, R_BPF_64_64)
                }
                Target::Function(index) | Target::Extern(index) => {
                    if let Some(to) = offset_of(index) {
                        // In the same section a call is relative, and stays so when sections are joined.
                        let imm = (to as i64 - offset as i64) / 8 - 1;
                        let field = slot as usize * 8 + 4;
                        bytes[field..field + 4].copy_from_slice(&(imm as i32).to_le_bytes());
                        continue;
                    }
                    let Some(&symbol) = self.symbols.get(&index) else {
                        return Err(format!("function {index} is not there"));
                    };
                    (symbol, R_BPF_64_32)
                }
            };
            let relocation = Relocation {
                offset,
                symbol,
                addend: 0,
                flags: RelocationFlags::Elf { r_type: object::elf::RelocationType(r_type) },
            };
            self.elf.add_relocation(section, relocation).map_err(|error| error.to_string())?;
        }
        self.elf.append_section_data(section, &bytes, 8);
        Ok(())
    }

    /// The bytes of the object, with its types and what they say of each section of code.
    fn finish(mut self, code: &[btf::Section]) -> Result<Vec<u8>, String> {
        let extension = btf::extension(code);
        let types = section(&mut self.elf, ".BTF", SectionKind::Metadata);
        self.elf.append_section_data(types, &self.btf.finish(), 4);
        let infos = section(&mut self.elf, ".BTF.ext", SectionKind::Metadata);
        self.elf.append_section_data(infos, &extension, 4);
        self.elf.write().map_err(|error| error.to_string())
    }
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
