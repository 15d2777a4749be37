# Every collector loads and sees something; a process that sleeps all the time is what has not ended.
sleep 1000 &
asleep=$!
skep trace syscall -d 2s --pid $asleep --format jsonl >/tmp/calls
cat /tmp/calls
grep -q 'nanosleep.*"unfinished":true' /tmp/calls
skep profile offcpu -d 2s --pid $asleep --format folded >/tmp/off
cat /tmp/off
grep -q unfinished /tmp/off
kill $asleep
skep trace lock -d 2s --format jsonl >/tmp/locks
while :; do :; done &
busy=$!
skep profile cpu -d 2s --pid $busy --format folded >/tmp/cpu
kill $busy
cat /tmp/cpu
test -s /tmp/cpu
