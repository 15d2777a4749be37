# The sample's LSM program refuses what it is there to refuse, and nothing once its guest is gone.
mkdir /tmp/keep-me /tmp/other
run_guest /examples/lsm.wasm
says "$out" VERDICT
if rmdir /tmp/keep-me; then
    echo "rmdir was not refused"
    exit 1
fi
rmdir /tmp/other
says "$out" 'refused *keep-me'
says "$out" 'allowed *other'
end_guest
rmdir /tmp/keep-me
[ -z "$(left_behind)" ]
