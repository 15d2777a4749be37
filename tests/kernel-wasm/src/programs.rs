//! The real programs: each exports `run(rounds) -> checksum`.

use skep_bpf::kernel_wasm::{InstanceId, KernelModule, Outcome};
use skep_error::{Error, Kind, Result, ResultExt as _};

/// A program, compiled to WebAssembly; the modules are committed with the sources in C, those in Rust are in `rust`.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The name of its source in C, without `.c`; programs in Rust have `rust-` before theirs.
    pub name: &'static str,
    /// The module.
    pub wasm: &'static [u8],
    /// What native code, compiled by clang from the same source, returns for 20 rounds.
    pub checksum: u32,
}

macro_rules! programs {
    ($($name:literal: $checksum:literal),* $(,)?) => {
        /// All programs.
        pub const PROGRAMS: &[Program] = &[
            $(Program {
                name: $name,
                wasm: include_bytes!(concat!("../programs/", $name, ".wasm")),
                checksum: $checksum,
            }),*
        ];
    };
}

programs! {
    "base64": 3393358400,
    "crc32": 2737639488,
    "dns": 199026432,
    "interpreter": 3131616880,
    "json": 1209623552,
    "lz4": 2967192861,
    "matrix": 4068593664,
    "regex": 3100719168,
    "sha256": 3886312644,
    "sort": 379896975,
    "state": 3774727784,
    "xxhash64": 3955179839,
    // In Rust: the same sums as in C.
    "rust-crc32": 2737639488,
    "rust-sort": 379896975,
    "rust-state": 3774727784,
    "rust-xxhash64": 3955179839,
}

impl Program {
    /// The name of its source in C: what native code and `clang -target bpf` are made from.
    pub fn source(&self) -> &'static str {
        self.name.trim_start_matches("rust-")
    }

    /// Whether its module comes from C.
    pub fn is_c(&self) -> bool {
        self.source() == self.name
    }
}

/// A program in the kernel.
pub struct InKernel {
    /// The loaded module.
    pub module: KernelModule,
    instance: InstanceId,
    run: u32,
}

impl InKernel {
    /// Compiles, loads and instantiates it.
    ///
    /// # Errors
    /// `Refused` when the compiler turns it down, `Kernel` when the kernel does.
    pub fn new(program: &Program) -> Result<Self> {
        let options = wasm2bpf::Options { max_memory_pages: 2, ..wasm2bpf::Options::default() };
        let object = wasm2bpf::compile(program.wasm, &options)
            .map_err(|refusal| Error::new(Kind::Refused, refusal.to_string()))
            .context(|| format!("compiling {}", program.name))?;
        let run = object.module.exports.iter().find(|export| export.name == "run").map(|export| export.index);
        let run = run.ok_or_else(|| Error::new(Kind::NotFound, "no export `run`"))?;
        let module = KernelModule::load(object, program.wasm, 1, true)?;
        let (instance, trap) = module.instantiate(0, &|_, _| None)?;
        match trap {
            None => Ok(Self { module, instance, run }),
            Some(trap) => Err(Error::new(Kind::Trap, trap.to_string()).context("instantiating")),
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// `Trap` when it traps.
    pub fn run(&self, rounds: u32) -> Result<u32> {
        match self.module.call(self.instance, self.run, &[u64::from(rounds)], u64::MAX)?.outcome {
            Outcome::Returned(values) => Ok(values.first().map_or(0, |&value| value as u32)),
            Outcome::Trapped(site) => Err(Error::new(Kind::Trap, site.kind.to_string())),
        }
    }
}

/// A program in wasmtime.
pub struct InWasmtime {
    store: wasmtime::Store<()>,
    run: wasmtime::TypedFunc<u32, u32>,
}

impl InWasmtime {
    /// Compiles and instantiates it.
    ///
    /// # Errors
    /// `BadInput` with wasmtime's words.
    pub fn new(program: &Program) -> Result<Self> {
        let bad = |error: wasmtime::Error| Error::new(Kind::BadInput, error.to_string());
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, program.wasm).map_err(bad)?;
        let mut store = wasmtime::Store::new(&engine, ());
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).map_err(bad)?;
        let run = instance.get_typed_func(&mut store, "run").map_err(bad)?;
        Ok(Self { store, run })
    }

    /// Runs it.
    ///
    /// # Errors
    /// `Trap` when it traps.
    pub fn run(&mut self, rounds: u32) -> Result<u32> {
        self.run.call(&mut self.store, rounds).map_err(|error| Error::new(Kind::Trap, error.to_string()))
    }
}
