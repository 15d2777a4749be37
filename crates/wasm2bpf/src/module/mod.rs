//! Bytes → [`Module`]: validated by `wasmparser`, then kept as the tables that the later stages look things up in.

mod constant;
mod link;
mod parse;

pub use constant::{ConstExpr, ConstOp};
pub use link::{Mismatch, Need, Part, Providers};

/// The type of a value as the compiler keeps it: floats and references are moved as the integers of their width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    /// 32 bits: i32, f32, and references (0 is null, `n + 1` stands for function or host value `n`).
    I32,
    /// 64 bits: i64, f64.
    I64,
    /// Anything else; a function that touches it is refused.
    Other,
}

impl From<wasmparser::ValType> for Ty {
    fn from(ty: wasmparser::ValType) -> Self {
        match ty {
            wasmparser::ValType::I32 | wasmparser::ValType::F32 | wasmparser::ValType::Ref(_) => Self::I32,
            wasmparser::ValType::I64 | wasmparser::ValType::F64 => Self::I64,
            wasmparser::ValType::V128 => Self::Other,
        }
    }
}

/// A function type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// Types of the parameters, as the module says them.
    pub params: Vec<wasmparser::ValType>,
    /// Types of the results, as the module says them.
    pub results: Vec<wasmparser::ValType>,
}

impl Signature {
    /// The parameters' types as the compiler keeps them.
    pub fn param_types(&self) -> impl ExactSizeIterator<Item = Ty> + '_ {
        self.params.iter().map(|&ty| ty.into())
    }

    /// The results' types as the compiler keeps them.
    pub fn result_types(&self) -> impl ExactSizeIterator<Item = Ty> + '_ {
        self.results.iter().map(|&ty| ty.into())
    }
}

/// A table: its limits, in entries.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// What its entries are.
    pub ty: wasmparser::RefType,
    /// Entries at the start.
    pub min: u64,
    /// Entries it may grow to, when declared.
    pub max: Option<u64>,
    /// Whether it comes from outside.
    pub imported: bool,
}

/// Linear memory: its limits, in pages of 64 KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Pages at the start.
    pub min: u64,
    /// Pages it may grow to, when declared.
    pub max: Option<u64>,
    /// Whether it comes from outside.
    pub imported: bool,
    /// Whether any body grows it.
    pub grows: bool,
}

/// A global.
#[derive(Clone, Debug)]
pub struct Global {
    /// Its type.
    pub ty: wasmparser::ValType,
    /// Whether code may set it.
    pub mutable: bool,
    /// Its first value; none when imported.
    pub init: Option<ConstExpr>,
}

/// An imported function, table, memory or global, in the order of its index space.
#[derive(Clone, Debug)]
pub struct Import {
    /// The module imported from.
    pub module: String,
    /// The name imported.
    pub name: String,
}

/// Where a segment goes.
#[derive(Clone, Debug)]
pub enum Placement {
    /// Kept until `init` instructions use it.
    Passive,
    /// Copied at instantiation.
    Active {
        /// The table, or the memory.
        index: u32,
        /// Where in it.
        offset: ConstExpr,
    },
    /// Element segments that only declare.
    Declared,
}

/// A data segment.
#[derive(Clone, Debug)]
pub struct Data {
    /// Where it goes.
    pub placement: Placement,
    /// Its range in the module's bytes.
    pub range: std::ops::Range<usize>,
}

/// An element segment.
#[derive(Clone, Debug)]
pub struct Elements {
    /// Where it goes.
    pub placement: Placement,
    /// Its entries.
    pub items: Vec<ConstExpr>,
}

/// A function's body: where its locals and code stand in the module's bytes.
#[derive(Clone, Debug)]
pub struct Body {
    /// The range of the body, after its size.
    pub range: std::ops::Range<usize>,
}

/// What is exported under a name.
#[derive(Clone, Debug)]
pub struct Export {
    /// The name.
    pub name: String,
    /// Function, table, memory or global.
    pub kind: wasmparser::ExternalKind,
    /// Its index.
    pub index: u32,
}

/// A valid module.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Function types.
    pub types: Vec<Signature>,
    /// For each type, the lowest index of an equal one.
    pub canonical: Vec<u32>,
    /// For each function, its type; imported ones first.
    pub functions: Vec<u32>,
    /// Imported functions.
    pub imported_functions: Vec<Import>,
    /// Imported globals.
    pub imported_globals: Vec<Import>,
    /// Imported tables.
    pub imported_tables: Vec<Import>,
    /// Imported memories.
    pub imported_memories: Vec<Import>,
    /// Tables, imported ones first.
    pub tables: Vec<Table>,
    /// Linear memories: at most one in a module, one for each in linked ones.
    pub memories: Vec<Memory>,
    /// Globals, imported ones first.
    pub globals: Vec<Global>,
    /// Exports.
    pub exports: Vec<Export>,
    /// Element segments.
    pub elements: Vec<Elements>,
    /// Data segments.
    pub data: Vec<Data>,
    /// Bodies of the functions that are not imported.
    pub bodies: Vec<Body>,
    /// Functions' names from the name section.
    pub names: std::collections::BTreeMap<u32, String>,
    /// The modules that this one was linked from, in the order in which they are instantiated; one that was not
    /// linked is its own only part.
    pub parts: Vec<Part>,
    /// By [`Part::group`], the functions that references can point to: those in element segments, globals and
    /// `ref.func`.
    pub referenced: Vec<std::collections::BTreeSet<u32>>,
    /// For each exported function, where its first export is; made when a name is first asked for.
    exported: std::sync::OnceLock<std::collections::HashMap<u32, usize>>,
}

impl Module {
    /// The signature of a function.
    pub fn signature(&self, function: u32) -> &Signature {
        &self.types[self.functions[function as usize] as usize]
    }

    /// A function's type by its canonical index: equal exactly for equal types.
    pub fn canonical_type(&self, function: u32) -> u32 {
        self.canonical[self.functions[function as usize] as usize]
    }

    /// Whether a function is imported.
    pub fn is_imported(&self, function: u32) -> bool {
        (function as usize) < self.imported_functions.len()
    }

    /// A function's name: its export's, else the name section's.
    pub fn function_name(&self, function: u32) -> Option<&str> {
        let names = self.exported.get_or_init(|| {
            let functions = self.exports.iter().enumerate().rev();
            let functions = functions.filter(|(_, export)| export.kind == wasmparser::ExternalKind::Func);
            functions.map(|(position, export)| (export.index, position)).collect()
        });
        let export = names.get(&function).and_then(|&position| self.exports.get(position));
        export.map(|e| e.name.as_str()).or_else(|| self.names.get(&function).map(String::as_str))
    }

    /// The part that a function which is not imported comes from.
    pub fn part_of(&self, function: u32) -> &Part {
        let after = self.parts.partition_point(|part| part.defined.start <= function);
        &self.parts[after.saturating_sub(1)]
    }

    /// The functions that can be called from outside: exports and start functions.
    pub fn roots(&self) -> Vec<u32> {
        let exported = self.exports.iter().filter(|e| e.kind == wasmparser::ExternalKind::Func).map(|e| e.index);
        let mut roots: Vec<u32> = exported.chain(self.parts.iter().filter_map(|part| part.start)).collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }
}
