# The sample shows the start and the end of a process that this check makes.
run_guest /examples/bootstrap.wasm
says "$out" FILENAME
cp /bin/busybox /tmp/busybox
/tmp/busybox true
says "$out" 'EXEC .*/tmp/busybox'
says "$out" 'EXIT *busybox'
end_guest
[ -z "$(left_behind)" ]
