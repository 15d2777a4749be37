use std::{fmt, io};

use crate::privilege;

/// Whether something works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Works,
    /// It is there, but not all of it.
    Limited(Reason),
    /// It does not work.
    Fails(Reason),
}

impl Verdict {
    /// The verdict's name in reports: `yes`, `partly` or `no`.
    pub const fn name(&self) -> &'static str {
        match self {
            Verdict::Works => "yes",
            Verdict::Limited(_) => "partly",
            Verdict::Fails(_) => "no",
        }
    }

    /// Why it does not work, or not wholly.
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Verdict::Works => None,
            Verdict::Limited(reason) | Verdict::Fails(reason) => Some(reason),
        }
    }
}

/// Why something does not work. `Display` says it in one line, [`Reason::fix`] what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// This process lacks the privilege for any of it.
    NoPrivilege,
    /// This process lacks one capability.
    NoCapability {
        /// The capability, as `capabilities(7)` calls it.
        name: &'static str,
        /// What cannot be done without it.
        needed_for: &'static str,
    },
    /// The privilege is there and the kernel says EPERM all the same, before its verifier has looked at the program.
    Policy {
        /// Lockdown's mode, when it is on and can be read.
        lockdown: Option<String>,
    },
    /// The kernel is older than what was asked for.
    TooOld {
        /// The first version that has it, major and minor.
        since: (u32, u32),
    },
    /// The kernel was built without it.
    NotBuilt {
        /// The option, `CONFIG_…`.
        option: &'static str,
        /// The kernel's configuration says so; otherwise it is the likeliest cause.
        certain: bool,
    },
    /// The kernel's LSM list lacks `bpf`: programs load and are never called.
    LsmNotActive {
        /// The list, when it can be read.
        active: Option<String>,
    },
    /// A file system is not mounted.
    NotMounted {
        /// Its type, as `mount -t` takes it.
        fstype: &'static str,
        /// Where it belongs.
        at: &'static str,
    },
    /// A `sysctl` has a value that costs speed or hides something.
    Setting {
        /// The setting, as `sysctl` takes it.
        key: &'static str,
        /// Its value now.
        value: String,
        /// The value that helps.
        better: &'static str,
        /// What the present value means.
        means: &'static str,
    },
    /// Locked memory is limited and cannot be raised.
    Memlock {
        /// The limit in bytes.
        bytes: u64,
    },
    /// Something else; the error number.
    Errno(i32),
}

impl Reason {
    /// The reason's name in machine-readable reports.
    pub const fn code(&self) -> &'static str {
        match self {
            Reason::NoPrivilege => "no-privilege",
            Reason::NoCapability { .. } => "no-capability",
            Reason::Policy { .. } => "policy",
            Reason::TooOld { .. } => "kernel-too-old",
            Reason::NotBuilt { .. } => "not-built",
            Reason::LsmNotActive { .. } => "lsm-not-active",
            Reason::NotMounted { .. } => "not-mounted",
            Reason::Setting { .. } => "setting",
            Reason::Memlock { .. } => "memlock",
            Reason::Errno(_) => "errno",
        }
    }

    /// What a person can do about it; `None` when nothing is known to help.
    pub fn fix(&self) -> Option<String> {
        Some(match self {
            Reason::NoPrivilege => "run it with sudo".to_owned(),
            Reason::NoCapability { name, .. } => privilege::fix(name),
            Reason::Policy { lockdown: Some(mode) } if mode == "confidentiality" => {
                "boot with lockdown=integrity or none".to_owned()
            }
            Reason::Policy { .. } => "use another type of program, or a kernel whose policy allows it".to_owned(),
            Reason::TooOld { since: (major, minor) } => format!("use Linux {major}.{minor} or newer"),
            Reason::NotBuilt { option, .. } => format!("use a kernel built with {option}=y"),
            Reason::LsmNotActive { active } => match active {
                Some(active) => format!("boot with lsm={active},bpf on the kernel's command line"),
                None => "add bpf to lsm= on the kernel's command line".to_owned(),
            },
            Reason::NotMounted { fstype, at } => format!("sudo mount -t {fstype} {fstype} {at}"),
            Reason::Setting { key, better, .. } => format!("sudo sysctl -w {key}={better}"),
            Reason::Memlock { .. } => "ulimit -l unlimited".to_owned(),
            Reason::Errno(_) => return None,
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NoPrivilege => f.write_str("needs root or CAP_BPF"),
            Reason::NoCapability { name, needed_for } => write!(f, "{name} is lacking; needed for {needed_for}"),
            Reason::Policy { lockdown } => {
                f.write_str("refused by the kernel's policy (EPERM, no word from the verifier")?;
                match lockdown {
                    Some(mode) => write!(f, "; lockdown: {mode})"),
                    None => f.write_str(")"),
                }
            }
            Reason::TooOld { since: (major, minor) } => write!(f, "since Linux {major}.{minor}"),
            Reason::NotBuilt { option, certain: true } => write!(f, "{option} is not set"),
            Reason::NotBuilt { option, certain: false } => write!(f, "{option} is probably not set"),
            Reason::LsmNotActive { active: Some(active) } => write!(f, "active: {active}; bpf is not"),
            Reason::LsmNotActive { active: None } => f.write_str("bpf is not among the active security modules"),
            Reason::NotMounted { fstype, .. } => write!(f, "no {fstype} is mounted"),
            Reason::Setting { value, means, .. } => write!(f, "{value}: {means}"),
            Reason::Memlock { bytes } => write!(f, "{} KiB, and it cannot be raised", bytes / 1024),
            Reason::Errno(errno) => io::Error::from_raw_os_error(*errno).fmt(f),
        }
    }
}
