#!/usr/bin/env bash
# What `make run` shows: the EXEC and EXIT events of this machine, for ten seconds, by the sample `bootstrap`.
set -euo pipefail
skep=$1
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)

# An idle machine executes nothing for seconds on end, so a few harmless commands run meanwhile; none at the very end, where
# their events would be counted as left unread.
echo "make run: showing this machine's EXEC and EXIT events for ten seconds; 'date' and 'uname' run once a second" >&2
echo "make run: so that there is something to see.${sudo:+ Loading eBPF needs root: sudo may ask for a password.}" >&2
${sudo[0]+"${sudo[@]}" true}
(for _ in 1 2 3 4 5 6 7 8 9; do sleep 1; date; uname; done) >/dev/null 2>&1 &
noise=$!
trap 'kill $noise 2>/dev/null || true' EXIT

status=0
${sudo[0]+"${sudo[@]}"} "$skep" run --timeout 10s examples/bootstrap/bootstrap.wasm || status=$?
# 124 says that the ten seconds are over, which is what was asked for.
[ $status = 124 ] || exit $status
