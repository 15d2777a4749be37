use std::{fs, path::Path};

use super::{Area, Finding, Reason, Surroundings, Verdict, sys};
use crate::privilege::{self, CAP_SYS_RESOURCE, Capability};

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The running kernel's version, major and minor.
pub(super) fn version() -> (u32, u32) {
    parse_version(&sys::uname().0)
}

fn parse_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Lockdown's mode, when it is on and securityfs tells.
pub(super) fn lockdown() -> Option<String> {
    let modes = read("/sys/kernel/security/lockdown")?;
    let mode = modes.split('[').nth(1)?.split(']').next()?.to_owned();
    (mode != "none").then_some(mode)
}

/// The active security modules, separated by commas, when securityfs tells.
pub(super) fn active_lsms() -> Option<String> {
    read("/sys/kernel/security/lsm")
}

/// Kernel version, type information, JIT, policies.
pub(super) fn kernel(around: &Surroundings) -> Vec<Finding> {
    let find = |name, verdict, note: String| Finding { area: Area::Kernel, name, verdict, note };
    let (release, machine) = sys::uname();
    let floor = (5, 8);
    let old = around.version < floor;
    let version = if old { Verdict::Limited(Reason::TooOld { since: floor }) } else { Verdict::Works };
    let btf = match fs::metadata("/sys/kernel/btf/vmlinux") {
        Ok(meta) => find("BTF", Verdict::Works, format!("/sys/kernel/btf/vmlinux, {:.1} MB", meta.len() as f64 / 1e6)),
        Err(_) => {
            let option = "CONFIG_DEBUG_INFO_BTF";
            let certain = around.config.is_set(option) == Some(false);
            find("BTF", Verdict::Fails(Reason::NotBuilt { option, certain }), String::new())
        }
    };
    let configuration = match &around.config.path {
        Some(path) => path.display().to_string(),
        None => "not shown by this kernel; reasons below are the likeliest ones".to_owned(),
    };
    let unprivileged = match read("/proc/sys/kernel/unprivileged_bpf_disabled").as_deref() {
        Some("0") => "0: anyone may load socket filters",
        Some("1") => "1: root only, until the next boot",
        Some("2") => "2: root only, until an administrator allows it",
        _ => "not known",
    };
    vec![
        find("version", version, format!("Linux {release} {machine}")),
        btf,
        find("configuration", Verdict::Works, configuration),
        jit(around),
        jit_hardening(),
        find("lockdown", told_by_securityfs(), lockdown_note()),
        find("security modules", told_by_securityfs(), active_lsms().unwrap_or_default()),
        find("unprivileged", Verdict::Works, unprivileged.to_owned()),
        kptr_restrict(),
    ]
}

/// securityfs alone tells the state of the security modules.
fn told_by_securityfs() -> Verdict {
    match active_lsms() {
        Some(_) => Verdict::Works,
        None => Verdict::Limited(Reason::NotMounted { fstype: "securityfs", at: "/sys/kernel/security" }),
    }
}

fn lockdown_note() -> String {
    match lockdown() {
        Some(mode) => mode,
        None if Path::new("/sys/kernel/security/lockdown").exists() => "none".to_owned(),
        None if active_lsms().is_some() => "not built into this kernel".to_owned(),
        None => String::new(),
    }
}

fn jit(around: &Surroundings) -> Finding {
    let (verdict, note) = match read("/proc/sys/net/core/bpf_jit_enable").as_deref() {
        Some("0") => {
            let means = "the kernel interprets eBPF; tracing by fentry needs its compiler";
            let key = "net.core.bpf_jit_enable";
            (Verdict::Limited(Reason::Setting { key, value: "0".to_owned(), better: "1", means }), String::new())
        }
        Some(value) => (Verdict::Works, format!("net.core.bpf_jit_enable = {value}")),
        None if around.config.is_set("CONFIG_BPF_JIT") == Some(false) => {
            (Verdict::Limited(Reason::NotBuilt { option: "CONFIG_BPF_JIT", certain: true }), String::new())
        }
        None => (Verdict::Works, "not shown in this network namespace".to_owned()),
    };
    Finding { area: Area::Kernel, name: "JIT", verdict, note }
}

fn jit_hardening() -> Finding {
    let value = read("/proc/sys/net/core/bpf_jit_harden");
    let verdict = match value.as_deref() {
        Some("2") => Verdict::Limited(Reason::Setting {
            key: "net.core.bpf_jit_harden",
            value: "2".to_owned(),
            better: "1",
            means: "programs of root are blinded too, and slower",
        }),
        _ => Verdict::Works,
    };
    let note = match (&verdict, value) {
        (Verdict::Works, Some(value)) => format!("net.core.bpf_jit_harden = {value}"),
        (Verdict::Works, None) => "not shown to this user".to_owned(),
        _ => String::new(),
    };
    Finding { area: Area::Kernel, name: "JIT hardening", verdict, note }
}

