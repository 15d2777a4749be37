//! BTF: the types of the functions and of the arena map, and the function info that the kernel wants for global
//! functions (`Documentation/bpf/btf.rst`).

use std::collections::HashMap;

use crate::module::Ty;

const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;

/// Linkage of functions and variables.
const STATIC: u32 = 0;
pub(super) const GLOBAL: u32 = 1;
pub(super) const EXTERN: u32 = 2;

/// BTF under construction. Types are numbered from 1.
pub(super) struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Strings that many records share.
    shared: HashMap<String, u32>,
    count: u32,
    pub(super) u32_type: u32,
    pub(super) u64_type: u32,
    int_type: u32,
    index_type: u32,
}

impl Btf {
    pub(super) fn new() -> Self {
        let mut btf = Self {
            types: Vec::new(),
            strings: vec![0],
            shared: HashMap::new(),
            count: 0,
            u32_type: 0,
            u64_type: 0,
            int_type: 0,
            index_type: 0,
        };
        btf.u32_type = btf.int("unsigned int", 4, 0);
        btf.u64_type = btf.int("unsigned long long", 8, 0);
        btf.int_type = btf.int("int", 4, 1);
        btf.index_type = btf.int("__ARRAY_SIZE_TYPE__", 4, 0);
        btf
    }

    pub(super) fn string(&mut self, text: &str) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// The string, once however often it is asked for.
    fn shared_string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(&at) = self.shared.get(text) {
            return at;
        }
        let at = self.string(text);
        self.shared.insert(text.to_owned(), at);
        at
    }

    fn word(&mut self, value: u32) {
        self.types.extend(value.to_le_bytes());
    }

    fn begin(&mut self, name: u32, kind: u32, vlen: u32, size_or_type: u32) -> u32 {
        self.word(name);
        self.word(kind << 24 | vlen);
        self.word(size_or_type);
        self.count += 1;
        self.count
    }

    fn int(&mut self, name: &str, bytes: u32, encoding: u32) -> u32 {
        let name = self.string(name);
        let id = self.begin(name, KIND_INT, 0, bytes);
        self.word((encoding << 24) | (bytes * 8));
        id
    }

    /// A function: its prototype and itself. The base comes first; parameters after the fourth and results after the
    /// first are in memory.
    pub(super) fn function(&mut self, name: &str, params: &[Ty], linkage: u32) -> u32 {
        let params = &params[..params.len().min(4)];
        let proto = self.begin(0, KIND_FUNC_PROTO, params.len() as u32 + 1, self.u64_type);
        let base = self.string("base");
        self.word(base);
        self.word(self.u32_type);
        for (index, ty) in params.iter().enumerate() {
            let param = self.string(&format!("p{index}"));
            self.word(param);
            self.word(if *ty == Ty::I32 { self.u32_type } else { self.u64_type });
        }
        let name = self.string(name);
        self.begin(name, KIND_FUNC, linkage, proto)
    }

    /// The entry program: a pointer in, an int out.
    pub(super) fn entry(&mut self, name: &str) -> u32 {
        let pointer = self.begin(0, KIND_PTR, 0, 0);
        let proto = self.begin(0, KIND_FUNC_PROTO, 1, self.int_type);
        let context = self.string("ctx");
        self.word(context);
        self.word(pointer);
        let name = self.string(name);
        self.begin(name, KIND_FUNC, GLOBAL, proto)
    }

    /// `int (*name)[value]`: how a map definition says a number.
    fn number(&mut self, value: u32) -> u32 {
        let array = self.begin(0, KIND_ARRAY, 0, 0);
        self.word(self.int_type);
        self.word(self.index_type);
        self.word(value);
        self.begin(0, KIND_PTR, 0, array)
    }

    /// The arena map's definition in `.maps`; returns its variable.
    pub(super) fn arena(&mut self, map_type: u32, map_flags: u32, pages: u32) -> u32 {
        let members = [("type", map_type), ("map_flags", map_flags), ("max_entries", pages)];
        let members: Vec<(u32, u32)> =
            members.map(|(name, value)| (self.string(name), self.number(value))).into_iter().collect();
        let id = self.begin(0, KIND_STRUCT, members.len() as u32, members.len() as u32 * 8);
        for (position, (name, ty)) in members.iter().enumerate() {
            self.word(*name);
            self.word(*ty);
            self.word(position as u32 * 64);
        }
        let name = self.string("arena");
        let variable = self.begin(name, KIND_VAR, 0, id);
        self.word(GLOBAL);
        let section = self.string(".maps");
        self.begin(section, KIND_DATASEC, 1, 24);
        self.word(variable);
        self.word(0);
        self.word(24);
        variable
    }

    /// The array of instances, alone in its section.
    pub(super) fn array(&mut self, name: &str, section: &str, bytes: u32) {
        let byte = self.int("unsigned char", 1, 0);
        let array = self.begin(0, KIND_ARRAY, 0, 0);
        self.word(byte);
        self.word(self.index_type);
        self.word(bytes);
        let name = self.string(name);
        let variable = self.begin(name, KIND_VAR, 0, array);
        self.word(GLOBAL);
        let section = self.string(section);
        self.begin(section, KIND_DATASEC, 1, bytes);
        self.word(variable);
        self.word(0);
        self.word(bytes);
    }

    /// What `bpf_loop` calls: a number and a context in, a number out.
    pub(super) fn callback(&mut self, name: &str) -> u32 {
        let pointer = self.begin(0, KIND_PTR, 0, 0);
        let proto = self.begin(0, KIND_FUNC_PROTO, 2, self.u64_type);
        for (name, ty) in [("round", self.u32_type), ("context", pointer)] {
            let name = self.string(name);
            self.word(name);
            self.word(ty);
        }
        let name = self.string(name);
        self.begin(name, KIND_FUNC, STATIC, proto)
    }

    /// The `.BTF` section.
    pub(super) fn finish(self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(0xeb9fu16.to_le_bytes());
        out.extend([1, 0]);
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        for word in [24, 0, types, types, strings] {
            out.extend(word.to_le_bytes());
        }
        out.extend(self.types);
        out.extend(self.strings);
        out
    }
}

