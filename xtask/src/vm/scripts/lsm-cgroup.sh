# A security hook of one cgroup sees what a process of it does, and nothing of the others.
mkdir /sys/fs/cgroup/inside /sys/fs/cgroup/outside
attach() {
    sh -c 'echo $$ >/sys/fs/cgroup/"$1"/cgroup.procs && exec skep run --dir /tmp /guests/attach.wasm lsm_cgroup /tmp/made /sys/fs/cgroup/inside' attach "$1"
}
[ "$(attach inside)" = "on_permission 1" ]
[ "$(attach outside)" = "on_permission 0" ]
[ -z "$(left_behind)" ]
rmdir /sys/fs/cgroup/inside /sys/fs/cgroup/outside
