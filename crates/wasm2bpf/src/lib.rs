//! A WebAssembly to eBPF compiler.