/// One record of line information (`struct bpf_line_info`): byte offset, file, text, line and column.
pub(super) struct Line([u32; 4]);

/// What `.BTF.ext` says of a section of code: its name as a BTF string, functions by byte offset and type, lines.
pub(super) struct Section {
    pub(super) name: u32,
    pub(super) functions: Vec<(u32, u32)>,
    pub(super) lines: Vec<Line>,
}

impl Btf {
    /// A line; `at` is the byte offset in its section.
    pub(super) fn line(&mut self, at: u32, file: &str, text: &str, line: u32) -> Line {
        // The kernel keeps the line in the upper 22 bits.
        Line([at, self.shared_string(file), self.shared_string(text), line.min((1 << 22) - 1) << 10])
    }
}

/// The `.BTF.ext` section.
pub(super) fn extension(sections: &[Section]) -> Vec<u8> {
    let mut functions: Vec<u8> = 8u32.to_le_bytes().to_vec();
    let mut lines: Vec<u8> = 16u32.to_le_bytes().to_vec();
    let words = |out: &mut Vec<u8>, words: &[u32]| out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    for section in sections.iter().filter(|section| !section.functions.is_empty()) {
        words(&mut functions, &[section.name, section.functions.len() as u32]);
        for &(offset, ty) in &section.functions {
            words(&mut functions, &[offset, ty]);
        }
    }
    for section in sections.iter().filter(|section| !section.lines.is_empty()) {
        words(&mut lines, &[section.name, section.lines.len() as u32]);
        section.lines.iter().for_each(|line| words(&mut lines, &line.0));
    }
    if lines.len() == 4 {
        lines.clear();
    }
    let mut out = Vec::new();
    out.extend(0xeb9fu16.to_le_bytes());
    out.extend([1, 0]);
    let (length, lines_length) = (functions.len() as u32, lines.len() as u32);
    words(&mut out, &[24, 0, length, length, lines_length]);
    out.extend(functions);
    out.extend(lines);
    out
}
