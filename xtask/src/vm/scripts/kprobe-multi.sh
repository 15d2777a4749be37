# Links to many functions at once, by pattern and by names, run and are gone afterwards.
skep run --dir /tmp /guests/attach.wasm multi /tmp/made do_mkdirat,do_rmdir >/tmp/multi.out
cat /tmp/multi.out
[ "$(cat /tmp/multi.out)" = "on_pattern 1
on_return 1
on_names 2" ]
[ -z "$(left_behind)" ]
