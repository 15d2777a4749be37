/// One thing that must hold inside the virtual machine.
pub(super) struct Check {
    /// Its name, also its file's.
    pub(super) name: &'static str,
    /// The first kernel on which it must hold.
    pub(super) since: (u32, u32),
    /// A script for busybox's shell with `-eu`; exit status 0 passes.
    pub(super) script: &'static str,
}

/// Every check, in the order in which they run.
pub(super) fn all() -> Vec<Check> {
    let check = |name, since, script| Check { name, since, script };
    vec![
        check("doctor", (6, 1), "skep doctor\n"),
        // `skep doctor NAME…` fails if one of them cannot be loaded; here all of them can.
        check("doctor-types", (6, 1), "skep doctor kprobe uprobe fentry fexit fmod_ret freplace lsm tp_btf ringbuf\n"),
        check("doctor-types-6.12", (6, 12), "skep doctor uprobe.multi netfilter arena may_goto\n"),
        check("wasm-suite-array", (6, 1), include_str!("scripts/wasm-suite-array.sh")),
        check("wasm-suite-arena", (6, 12), include_str!("scripts/wasm-suite-arena.sh")),
        check("kprobe", (6, 1), include_str!("scripts/kprobe.sh")),
        check("fentry", (6, 1), include_str!("scripts/fentry.sh")),
        check("kprobe-multi", (6, 12), include_str!("scripts/kprobe-multi.sh")),
        check("lsm-cgroup", (6, 1), include_str!("scripts/lsm-cgroup.sh")),
        check("lsm", (6, 1), include_str!("scripts/lsm.sh")),
        check("bootstrap", (6, 1), include_str!("scripts/bootstrap.sh")),
        check("opensnoop", (6, 1), include_str!("scripts/opensnoop.sh")),
        check("runqlat", (6, 1), include_str!("scripts/runqlat.sh")),
        check("collectors", (6, 1), include_str!("scripts/collectors.sh")),
    ]
}
