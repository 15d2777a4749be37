# fentry, fexit and fmod_ret attach, run once each, and are gone afterwards.
skep run --dir /tmp /guests/attach.wasm fentry /tmp/made >/tmp/fentry.out
cat /tmp/fentry.out
[ "$(cat /tmp/fentry.out)" = "on_entry 1
on_return 1
on_permission 1" ]
[ -z "$(left_behind)" ]
