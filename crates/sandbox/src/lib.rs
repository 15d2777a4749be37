//! Wasm guests: engine, limits, module cache, guest memory, worlds.
