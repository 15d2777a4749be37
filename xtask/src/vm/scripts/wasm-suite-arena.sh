# The WebAssembly suite in an arena.
for file in i32 i64 br_table loop call_indirect memory_copy switch; do
    suite "$file"
done
