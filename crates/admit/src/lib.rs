//! What a Wasm module is, what it asks for, and whether it may run.
