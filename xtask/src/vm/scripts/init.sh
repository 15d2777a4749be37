#!/bin/busybox sh
# Process 1 of the virtual machine. Lines that start with "skep-vm:" are for the host to read.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t tracefs tracing /sys/kernel/tracing
mount -t securityfs security /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
echo "skep-vm: boot $(uname -r)"
while read -r check; do
    echo "skep-vm: check $check"
    # In a subshell with its own output, so that a failing check's own words stand in the console.
    sh -eu -c '. /functions.sh; . "/checks/$1"' check "$check" </dev/null 2>&1
    echo "skep-vm: result $check $?"
done </checks.list
echo "skep-vm: done"
poweroff -f
