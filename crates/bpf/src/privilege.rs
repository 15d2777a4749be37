//! The capabilities of this process, and those that the kernel asks for by what is loaded: `map_create` and
//! `bpf_prog_load` in its `kernel/bpf/syscall.c`, since Linux 5.8.

use libbpf_rs::OpenObject;
use libbpf_sys::*;

/// A capability, as `capabilities(7)` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capability {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    /// What cannot be done without it.
    pub(crate) needed_for: &'static str,
}

const fn capability(number: u32, name: &'static str, needed_for: &'static str) -> Capability {
    Capability { number, name, needed_for }
}

const CAP_BPF: Capability = capability(39, "CAP_BPF", "loading programs and creating maps");
const CAP_PERFMON: Capability = capability(38, "CAP_PERFMON", "tracing programs");
const CAP_NET_ADMIN: Capability = capability(12, "CAP_NET_ADMIN", "network and cgroup programs");
pub(crate) const CAP_SYS_ADMIN: Capability =
    capability(21, "CAP_SYS_ADMIN", "some of all of these, and entering namespaces");
pub(crate) const CAP_SYS_RESOURCE: Capability =
    capability(24, "CAP_SYS_RESOURCE", "raising the limit on locked memory, before Linux 5.11 only");

/// All that are of use to Skep, in the order of the report.
pub(crate) const ALL: &[Capability] = &[
    CAP_BPF,
    CAP_PERFMON,
    CAP_NET_ADMIN,
    CAP_SYS_ADMIN,
    capability(19, "CAP_SYS_PTRACE", "symbols and files of other users' processes"),
    capability(34, "CAP_SYSLOG", "addresses of the kernel's functions"),
    CAP_SYS_RESOURCE,
];

/// What to do about a capability that lacks.
pub(crate) fn fix(name: &str) -> String {
    format!("run it with sudo, or give the container or service {name}")
}

impl Capability {
    /// That it lacks, in one line.
    pub(crate) fn lack(self) -> String {
        format!("{} is lacking; needed for {}", self.name, self.needed_for)
    }

    /// Whether CAP_SYS_ADMIN stands in for it everywhere, as it was split off from that.
    fn split_off(self) -> bool {
        matches!(self, CAP_BPF | CAP_PERFMON)
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capabilities(pub(crate) u64);

impl Capabilities {
    /// The effective ones of this process.
    pub(crate) fn of_this_process() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self(effective(&status).unwrap_or(0))
    }

    /// Whether it is among them, or one is that it was split off from.
    pub(crate) fn have(self, capability: Capability) -> bool {
        let has = |capability: Capability| self.0 & (1 << capability.number) != 0;
        has(capability) || capability.split_off() && has(CAP_SYS_ADMIN)
    }

    /// Whether bpf(2) may be used at all.
    pub(crate) fn allow_bpf(self) -> bool {
        self.have(CAP_BPF)
    }

    /// The first of those needed that eBPF would not find. It takes CAP_SYS_ADMIN for any.
    pub(crate) fn lacking(self, needed: &[Capability]) -> Option<Capability> {
        needed.iter().copied().find(|capability| !self.have(*capability) && !self.have(CAP_SYS_ADMIN))
    }
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// What loading a program of that type takes.
pub(crate) fn to_load(program_type: u32) -> &'static [Capability] {
    match program_type {
        BPF_PROG_TYPE_SCHED_CLS
        | BPF_PROG_TYPE_SCHED_ACT
        | BPF_PROG_TYPE_XDP
        | BPF_PROG_TYPE_LWT_IN
        | BPF_PROG_TYPE_LWT_OUT
        | BPF_PROG_TYPE_LWT_XMIT
        | BPF_PROG_TYPE_LWT_SEG6LOCAL
        | BPF_PROG_TYPE_SK_SKB
        | BPF_PROG_TYPE_SK_MSG
        | BPF_PROG_TYPE_LIRC_MODE2
        | BPF_PROG_TYPE_FLOW_DISSECTOR
        | BPF_PROG_TYPE_CGROUP_DEVICE
        | BPF_PROG_TYPE_CGROUP_SOCK
        | BPF_PROG_TYPE_CGROUP_SOCK_ADDR
        | BPF_PROG_TYPE_CGROUP_SOCKOPT
        | BPF_PROG_TYPE_CGROUP_SYSCTL
        | BPF_PROG_TYPE_SOCK_OPS
        | BPF_PROG_TYPE_NETFILTER => &[CAP_BPF, CAP_NET_ADMIN],
        BPF_PROG_TYPE_EXT => &[CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON],
        BPF_PROG_TYPE_KPROBE
        | BPF_PROG_TYPE_TRACEPOINT
        | BPF_PROG_TYPE_PERF_EVENT
        | BPF_PROG_TYPE_RAW_TRACEPOINT
        | BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE
        | BPF_PROG_TYPE_TRACING
        | BPF_PROG_TYPE_LSM
        | BPF_PROG_TYPE_STRUCT_OPS => &[CAP_BPF, CAP_PERFMON],
        _ => &[CAP_BPF],
    }
}

/// What attaching one takes: some load without what their place needs.
pub(crate) fn to_attach(program_type: u32) -> &'static [Capability] {
    match program_type {
        BPF_PROG_TYPE_CGROUP_SKB | BPF_PROG_TYPE_SK_LOOKUP => &[CAP_BPF, CAP_NET_ADMIN],
        other => to_load(other),
    }
}

