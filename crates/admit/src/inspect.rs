//! One pass over a module's bytes.

use std::collections::HashMap;

use skep_abi::{ValType, hooks};
use wasmparser::{
    BinaryReader, ExternalKind, Imports, KnownCustom, Parser, Payload, SectionLimited, TypeRef, ValidPayload,
    Validator, WasmFeatures,
    types::{CoreTypeId, TypesRef},
};

use crate::{
    Export, Extern, Feature, FuncType, Import, Inspection, KernelFit, Memory, Obstacle, Rejection,
    RejectionKind as Kind, Section, Table, Ty, detect,
    features::{Room, Seen},
    hooks::{Fingerprint, PluginSections},
    limits,
};

/// Reads `bytes` once and says what they are. Nothing of the module runs, function bodies are read but not validated
/// (the engine's compiler does that), and whatever is wrong is an entry of [`Inspection::reasons`].
///
/// Time grows with the length of `bytes`. The heap that is taken is at most the length of `bytes` for what a compiler writes,
/// and 3 MiB above it for a module that is made of nothing but items, up to the limits of this crate
/// ([`MAX_IMPORTS`](crate::MAX_IMPORTS) and its like).
pub fn inspect(bytes: &[u8]) -> Inspection {
    let mut pass = Pass::new(bytes);
    match pass.run(bytes) {
        Ok(()) => pass.conclude(),
        Err(reason) => pass.inspection.reasons.insert(0, reason),
    }
    pass.inspection.features = pass.seen.list();
    pass.inspection
}

struct Pass {
    inspection: Inspection,
    seen: Seen,
    plugin: PluginSections,
    /// Bytes of the custom sections' names so far.
    section_names: usize,
    /// Active data segments of memory 0 at a constant place: the end of the one that ends last, and its number.
    data_end: Option<(u64, u32)>,
    room: Room,
    func_types: FuncTypes,
}

impl Pass {
    fn new(bytes: &[u8]) -> Self {
        let inspection = Inspection {
            size: bytes.len(),
            hash: *blake3::hash(bytes).as_bytes(),
            world: None,
            form: None,
            reasons: Vec::new(),
            imports: Vec::new(),
            exports: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            sections: Vec::new(),
            metadata: None,
            fingerprints: Vec::new(),
            features: Vec::new(),
            start: false,
            functions: 0,
            code_size: 0,
            data_size: 0,
            kernel: KernelFit::default(),
            signers: Vec::new(),
        };
        Self {
            inspection,
            seen: Seen::default(),
            plugin: PluginSections::default(),
            section_names: 0,
            data_end: None,
            room: Room::default(),
            func_types: FuncTypes::default(),
        }
    }

    fn run(&mut self, bytes: &[u8]) -> Result<(), Rejection> {
        header(bytes)?;
        let mut validator = Validator::new_with_features(WasmFeatures::all());
        let mut parser = Parser::new(0);
        parser.set_features(WasmFeatures::all());
        for payload in parser.parse_all(bytes) {
            let payload = payload.map_err(broken)?;
            limits::bounded(bytes, &payload)?;
            if let Payload::DataSection(section) = &payload
                && self.plain_data(bytes, section, &validator)
            {
                continue;
            }
            match validator.payload(&payload).map_err(broken)? {
                ValidPayload::End(types) => self.memories_and_tables(&types.as_ref()),
                _ => self.payload(&payload, &validator)?,
            }
        }
        Ok(())
    }

