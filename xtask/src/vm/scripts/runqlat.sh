# Programs of type tp_btf: one second's histogram of the time that tasks wait for the processor.
skep run --timeout 90s /examples/runqlat.wasm 1 1 >/tmp/runqlat.out
cat /tmp/runqlat.out
grep -q -- '-> .* : [1-9]' /tmp/runqlat.out
