# kprobe, kretprobe, ksyscall and kretsyscall attach, run once each, and are gone afterwards.
skep run --dir /tmp /guests/attach.wasm kprobe /tmp/made >/tmp/kprobe.out
cat /tmp/kprobe.out
[ "$(cat /tmp/kprobe.out)" = "on_entry 1
on_return 1
on_syscall 1
on_result 1" ]
[ -z "$(left_behind)" ]
