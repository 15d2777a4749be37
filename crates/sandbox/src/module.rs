//! From bytes to compiled code, through the cache.

use std::time::Instant;

use skep_error::{Error, Kind, Result};

use crate::{
    Engine,
    cache::{Cache, Key},
};

/// A compiled module.
#[derive(Clone)]
pub struct Module {
    inner: wasmtime::Module,
}

impl Module {
    /// Compiles `wasm` when `check` lets it, or takes it from `cache` when both were done before.
    ///
    /// # Errors
    /// What `check` says; `BadInput` when it is no valid module. A cache that cannot be used is logged and done without.
    pub fn load(
        engine: &Engine,
        wasm: &[u8],
        cache: Option<&Cache>,
        check: impl FnOnce(&[u8]) -> Result<()>,
    ) -> Result<Self> {
        Self::load_with(engine, wasm, cache, || {
            check(wasm)?;
            let module = Self::compile(engine, wasm)?;
            match module.inner.resources_required().num_memories {
                0..=1 => Ok(module),
                n => Err(Error::new(Kind::BadInput, format!("the module has {n} memories, and a guest may have one"))
                    .help("build it without multi-memory")),
            }
        })
    }

    /// Compiles a module of the host's own, or takes it from `cache`.
    pub(crate) fn load_own(engine: &Engine, wasm: &[u8], cache: Option<&Cache>) -> Result<Self> {
        Self::load_with(engine, wasm, cache, || Self::compile(engine, wasm))
    }

    fn load_with(
        engine: &Engine,
        wasm: &[u8],
        cache: Option<&Cache>,
        compile: impl FnOnce() -> Result<Self>,
    ) -> Result<Self> {
        let Some(cache) = cache else { return compile() };
        let key = Key::new(engine.wasmtime(), wasm);
        match cache.get(&key) {
            Ok(Some(code)) => match load_compiled(engine, &code) {
                Ok(module) => {
                    tracing::info!("{} bytes of Wasm: compiled before, taken from the cache", wasm.len());
                    return Ok(module);
                }
                Err(error) => tracing::info!("a cached module is not used: {error:#}"),
            },
            Ok(None) => {}
            Err(error) => {
                note(&error);
                return compile();
            }
        }
        let module = compile()?;
        let kept = match module.inner.serialize() {
            Ok(code) => cache.put(&key, &code),
            Err(error) => Err(Error::new(Kind::Internal, format!("{error:#}"))),
        };
        if let Err(error) = kept {
            note(&error);
        }
        Ok(module)
    }

    fn compile(engine: &Engine, wasm: &[u8]) -> Result<Self> {
        let began = Instant::now();
        let inner = wasmtime::Module::from_binary(engine.wasmtime(), wasm)
            .map_err(|error| Error::new(Kind::BadInput, format!("{error:#}")).context("compiling the module"))?;
        tracing::info!("{} bytes of Wasm: compiled in {} ms", wasm.len(), began.elapsed().as_millis());
        Ok(Self { inner })
    }

    /// The module below.
    pub fn wasmtime(&self) -> &wasmtime::Module {
        &self.inner
    }
}

/// A cache that is not safe is worth a warning; one that is not there, as for a user without a home, is not.
fn note(error: &Error) {
    match error.kind() {
        Kind::Refused => tracing::warn!("{}", error.report(0).trim_start_matches("error: ")),
        _ => tracing::info!("{error}"),
    }
}

#[allow(unsafe_code)]
fn load_compiled(engine: &Engine, code: &[u8]) -> wasmtime::Result<Module> {
    // SAFETY: the bytes are those that `serialize` wrote: the cache has checked that none but this user can have written
    // them, and their checksum; wasmtime checks its own version and settings.
    let inner = unsafe { wasmtime::Module::deserialize(engine.wasmtime(), code)? };
    Ok(Module { inner })
}
