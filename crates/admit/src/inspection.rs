use std::{fmt, sync::Arc};

use skep_abi::{Form, Sig, ValType, World};

use crate::{Feature, Metadata, Rejection, RejectionKind, hooks::Fingerprint, signature::PublicKey};

/// What a module is and what it asks for, found by reading its bytes.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The module's size in bytes.
    pub size: usize,
    /// The BLAKE3 hash of the module's bytes; grants, revocations and signatures name it.
    pub hash: [u8; 32],
    /// The world the module was written for, told by what only that world's modules have. `None` with one entry in
    /// [`Self::reasons`] that says what was looked for.
    pub world: Option<World>,
    /// The form of the world's modules it is of.
    pub form: Option<&'static Form>,
    /// Everything that stands against the module, whatever slot and policy it meets. Empty for a module that can run.
    pub reasons: Vec<Rejection>,
    /// Imports, in the module's order.
    pub imports: Vec<Import>,
    /// Exports, in the module's order.
    pub exports: Vec<Export>,
    /// Linear memories, imported ones first.
    pub memories: Vec<Memory>,
    /// Tables, imported ones first.
    pub tables: Vec<Table>,
    /// Custom sections, in the module's order.
    pub sections: Vec<Section>,
    /// What a plugin says of itself; `None` where it says nothing, or nothing that can be read.
    pub metadata: Option<Metadata>,
    /// A plugin's schema fingerprints.
    pub fingerprints: Vec<Fingerprint>,
    /// What the module uses beyond the first version of WebAssembly, and floats.
    pub features: Vec<Feature>,
    /// Whether there is a start function.
    pub start: bool,
    /// Functions defined in the module.
    pub functions: u32,
    /// Bytes of the functions' bodies.
    pub code_size: u64,
    /// Bytes of the data segments.
    pub data_size: u64,
    /// Whether the module can be placed in the kernel.
    pub kernel: KernelFit,
    /// The keys whose signature over [`Self::hash`] was found good; see [`crate::Signature`].
    pub signers: Vec<PublicKey>,
}

/// A value type of WebAssembly, references lumped together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ty {
    /// A number, as the worlds' functions take and give them.
    Number(ValType),
    /// A vector.
    V128,
    /// A reference of any kind.
    Ref,
}

/// A function's type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FuncType {
    /// Parameters, first to last.
    pub params: Arc<[Ty]>,
    /// Results, first to last.
    pub results: Arc<[Ty]>,
}

/// What an import or export is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extern {
    /// A function of that type.
    Func(FuncType),
    /// A linear memory.
    Memory(Memory),
    /// A table.
    Table(Table),
    /// A global variable of that type.
    Global(Ty),
    /// An exception's tag.
    Tag,
}

/// An import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The module it is imported from.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// What it is.
    pub ty: Extern,
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is.
    pub ty: Extern,
}

/// A linear memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Pages it starts with.
    pub min: u64,
    /// Pages it may grow to, where the module says so.
    pub max: Option<u64>,
    /// Bytes of a page, as a power of two: 16 unless the module says otherwise.
    pub page_size_log2: u32,
    /// Whether addresses have 64 bits.
    pub wide: bool,
    /// Whether threads may share it.
    pub shared: bool,
}

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Elements it starts with.
    pub min: u64,
    /// Elements it may grow to, where the module says so.
    pub max: Option<u64>,
}

/// A custom section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Bytes of its content.
    pub size: usize,
}

/// Whether a module can be compiled to eBPF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFit {
    /// What stands against it. What a look at single instructions and imports shows is filled in by inspection; the
    /// compiler's own list takes its place by [`Inspection::set_kernel_obstacles`].
    pub obstacles: Vec<Obstacle>,
    /// Whether the compiler has been asked.
    pub judged: bool,
}

/// One thing that keeps a module out of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What it is, a stable name: `float`, `import`, `recursion`, ….
    pub kind: String,
    /// The function, import or instruction it is about; empty where it is the module.
    pub item: String,
    /// In a sentence.
    pub text: String,
}

impl Inspection {
    /// The world the module runs in, if nothing stands against it.
    ///
    /// # Errors
    /// The first of [`Self::reasons`].
    pub fn check(&self) -> Result<World, Rejection> {
        match (self.reasons.first(), self.world) {
            (Some(reason), _) => Err(reason.clone()),
            (None, Some(world)) => Ok(world),
            (None, None) => Err(Rejection::new(RejectionKind::NoWorld, "")),
        }
    }

    /// Whether the bytes could not be read as a module at all; [`Self::reasons`] says why.
    pub fn unreadable(&self) -> bool {
        use RejectionKind as K;
        self.reasons.iter().any(|reason| {
            matches!(reason.kind, K::Empty | K::NotWasm | K::Component | K::WasmVersion | K::Truncated | K::Malformed)
        })
    }

    /// The export of that name.
    pub fn export(&self, name: &str) -> Option<&Export> {
        self.exports.iter().find(|export| export.name == name)
    }

    /// The type of the exported function of that name.
    pub fn exported_function(&self, name: &str) -> Option<&FuncType> {
        match &self.export(name)?.ty {
            Extern::Func(ty) => Some(ty),
            _ => None,
        }
    }

    /// The hash in hexadecimal digits.
    pub fn hash_hex(&self) -> String {
        crate::hex::encode(&self.hash)
    }

    /// Replaces what inspection saw by what the compiler to eBPF says; none means that the module can be placed.
    pub fn set_kernel_obstacles(&mut self, obstacles: impl IntoIterator<Item = Obstacle>) {
        self.kernel = KernelFit { obstacles: obstacles.into_iter().collect(), judged: true };
    }
}

impl FuncType {
    /// Whether it is that of `sig`.
    pub fn is(&self, sig: &Sig) -> bool {
        let same = |types: &[Ty], of: &[ValType]| types.iter().copied().eq(of.iter().map(|ty| Ty::from(*ty)));
        same(&self.params, sig.params) && same(&self.results, sig.results)
    }
}

impl From<ValType> for Ty {
    fn from(ty: ValType) -> Self {
        Self::Number(ty)
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(ty) => write!(f, "{ty}"),
            Self::V128 => f.write_str("v128"),
            Self::Ref => f.write_str("ref"),
        }
    }
}

impl fmt::Display for FuncType {
    /// As in the standard's prose: `(i32, i64) -> (i32)`. Of very many types the number is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WRITTEN: usize = 32;
        let (params, results) = (&self.params, &self.results);
        if params.len() <= WRITTEN && results.len() <= WRITTEN {
            return skep_abi::write_signature(f, params, results);
        }
        write!(f, "({} parameters) -> ({} results)", params.len(), results.len())
    }
}

impl fmt::Display for Extern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Func(ty) => write!(f, "{ty}"),
            Self::Memory(memory) => write!(f, "a memory of {memory}"),
            Self::Table(table) => write!(f, "a table of {table}"),
            Self::Global(ty) => write!(f, "a global of type {ty}"),
            Self::Tag => f.write_str("an exception's tag"),
        }
    }
}

fn limits(f: &mut fmt::Formatter<'_>, min: u64, max: Option<u64>, unit: &str) -> fmt::Result {
    let plural = |count: u64| if count == 1 { "" } else { "s" };
    match max {
        Some(max) if max == min => write!(f, "{min} {unit}{}", plural(min)),
        Some(max) => write!(f, "{min} to {max} {unit}{}", plural(max)),
        None => write!(f, "{min} {unit}{} or more", plural(min)),
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        limits(f, self.min, self.max, "page")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        limits(f, self.min, self.max, "element")
    }
}
