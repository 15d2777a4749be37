//! What the caller chooses.

use std::collections::BTreeMap;

/// Where linear memory lives, and so which kernels can load the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// A BPF arena with `may_goto` loops: kernel 6.9 and up.
    #[default]
    Arena,
    /// One array of at most 4 MiB, every address masked, loops through `bpf_loop`: kernel 5.17 and up, and several times
    /// slower. Those kernels need [`Isa::V3`].
    Array,
}

/// The eBPF instruction set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// `-mcpu=v3`: no signed division, sign-extending moves or long jumps; they are expanded.
    V3,
    /// `-mcpu=v4`: kernel 6.6 and up.
    #[default]
    V4,
}

/// What an imported function stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The eBPF helper of this number (`enum bpf_func_id`): scalars in, a scalar out.
    Helper(u32),
    /// A global function of another object, called with the instance's offset and then the scalars; the static linker
    /// resolves it.
    Function(String),
    /// Nothing happens; a result is 0.
    Nothing,
}

/// How a module is compiled.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where linear memory lives.
    pub target: Target,
    /// The instruction set.
    pub isa: Isa,
    /// Pages of 64 KiB that linear memory may grow to, whatever the module declares; at most 32,768 (2 GiB).
    pub max_memory_pages: u32,
    /// Entries that a table may grow to.
    pub max_table_entries: u32,
    /// Compile what can be compiled: a function that is refused is left out, with all that call it, and reported.
    pub partial: bool,
    /// The size and limit, in pages, of the memory that stands for an imported one; what the import declares if none.
    pub imported_memory: Option<(u32, u32)>,
    /// Imported functions by module and name.
    pub imports: BTreeMap<(String, String), Binding>,
    /// Put before every symbol.
    pub prefix: String,
    /// Instances that [`Target::Array`] has room for, rounded up to a power of two; an arena's size is chosen when it is
    /// loaded.
    pub instances: u32,
    /// Bytes of shadow stack for recursive functions and calls that nest too deep.
    pub shadow_stack: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: Target::Arena,
            isa: Isa::V4,
            max_memory_pages: 256,
            max_table_entries: 4096,
            partial: false,
            imported_memory: None,
            imports: BTreeMap::new(),
            prefix: "wasm_".to_owned(),
            instances: 1,
            shadow_stack: 64 << 10,
        }
    }
}
