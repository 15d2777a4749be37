//! A plugin built byte by byte, for the tests that change one thing of it.
#![allow(dead_code)]

use skep_abi::hooks::wire::FILTER_V1;
use skep_admit::{Inspection, RejectionKind as Kind, inspect};
use wasm_encoder as enc;

pub(crate) fn kinds(inspection: &Inspection) -> Vec<Kind> {
    inspection.reasons.iter().map(|reason| reason.kind).collect()
}

/// A plugin that is right but for what a test changes.
pub(crate) struct Plugin {
    pub(crate) imports: Vec<(&'static str, &'static str, Vec<enc::ValType>)>,
    pub(crate) metadata: Vec<Vec<u8>>,
    pub(crate) fingerprints: Vec<(&'static str, Vec<u8>)>,
    pub(crate) filter_result: enc::ValType,
    pub(crate) also_observe: bool,
    pub(crate) start: bool,
    pub(crate) memory: u64,
    pub(crate) data_at: Option<i32>,
}

pub(crate) const METADATA: &str = r#"{"name":"p","version":"1","hooks":{"filter":{"wire_version":1}}}"#;

impl Default for Plugin {
    fn default() -> Self {
        Self {
            imports: Vec::new(),
            metadata: vec![METADATA.into()],
            fingerprints: vec![("skep.schema.filter.v1", FILTER_V1.to_vec())],
            filter_result: enc::ValType::I64,
            also_observe: false,
            start: false,
            memory: 1,
            data_at: None,
        }
    }
}

impl Plugin {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        use enc::ValType::I32;
        let mut module = enc::Module::new();
        let mut types = enc::TypeSection::new();
        types.ty().function([I32, I32], [I32]);
        types.ty().function([I32, I32, I32], []);
        types.ty().function([I32, I32], [self.filter_result]);
        types.ty().function([], []);
        types.ty().function([I32, I32], [enc::ValType::I64]);
        for (_, _, params) in &self.imports {
            types.ty().function(params.clone(), []);
        }
        module.section(&types);
        let mut imports = enc::ImportSection::new();
        for (index, (from, name, _)) in (5..).zip(&self.imports) {
            imports.import(from, name, enc::EntityType::Function(index));
        }
        module.section(&imports);
        let mut functions = enc::FunctionSection::new();
        for ty in 0..5 {
            functions.function(ty);
        }
        module.section(&functions);
        let mut memories = enc::MemorySection::new();
        memories.memory(enc::MemoryType {
            minimum: self.memory,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        module.section(&memories);
        let base = self.imports.len() as u32;
        let mut exports = enc::ExportSection::new();
        exports.export("memory", enc::ExportKind::Memory, 0);
        for (name, index) in [("skep_alloc", 0), ("skep_free", 1), ("skep_filter", 2)] {
            exports.export(name, enc::ExportKind::Func, base + index);
        }
        if self.also_observe {
            exports.export("skep_observe", enc::ExportKind::Func, base + 4);
        }
        module.section(&exports);
        if self.start {
            module.section(&enc::StartSection { function_index: base + 3 });
        }
        let mut code = enc::CodeSection::new();
        for _ in 0..5 {
            let mut function = enc::Function::new([]);
            function.instructions().unreachable().end();
            code.function(&function);
        }
        module.section(&code);
        if let Some(at) = self.data_at {
            let mut data = enc::DataSection::new();
            data.active(0, &enc::ConstExpr::i32_const(at), [1, 2, 3, 4]);
            module.section(&data);
        }
        for data in &self.metadata {
            module.section(&enc::CustomSection { name: "skep.plugin.v1".into(), data: data.into() });
        }
        for (name, data) in &self.fingerprints {
            module.section(&enc::CustomSection { name: (*name).into(), data: data.into() });
        }
        module.finish()
    }

    pub(crate) fn reasons(&self) -> Vec<Kind> {
        kinds(&inspect(&self.bytes()))
    }

    pub(crate) fn with_metadata(metadata: impl Into<Vec<u8>>) -> Vec<Kind> {
        Self { metadata: vec![metadata.into()], ..Self::default() }.reasons()
    }
}
