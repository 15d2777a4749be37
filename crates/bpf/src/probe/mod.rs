//! What this kernel and this user can do, found out by trying: `skep doctor`.
//!
//! - [`findings`]: everything, in the order of the report
//! - [`Finding`], [`Verdict`], [`Reason`]: the results as data; [`Reason::fix`] says what to do
//! - `programs`, `maps`, `features`: one row of a table for each type, each really loaded or created
//! - `system`: kernel, privileges, settings, file systems
//! - `config`: the options the kernel was built with, where it tells
//!
//! Nothing is attached, nothing stays: each program and map is closed as soon as the kernel has taken it.

mod config;
mod features;
mod maps;
mod programs;
mod reason;
#[allow(unsafe_code)]
mod sys;
mod system;

pub(crate) use system::mount_points;

use crate::privilege::{Capabilities, Capability};
use config::Config;
pub use reason::{Reason, Verdict};

/// One thing that a kernel or a user can or cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The part of the report in which it stands.
    pub area: Area,
    /// What it is, in the words of the eBPF documentation: `fentry`, `ringbuf`, `cgroup2`. Unique within the area.
    pub name: &'static str,
    /// Whether it works, and why not.
    pub verdict: Verdict,
    /// More about it, such as a path or a value; empty when there is nothing more to say.
    pub note: String,
}

/// The parts of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Area {
    /// The kernel and how it was built and started.
    Kernel,
    /// What this process may do.
    Privilege,
    /// File systems that attaching needs.
    Mounts,
    /// Program types; each was loaded.
    Programs,
    /// Map types; one of each was created.
    Maps,
    /// What the verifier and the maps can do beyond that.
    Features,
}

impl Area {
    /// Every area, in the order of the report.
    pub const ALL: [Area; 6] =
        [Area::Kernel, Area::Privilege, Area::Mounts, Area::Programs, Area::Maps, Area::Features];

    /// The area's name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Area::Kernel => "kernel",
            Area::Privilege => "privilege",
            Area::Mounts => "mounts",
            Area::Programs => "programs",
            Area::Maps => "maps",
            Area::Features => "features",
        }
    }
}

/// What the probes share: read once.
struct Surroundings {
    /// The kernel's version, major and minor.
    version: (u32, u32),
    /// Those of this process.
    capabilities: Capabilities,
    /// Lockdown's mode, when it is on.
    lockdown: Option<String>,
    config: Config,
    /// The kernel's type information, when it shows any.
    btf: Option<sys::Btf>,
}

/// Probes everything. Takes a few tenths of a second, most of it for the kernel's type information.
pub fn findings() -> Vec<Finding> {
    let around = Surroundings {
        version: system::version(),
        capabilities: Capabilities::of_this_process(),
        lockdown: system::lockdown(),
        config: Config::of_this_kernel(),
        btf: sys::Btf::of_this_kernel(),
    };
    // libbpf would say in its own words, on stderr, what the findings say.
    let _quiet = sys::Quiet::start();
    let mut findings = system::kernel(&around);
    findings.extend(system::privilege(&around));
    findings.extend(system::mounts());
    findings.extend(programs::probe(&around));
    findings.extend(maps::probe(&around));
    findings.extend(features::probe(&around));
    findings
}

impl Surroundings {
    /// Why an operation failed that first worked in kernel `since` and needs `option` and those capabilities.
    fn reason(&self, errno: crate::Errno, since: (u32, u32), option: &'static str, needed: &[Capability]) -> Reason {
        if matches!(errno.0, libc::EPERM | libc::EACCES) {
            if !self.capabilities.allow_bpf() {
                return Reason::NoPrivilege;
            }
            if let Some(Capability { name, needed_for, .. }) = self.capabilities.lacking(needed) {
                return Reason::NoCapability { name, needed_for };
            }
        }
        if self.version < since {
            return Reason::TooOld { since };
        }
        if errno.0 == libc::EPERM {
            return Reason::Policy { lockdown: self.lockdown.clone() };
        }
        match self.config.is_set(option) {
            Some(false) => Reason::NotBuilt { option, certain: true },
            None if !option.is_empty() && matches!(errno.0, libc::EINVAL | libc::ENOENT | libc::EOPNOTSUPP) => {
                Reason::NotBuilt { option, certain: false }
            }
            _ => Reason::Errno(errno.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_finding_is_named_once_in_its_area() {
        let findings = findings();
        let names: HashSet<_> = findings.iter().map(|finding| (finding.area, finding.name)).collect();
        assert_eq!(names.len(), findings.len());
        for area in Area::ALL {
            assert!(findings.iter().any(|finding| finding.area == area), "nothing about {area:?}");
        }
    }

    #[test]
    fn reasons_depend_on_version_policy_and_configuration() {
        let mut around = Surroundings {
            version: (6, 1),
            capabilities: Capabilities(u64::MAX),
            lockdown: Some("integrity".to_owned()),
            config: Config::parse("CONFIG_BPF=y\n# CONFIG_KPROBES is not set\n"),
            btf: None,
        };
        let eperm = crate::Errno(libc::EPERM);
        let einval = crate::Errno(libc::EINVAL);
        let xdp = crate::privilege::to_load(libbpf_sys::BPF_PROG_TYPE_XDP);
        assert_eq!(around.reason(einval, (6, 4), "", &[]), Reason::TooOld { since: (6, 4) });
        assert_eq!(around.reason(eperm, (5, 5), "", xdp), Reason::Policy { lockdown: Some("integrity".to_owned()) });
        let kprobes = Reason::NotBuilt { option: "CONFIG_KPROBES", certain: true };
        assert_eq!(around.reason(crate::Errno(libc::ENOENT), (4, 1), "CONFIG_KPROBES", &[]), kprobes);
        assert_eq!(around.reason(einval, (4, 1), "CONFIG_BPF", &[]), Reason::Errno(libc::EINVAL));
        // CAP_BPF and CAP_PERFMON.
        around.capabilities = Capabilities(1 << 39 | 1 << 38);
        let reason = around.reason(eperm, (5, 5), "", xdp);
        assert_eq!(reason.code(), "no-capability");
        assert!(reason.to_string().starts_with("CAP_NET_ADMIN is lacking"), "{reason}");
        around.capabilities = Capabilities(0);
        assert_eq!(around.reason(eperm, (6, 4), "", xdp), Reason::NoPrivilege);
    }
}