/// What creating a map of that type takes.
pub(crate) fn to_create(map_type: u32) -> &'static [Capability] {
    match map_type {
        BPF_MAP_TYPE_DEVMAP
        | BPF_MAP_TYPE_DEVMAP_HASH
        | BPF_MAP_TYPE_XSKMAP
        | BPF_MAP_TYPE_SOCKMAP
        | BPF_MAP_TYPE_SOCKHASH => &[CAP_BPF, CAP_NET_ADMIN],
        _ => &[CAP_BPF],
    }
}

/// The capabilities that this process lacks for the parts of an object.
pub(crate) struct Lacking {
    programs: Vec<(String, Capability)>,
    map: Option<Capability>,
}

impl Lacking {
    pub(crate) fn of(object: &OpenObject) -> Self {
        let own = Capabilities::of_this_process();
        let programs = object.progs().filter_map(|program| {
            let capability = own.lacking(to_load(program.prog_type() as u32))?;
            Some((program.name().to_string_lossy().into_owned(), capability))
        });
        let programs = programs.collect();
        let map = object.maps().find_map(|map| own.lacking(to_create(map.map_type() as u32)));
        Self { programs, map }
    }

    /// The one for the program that failed, or for a map where none was loaded yet.
    pub(crate) fn for_program(&self, failed: Option<&str>) -> Option<Capability> {
        let Some(failed) = failed else { return self.map };
        self.programs.iter().find(|(name, _)| name == failed).map(|(_, capability)| *capability)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const LACKING: Capability = CAP_NET_ADMIN;

    #[test]
    fn the_kernel_asks_for_each_capability_by_type() {
        let some = Capabilities(1 << CAP_BPF.number | 1 << CAP_PERFMON.number);
        assert!(some.allow_bpf());
        assert_eq!(some.lacking(to_load(BPF_PROG_TYPE_XDP)), Some(CAP_NET_ADMIN));
        assert_eq!(some.lacking(to_load(BPF_PROG_TYPE_TRACING)), None);
        assert_eq!(some.lacking(to_load(BPF_PROG_TYPE_CGROUP_SKB)), None);
        assert_eq!(some.lacking(to_attach(BPF_PROG_TYPE_CGROUP_SKB)), Some(CAP_NET_ADMIN));
        assert_eq!(some.lacking(to_create(BPF_MAP_TYPE_SOCKMAP)), Some(CAP_NET_ADMIN));
        assert_eq!(some.lacking(to_create(BPF_MAP_TYPE_CPUMAP)), None);
        assert_eq!(Capabilities(1 << CAP_BPF.number).lacking(to_load(BPF_PROG_TYPE_KPROBE)), Some(CAP_PERFMON));
        assert_eq!(Capabilities(1 << CAP_SYS_ADMIN.number).lacking(to_load(BPF_PROG_TYPE_EXT)), None);
        assert!(!Capabilities(1 << CAP_NET_ADMIN.number).allow_bpf());
    }

    #[test]
    fn capabilities_are_read_from_the_effective_set() {
        assert_eq!(effective("CapInh:\t0\nCapEff:\t000001fffeffffff\n"), Some(0x1ff_feff_ffff));
        assert_eq!(effective("nothing"), None);
    }
}