    fn payload(&mut self, payload: &Payload<'_>, validator: &Validator) -> Result<(), Rejection> {
        let types = || validator.types(0).ok_or_else(|| Rejection::new(Kind::Malformed, ""));
        let found = &mut self.inspection;
        match payload {
            Payload::ImportSection(section) => {
                let types = types()?;
                // Their number has been looked at; a list that grows would take half as much again.
                found.imports.reserve_exact(section.count() as usize);
                for item in section.clone() {
                    if !matches!(item.map_err(broken)?, Imports::Single(..)) {
                        self.seen.add(Feature::CompactImports);
                    }
                }
                for import in section.clone().into_imports() {
                    let import = import.map_err(broken)?;
                    let ty = self.func_types.imported(&types, import.ty);
                    found.imports.push(Import { module: import.module.into(), name: import.name.into(), ty });
                }
            }
            Payload::ExportSection(section) => {
                let types = types()?;
                found.exports.reserve_exact(section.count() as usize);
                for export in section.clone() {
                    let export = export.map_err(broken)?;
                    let ty = self.func_types.exported(&types, export.kind, export.index);
                    found.exports.push(Export { name: export.name.into(), ty });
                }
            }
            Payload::StartSection { .. } => found.start = true,
            Payload::FunctionSection(section) => {
                found.functions = section.count();
                self.function_types(&types()?);
            }
            Payload::CodeSectionEntry(body) => {
                found.code_size += body.range().end - body.range().start;
                self.seen.body(body, &mut self.room).map_err(broken)?;
            }
            Payload::DataSection(section) => self.data(section)?,
            Payload::CustomSection(section) => self.custom(section)?,
            Payload::GlobalSection(section) => {
                for global in section.clone() {
                    self.seen.value_type(global.map_err(broken)?.ty.content_type);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Go's modules have tens of thousands of data segments, all of the plainest form, whose place is right where there
    /// is a memory for it: they are read as they stand. Whether that could be done; if not, nothing is changed.
    fn plain_data(&mut self, bytes: &[u8], section: &wasmparser::DataSectionReader<'_>, validator: &Validator) -> bool {
        let types = validator.types(0);
        let narrow = types.is_some_and(|types| types.memory_count() > 0 && !types.memory_at(0).memory64);
        let plain = narrow && section.count() <= MAX_PLAIN_SEGMENTS;
        let Some(mut reader) = items(bytes, section).filter(|_| plain) else { return false };
        let (mut data_size, mut data_end) = (0, None);
        for number in 0..section.count() {
            let Some((end, size)) = plain_segment(&mut reader) else { return false };
            data_size += size;
            data_end = last(data_end, (end, number));
        }
        if !reader.eof() {
            return false;
        }
        self.inspection.data_size += data_size;
        self.data_end = data_end;
        true
    }

    fn data(&mut self, section: &wasmparser::DataSectionReader<'_>) -> Result<(), Rejection> {
        for (number, data) in (0u32..).zip(section.clone()) {
            let data = data.map_err(broken)?;
            self.inspection.data_size += data.data.len() as u64;
            if let Some(end) = data_end(&data) {
                self.data_end = last(self.data_end, (end, number));
            }
        }
        Ok(())
    }

    fn custom(&mut self, section: &wasmparser::CustomSectionReader<'_>) -> Result<(), Rejection> {
        let name = section.name();
        self.section_names += name.len();
        limits::section(self.inspection.sections.len(), self.section_names)?;
        self.inspection.sections.push(Section { name: name.into(), size: section.data().len() });
        // The name section is read by nobody here, but a reader that knows it would trip over a broken one.
        if !matches!(section.as_known(), KnownCustom::Unknown) {
            return Ok(());
        }
        if name == hooks::METADATA_SECTION {
            self.plugin.metadata(section.data());
        } else if name.starts_with(hooks::SCHEMA_PREFIX) {
            self.plugin.fingerprint(name, section.data());
        }
        Ok(())
    }

    fn function_types(&mut self, types: &TypesRef<'_>) {
        // Signatures with floats or vectors count as use even where no instruction shows it.
        for index in 0..types.core_type_count_in_module() {
            if let wasmparser::CompositeInnerType::Func(ty) =
                &types[types.core_type_at_in_module(index)].composite_type.inner
            {
                for ty in ty.params().iter().chain(ty.results()) {
                    self.seen.value_type(*ty);
                }
                if ty.results().len() > 1 {
                    self.seen.add(Feature::MultiValue);
                }
            }
        }
    }

    fn memories_and_tables(&mut self, types: &TypesRef<'_>) {
        for index in 0..types.memory_count() {
            let memory = memory(types.memory_at(index));
            self.inspection.memories.push(memory);
            for (used, feature) in [
                (memory.wide, Feature::Memory64),
                (memory.shared, Feature::Threads),
                (memory.page_size_log2 != 16, Feature::CustomPageSizes),
                (index > 0, Feature::MultiMemory),
            ] {
                if used {
                    self.seen.add(feature);
                }
            }
        }
        for index in 0..types.table_count() {
            self.inspection.tables.push(table(types.table_at(index)));
        }
    }

    /// The rules that need the whole module.
    fn conclude(&mut self) {
        let first = self.inspection.memories.first().copied();
        if let Some((end, number)) = self.data_end {
            let size = first.map_or(0, |memory| memory.min.saturating_mul(1 << memory.page_size_log2));
            if end > size {
                self.inspection.reasons.push(
                    Rejection::new(Kind::DataOutsideMemory, format!("data segment {number}"))
                        .expected(format!("an end at or below {size}"))
                        .found(format!("one at {end}")),
                );
            }
        }
        let plugin = std::mem::take(&mut self.plugin);
        let present = plugin.present();
        let found = &mut self.inspection;
        detect::world(found);
        if found.world.is_some() {
            found.reasons.extend(self.seen.list().into_iter().filter(|feature| !feature.runs()).map(|feature| {
                Rejection::new(Kind::FeatureDenied, feature.name())
                    .expected("none of it: Skep's engine does not run it")
            }));
        }
        if found.world == Some(skep_abi::World::Hooks) || (found.world.is_none() && present) {
            plugin.conclude(found);
        }
        self.kernel();
    }

    fn kernel(&mut self) {
        let seen = self.seen.list();
        let found = &mut self.inspection;
        for feature in [
            Feature::Float,
            Feature::Simd,
            Feature::RelaxedSimd,
            Feature::Threads,
            Feature::Memory64,
            Feature::MultiMemory,
            Feature::Exceptions,
            Feature::Gc,
            Feature::StackSwitching,
        ] {
            if seen.contains(&feature) {
                found.kernel.obstacles.push(Obstacle {
                    kind: feature.name().into(),
                    item: String::new(),
                    text: format!("{}: eBPF has no such thing", feature.about()),
                });
            }
        }
        for import in &found.imports {
            found.kernel.obstacles.push(Obstacle {
                kind: "import".into(),
                item: format!("{}.{}", import.module, import.name),
                text: "the function lives in user space".into(),
            });
        }
    }
}

/// What the first bytes say, before a parser is asked: people hand in text, objects and components.
fn header(bytes: &[u8]) -> Result<(), Rejection> {
    const MAGIC: &[u8] = b"\0asm";
    if bytes.is_empty() {
        return Err(Rejection::new(Kind::Empty, ""));
    }
    if !bytes.starts_with(&MAGIC[..bytes.len().min(4)]) {
        let start = &bytes[..bytes.len().min(64)];
        let (found, hint) = match start {
            _ if start.starts_with(b"\x7fELF") => (
                "an ELF object",
                "`skep run` takes a module that carries its eBPF object in its data: docs/src/guests.md shows how",
            ),
            _ if start.starts_with(&[0x1f, 0x8b]) => ("a gzip archive", "unpack it first"),
            _ if text_module(start) => {
                ("a module in the text format", "translate it first: wat2wasm, or wasm-tools parse")
            }
            _ if bytes.iter().take(4096).all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) => {
                ("text", Kind::NotWasm.help())
            }
            _ => ("other bytes", Kind::NotWasm.help()),
        };
        return Err(Rejection::new(Kind::NotWasm, "").expected("00 61 73 6d").found(found).hint(hint));
    }
    let Some(version) = bytes.get(4..8) else {
        return Err(Rejection::new(Kind::Truncated, "").expected("8 bytes or more").found(bytes.len().to_string()));
    };
    match (version[0], version[2]) {
        _ if version == [1, 0, 0, 0] => Ok(()),
        (_, 1) => Err(Rejection::new(Kind::Component, "")),
        _ => Err(Rejection::new(Kind::WasmVersion, "").expected("01 00 00 00").found(crate::hex::encode(version))),
    }
}

fn text_module(start: &[u8]) -> bool {
    let text = start.trim_ascii_start();
    text.starts_with(b"(module") || text.starts_with(b"(component") || text.starts_with(b";;")
}

/// A reader of a section's items as they stand.
pub(crate) fn items<'a, T>(bytes: &'a [u8], section: &SectionLimited<'a, T>) -> Option<BinaryReader<'a>> {
    let start = section.original_position();
    let (from, to) = usize::try_from(start).ok().zip(usize::try_from(section.range().end).ok())?;
    Some(BinaryReader::new_features(bytes.get(from..to)?, start, WasmFeatures::all()))
}

pub(crate) fn broken(error: wasmparser::BinaryReaderError) -> Rejection {
    // The parser has no kind for this; its text is the only mark.
    let kind = if error.message().starts_with("unexpected end") { Kind::Truncated } else { Kind::Malformed };
    Rejection::new(kind, format!("at byte {}", error.offset())).found(error.message())
}

const I32_CONST: u8 = 0x41;
const I64_CONST: u8 = 0x42;
const END: u8 = 0x0b;

/// The data segments that wasmparser allows, and those who run modules with it.
const MAX_PLAIN_SEGMENTS: u32 = 100_000;

/// Of two ends of data segments and their numbers, the one that lies further on; the first where they are level.
fn last(known: Option<(u64, u32)>, next: (u64, u32)) -> Option<(u64, u32)> {
    known.filter(|known| known.0 >= next.0).or(Some(next))
}

/// The end and the size of an active segment of memory 0 at `i32.const n end`; `None` for any other form.
fn plain_segment(reader: &mut BinaryReader<'_>) -> Option<(u64, u64)> {
    if reader.read_u8().ok()? != 0 || reader.read_u8().ok()? != I32_CONST {
        return None;
    }
    let start = reader.read_var_i32().ok()?.cast_unsigned();
    if reader.read_u8().ok()? != END {
        return None;
    }
    let size = reader.read_var_u32().ok()?;
    reader.read_bytes(size as usize).ok()?;
    Some((u64::from(start) + u64::from(size), u64::from(size)))
}

/// Where an active segment of memory 0 ends, if it lies at a constant place: `i32.const n end` or `i64.const n end`. The
/// expression is read as it stands, without a reader of operators, which allocates.
fn data_end(data: &wasmparser::Data<'_>) -> Option<u64> {
    let wasmparser::DataKind::Active { memory_index: 0, offset_expr } = &data.kind else { return None };
    let mut reader = offset_expr.get_binary_reader();
    let start = match reader.read_u8().ok()? {
        I32_CONST => u64::from(reader.read_var_i32().ok()?.cast_unsigned()),
        I64_CONST => reader.read_var_i64().ok()?.cast_unsigned(),
        _ => return None,
    };
    (reader.read_u8().ok()? == END).then(|| start.saturating_add(data.data.len() as u64))
}

fn ty(ty: wasmparser::ValType) -> Ty {
    match ty {
        wasmparser::ValType::I32 => ValType::I32.into(),
        wasmparser::ValType::I64 => ValType::I64.into(),
        wasmparser::ValType::F32 => ValType::F32.into(),
        wasmparser::ValType::F64 => ValType::F64.into(),
        wasmparser::ValType::V128 => Ty::V128,
        wasmparser::ValType::Ref(_) => Ty::Ref,
    }
}

fn memory(memory: wasmparser::MemoryType) -> Memory {
    Memory {
        min: memory.initial,
        max: memory.maximum,
        page_size_log2: memory.page_size_log2.unwrap_or(16),
        wide: memory.memory64,
        shared: memory.shared,
    }
}

fn table(table: wasmparser::TableType) -> Table {
    Table { min: table.initial, max: table.maximum }
}

/// The types of functions, each made once: one with a thousand parameters may be that of every import and export.
#[derive(Default)]
struct FuncTypes(HashMap<CoreTypeId, FuncType>);

impl FuncTypes {
    fn function(&mut self, types: &TypesRef<'_>, id: CoreTypeId) -> Extern {
        let wasmparser::CompositeInnerType::Func(func) = &types[id].composite_type.inner else {
            return Extern::Tag;
        };
        let list = |types: &[wasmparser::ValType]| types.iter().copied().map(ty).collect();
        let made = self.0.entry(id);
        let func = made.or_insert_with(|| FuncType { params: list(func.params()), results: list(func.results()) });
        Extern::Func(func.clone())
    }

    fn imported(&mut self, types: &TypesRef<'_>, import: TypeRef) -> Extern {
        match import {
            TypeRef::Func(index) | TypeRef::FuncExact(index) => {
                self.function(types, types.core_type_at_in_module(index))
            }
            TypeRef::Memory(ty) => Extern::Memory(memory(ty)),
            TypeRef::Table(ty) => Extern::Table(table(ty)),
            TypeRef::Global(global) => Extern::Global(ty(global.content_type)),
            TypeRef::Tag(_) => Extern::Tag,
        }
    }

    fn exported(&mut self, types: &TypesRef<'_>, kind: ExternalKind, index: u32) -> Extern {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => self.function(types, types.core_function_at(index)),
            ExternalKind::Memory => Extern::Memory(memory(types.memory_at(index))),
            ExternalKind::Table => Extern::Table(table(types.table_at(index))),
            ExternalKind::Global => Extern::Global(ty(types.global_at(index).content_type)),
            ExternalKind::Tag => Extern::Tag,
        }
    }
}

impl Fingerprint {
    /// The section it came in.
    pub fn section(&self) -> String {
        format!("{}{}.v{}", hooks::SCHEMA_PREFIX, self.hook.name(), self.wire_version)
    }
}
