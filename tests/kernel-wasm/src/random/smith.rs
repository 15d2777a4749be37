//! Modules of wasm-smith, kept to what the compiler and the wasmtime of this workspace both take.

use arbitrary::Unstructured;

pub(super) fn generate(u: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
    let config = wasm_smith::Config {
        allow_floats: false,
        allow_start_export: false,
        exceptions_enabled: false,
        gc_enabled: false,
        relaxed_simd_enabled: false,
        simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        reference_types_enabled: false,
        wide_arithmetic_enabled: false,
        compact_imports_enabled: false,
        saturating_float_to_int_enabled: false,
        extended_const_enabled: false,
        export_everything: true,
        max_imports: 0,
        min_funcs: 2,
        min_memories: 1,
        max_funcs: 12,
        max_instructions: 200,
        max_globals: 6,
        max_memories: 1,
        max_tables: 1,
        max_table_elements: 64,
        max_data_segments: 4,
        max_element_segments: 4,
        max_memory32_bytes: 16 << 16,
        memory_max_size_required: true,
        table_max_size_required: true,
        memory64_enabled: false,
        custom_page_sizes_enabled: false,
        ..wasm_smith::Config::default()
    };
    let mut module = wasm_smith::Module::new(config, u)?;
    // Most of them would run forever, or recur until there is no stack: a trap of their own ends them.
    if u.ratio(9, 10)? {
        module.ensure_termination(200).map_err(|_| arbitrary::Error::IncorrectFormat)?;
    }
    Ok(module.to_bytes())
}
