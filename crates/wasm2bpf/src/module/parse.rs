//! The sections of a module, read after validation.

use std::collections::{BTreeSet, HashMap};

use wasmparser::{
    DataKind, ElementItems, ElementKind, Name, Operator, Parser, Payload, TableInit, TypeRef, Validator, WasmFeatures,
};

use super::{
    Body, ConstExpr, ConstOp, Data, Elements, Export, Global, Import, Memory, Module, Part, Placement, Signature, Table,
};
use crate::{Reason, Refusal};

pub(super) fn invalid(error: wasmparser::BinaryReaderError) -> Refusal {
    let offset = error.offset() as usize;
    // The validator prints bytes over several lines.
    let words: Vec<&str> = error.message().split_whitespace().collect();
    Refusal { reason: Reason::Invalid(words.join(" ")), function: None, name: None, offset }
}

fn feature(what: &str, offset: usize) -> Refusal {
    Refusal { reason: Reason::Feature(what.to_owned()), function: None, name: None, offset }
}

impl Module {
    /// Validates `bytes` as WebAssembly 2.0 with extended constants, and reads its sections.
    ///
    /// # Errors
    /// `Invalid` with the validator's words and offset; `Feature` for what has no place in one address space.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let features = WasmFeatures::WASM2 | WasmFeatures::EXTENDED_CONST;
        Validator::new_with_features(features).validate_all(bytes).map_err(invalid)?;
        let mut module = Self { parts: vec![Part::default()], referenced: vec![BTreeSet::new()], ..Self::default() };
        for payload in Parser::new(0).parse_all(bytes) {
            module.section(payload.map_err(invalid)?)?;
        }
        module.find_references();
        module.number_types();
        module.parts[0] = Part::whole(&module, bytes.len(), module.parts[0].start);
        Ok(module)
    }

    /// Gives equal types the same number.
    pub(super) fn number_types(&mut self) {
        let mut first = HashMap::new();
        let numbers = self.types.iter().enumerate();
        self.canonical = numbers.map(|(index, ty)| *first.entry(ty.clone()).or_insert(index as u32)).collect();
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<(), Refusal> {
        match payload {
            Payload::TypeSection(reader) => {
                for ty in reader.into_iter_err_on_gc_types() {
                    let ty = ty.map_err(invalid)?;
                    self.types.push(Signature { params: ty.params().to_vec(), results: ty.results().to_vec() });
                }
            }
            Payload::ImportSection(reader) => {
                for import in reader.into_imports_with_offsets() {
                    let (offset, import) = import.map_err(invalid)?;
                    self.import(&import, offset as usize)?;
                }
            }
            Payload::FunctionSection(reader) => {
                for ty in reader {
                    self.functions.push(ty.map_err(invalid)?);
                }
            }
            Payload::TableSection(reader) => {
                for table in reader {
                    self.table(&table.map_err(invalid)?)?;
                }
            }
            Payload::MemorySection(reader) => {
                for memory in reader {
                    let memory = memory.map_err(invalid)?;
                    let (min, max) = (memory.initial, memory.maximum);
                    self.memories.push(Memory { min, max, imported: false, grows: false });
                }
            }
            Payload::GlobalSection(reader) => {
                for global in reader {
                    self.global(&global.map_err(invalid)?)?;
                }
            }
            Payload::ExportSection(reader) => {
                for export in reader {
                    let export = export.map_err(invalid)?;
                    self.exports.push(Export { name: export.name.to_owned(), kind: export.kind, index: export.index });
                }
            }
            Payload::StartSection { func, .. } => self.parts[0].start = Some(func),
            Payload::ElementSection(reader) => {
                for elements in reader {
                    self.elements(&elements.map_err(invalid)?)?;
                }
            }
            Payload::DataSection(reader) => {
                for data in reader {
                    self.data(&data.map_err(invalid)?)?;
                }
            }
            Payload::CodeSectionEntry(body) => self.body(&body)?,
            Payload::CustomSection(section) => {
                if let wasmparser::KnownCustom::Name(names) = section.as_known() {
                    self.names(names);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: &wasmparser::Import<'_>, offset: usize) -> Result<(), Refusal> {
        let named = Import { module: import.module.to_owned(), name: import.name.to_owned() };
        match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.functions.push(ty);
                self.imported_functions.push(named);
            }
            TypeRef::Table(ty) => {
                self.tables.push(Table { ty: ty.element_type, min: ty.initial, max: ty.maximum, imported: true });
                self.imported_tables.push(named);
            }
            TypeRef::Memory(ty) => {
                self.memories.push(Memory { min: ty.initial, max: ty.maximum, imported: true, grows: false });
                self.imported_memories.push(named);
            }
            TypeRef::Global(ty) => {
                self.globals.push(Global { ty: ty.content_type, mutable: ty.mutable, init: None });
                self.imported_globals.push(named);
            }
            TypeRef::Tag(_) => return Err(feature("an imported tag", offset)),
        }
        Ok(())
    }

    fn table(&mut self, table: &wasmparser::Table<'_>) -> Result<(), Refusal> {
        if let TableInit::Expr(_) = table.init {
            return Err(feature("a table with an initial value", 0));
        }
        let (ty, min, max) = (table.ty.element_type, table.ty.initial, table.ty.maximum);
        self.tables.push(Table { ty, min, max, imported: false });
        Ok(())
    }

    fn global(&mut self, global: &wasmparser::Global<'_>) -> Result<(), Refusal> {
        let init = Some(ConstExpr::read(&global.init_expr)?);
        self.globals.push(Global { ty: global.ty.content_type, mutable: global.ty.mutable, init });
        Ok(())
    }

    fn elements(&mut self, elements: &wasmparser::Element<'_>) -> Result<(), Refusal> {
        let placement = match &elements.kind {
            ElementKind::Passive => Placement::Passive,
            ElementKind::Declared => Placement::Declared,
            ElementKind::Active { table_index, offset_expr } => {
                Placement::Active { index: table_index.unwrap_or(0), offset: ConstExpr::read(offset_expr)? }
            }
        };
        let mut items = Vec::new();
        match &elements.items {
            ElementItems::Functions(reader) => {
                for index in reader.clone() {
                    items.push(ConstExpr(vec![ConstOp::Function(index.map_err(invalid)?)]));
                }
            }
            ElementItems::Expressions(_, reader) => {
                for expr in reader.clone() {
                    items.push(ConstExpr::read(&expr.map_err(invalid)?)?);
                }
            }
        }
        self.elements.push(Elements { placement, items });
        Ok(())
    }

    fn data(&mut self, data: &wasmparser::Data<'_>) -> Result<(), Refusal> {
        let placement = match &data.kind {
            DataKind::Passive => Placement::Passive,
            DataKind::Active { offset_expr, .. } => {
                Placement::Active { index: 0, offset: ConstExpr::read(offset_expr)? }
            }
        };
        let end = data.range.end as usize;
        self.data.push(Data { placement, range: end - data.data.len()..end });
        Ok(())
    }

    fn body(&mut self, body: &wasmparser::FunctionBody<'_>) -> Result<(), Refusal> {
        let range = body.range();
        self.bodies.push(Body { range: range.start as usize..range.end as usize });
        let mut reader = body.get_operators_reader().map_err(invalid)?;
        while !reader.eof() {
            match reader.read().map_err(invalid)? {
                Operator::MemoryGrow { mem } => self.memories[mem as usize].grows = true,
                Operator::RefFunc { function_index } => {
                    self.referenced[0].insert(function_index);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn names(&mut self, names: wasmparser::NameSectionReader<'_>) {
        // A malformed name section is no fault of the program: what can be read is used.
        for name in names.into_iter().map_while(Result::ok) {
            if let Name::Function(map) = name {
                for naming in map.into_iter().map_while(Result::ok) {
                    self.names.insert(naming.index, naming.name.to_owned());
                }
            }
        }
    }

    fn find_references(&mut self) {
        let from_globals = self.globals.iter().filter_map(|g| g.init.as_ref()).filter_map(ConstExpr::function);
        let from_elements = self.elements.iter().flat_map(|e| &e.items).filter_map(ConstExpr::function);
        let found: Vec<u32> = from_globals.chain(from_elements).collect();
        self.referenced[0].extend(found);
    }
}