fn kptr_restrict() -> Finding {
    let value = read("/proc/sys/kernel/kptr_restrict").unwrap_or_default();
    let verdict = if value == "2" {
        let means = "addresses of the kernel's functions are hidden from root, so its frames have no names";
        Verdict::Limited(Reason::Setting { key: "kernel.kptr_restrict", value: value.clone(), better: "1", means })
    } else {
        Verdict::Works
    };
    let note = if verdict == Verdict::Works { format!("kernel.kptr_restrict = {value}") } else { String::new() };
    Finding { area: Area::Kernel, name: "kernel symbols", verdict, note }
}

/// Capabilities, and the limit on locked memory.
pub(super) fn privilege(around: &Surroundings) -> Vec<Finding> {
    let mut findings: Vec<Finding> = privilege::ALL
        .iter()
        .map(|&capability| {
            let Capability { name, needed_for, .. } = capability;
            let unused = capability == CAP_SYS_RESOURCE && around.version >= (5, 11);
            let verdict = match (around.capabilities.have(capability), unused) {
                (true, _) => Verdict::Works,
                (false, true) => Verdict::Limited(Reason::NoCapability { name, needed_for }),
                (false, false) => Verdict::Fails(Reason::NoCapability { name, needed_for }),
            };
            Finding { area: Area::Privilege, name, verdict, note: needed_for.to_owned() }
        })
        .collect();
    findings.push(memlock(around, around.capabilities.have(CAP_SYS_RESOURCE)));
    findings
}

fn memlock(around: &Surroundings, may_raise: bool) -> Finding {
    let limits = read("/proc/self/limits").unwrap_or_default();
    let soft = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))
        .and_then(|rest| rest.split_whitespace().next())
        .unwrap_or("unknown");
    let (verdict, note) = match soft.parse::<u64>() {
        Ok(bytes) if around.version < (5, 11) && !may_raise => {
            (Verdict::Fails(Reason::Memlock { bytes }), String::new())
        }
        Ok(bytes) if around.version < (5, 11) => (Verdict::Works, format!("{} KiB, raised on demand", bytes / 1024)),
        Ok(bytes) => (Verdict::Works, format!("{} KiB; maps count against the cgroup's memory instead", bytes / 1024)),
        Err(_) => (Verdict::Works, soft.to_owned()),
    };
    Finding { area: Area::Privilege, name: "memlock", verdict, note }
}

/// Name and type of a file system, where it belongs, and what needs it.
const MOUNTS: &[(&str, &str, &str, &str)] = &[
    ("cgroup2", "cgroup2", "/sys/fs/cgroup", "programs of control groups"),
    ("tracefs", "tracefs", "/sys/kernel/tracing", "tracepoints, and kprobes of old kernels"),
    ("bpffs", "bpf", "/sys/fs/bpf", "pinned maps and programs"),
    ("securityfs", "securityfs", "/sys/kernel/security", "the state of lockdown and of the security modules"),
];

/// The file systems that attaching or diagnosing needs.
pub(super) fn mounts() -> Vec<Finding> {
    let table = read("/proc/self/mountinfo").unwrap_or_default();
    MOUNTS
        .iter()
        .map(|&(name, fstype, at, used_for)| {
            let (verdict, note) = match mounted(&table, fstype) {
                Some(at) => (Verdict::Works, format!("{at}: {used_for}")),
                None => (Verdict::Fails(Reason::NotMounted { fstype, at }), used_for.to_owned()),
            };
            Finding { area: Area::Mounts, name, verdict, note }
        })
        .collect()
}

/// The mount point of the first file system of a type; see [`mount_points`].
fn mounted(table: &str, fstype: &str) -> Option<String> {
    mount_points(table, fstype).next()
}

/// The mount points of a type of file system, from the text of `mountinfo` (`proc_pid_mountinfo(5)`).
pub(crate) fn mount_points(table: &str, fstype: &str) -> impl Iterator<Item = String> {
    table.lines().filter_map(move |line| {
        let (mount, source) = line.split_once(" - ")?;
        (source.split(' ').next()? == fstype).then(|| unescape(mount.split(' ').nth(4).unwrap_or_default()))
    })
}

/// Spaces and the like stand there as `\040`.
fn unescape(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = rest.get(1..4).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_any_distribution_s_release() {
        assert_eq!(parse_version("6.12.95+deb12-amd64"), (6, 12));
        assert_eq!(parse_version("6.1.0-56-amd64"), (6, 1));
        assert_eq!(parse_version("6.18-rc1"), (6, 18));
        assert_eq!(parse_version(""), (0, 0));
    }

    #[test]
    fn mounts_are_found_wherever_they_are() {
        let table = "30 20 0:26 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n\
                     31 20 0:27 / /mnt/with\\040space rw - tracefs none rw\n";
        assert_eq!(mounted(table, "cgroup2").as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(mounted(table, "tracefs").as_deref(), Some("/mnt/with space"));
        assert_eq!(mounted(table, "bpf"), None);
        assert_eq!(mounted("broken line", "bpf"), None);
    }
}
