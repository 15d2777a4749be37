# The WebAssembly suite in the form for kernels without arenas; a machine that is emulated takes a good part of it.
for file in i32 i64 br_table loop call_indirect memory_copy switch; do
    suite "$file" --array
done
