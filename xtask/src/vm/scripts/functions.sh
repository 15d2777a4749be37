# What the checks share; each runs in busybox's shell with -eu.

# says FILE PATTERN: waits until a line of FILE matches; the machine is slow, so the limit is generous.
says() {
    tries=0
    until grep -q -- "$2" "$1" 2>/dev/null; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ]; then
            echo "no line of $1 matches: $2"
            cat "$1"
            return 1
        fi
        sleep 0.1
    done
}

# run_guest ARGUMENT...: `skep run` in the background, with its output in $out and its process in $guest.
run_guest() {
    out=/tmp/out.$$
    skep run --timeout 90s "$@" >"$out" 2>&1 &
    guest=$!
}

# end_guest: asks it to end. A shell without job control lets what it starts in the background ignore Ctrl-C.
end_guest() {
    kill -TERM $guest
    wait $guest || status=$?
    echo "skep ended with ${status:-0}"
    cat "$out"
}

# left_behind: the programs and links that any process holds, a line each; nothing when nothing was left behind.
left_behind() {
    for fdinfo in /proc/[0-9]*/fdinfo/*; do
        grep -H -E '^(prog_id|link_id):' "$fdinfo" 2>/dev/null || true
    done
}
