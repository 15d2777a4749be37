# Perf buffers: the sample shows a file that this check opens.
run_guest /examples/opensnoop.wasm
says "$out" COMM
echo seen >/tmp/a-file-to-see
cat /tmp/a-file-to-see
says "$out" 'cat .*/tmp/a-file-to-see'
end_guest
