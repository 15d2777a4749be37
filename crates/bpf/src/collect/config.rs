use std::{
    ffi::OsString,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::PathBuf,
    time::Duration,
};

use skep_error::{Error, Kind, Result, ResultExt as _};

use crate::probe::mount_points;

/// Bits of `flags`: `enum skep_config_flags`.
mod flag {
    pub(super) const AGGREGATE: u32 = 1;
    pub(super) const USER_STACKS: u32 = 2;
    pub(super) const KERNEL_STACKS: u32 = 4;
    pub(super) const ARGS: u32 = 8;
    pub(super) const STOPPED: u32 = 16;
    pub(super) const BY_COMM: u32 = 32;
    pub(super) const BY_SYSCALL: u32 = 64;
    pub(super) const SLOTS: u32 = 128;
}

/// Whom a collector looks at, and what it brings.
#[derive(Clone, Debug)]
pub struct CollectorOptions {
    /// Samples a second, of the CPU collector.
    pub frequency: u32,
    /// All threads of this process only.
    pub pid: Option<u32>,
    /// Processes below this directory of cgroup v2 only.
    pub cgroup: Option<PathBuf>,
    /// Threads of exactly this name only, 15 bytes at most.
    pub comm: Option<OsString>,
    /// These system calls only, by number; all if empty.
    pub syscalls: Vec<u32>,
    /// Waits and calls that took at least this long only.
    pub min_duration: Duration,
    /// Stacks of user space.
    pub user_stacks: bool,
    /// Stacks of the kernel.
    pub kernel_stacks: bool,
    /// Arguments of system calls.
    pub arguments: bool,
    /// What is added up in the kernel.
    pub sums: Sums,
}

/// What is added up in the kernel, where that is enough. A record then stands for many events, and its times are their sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sums {
    /// Nothing: each event is a record.
    #[default]
    None,
    /// Events of the same thread, stacks, lock and system call.
    Stacks,
    /// Events of the same process, name, system call, and power of two of the time: what a histogram shows.
    Slots,
}

impl Default for CollectorOptions {
    /// The whole machine at 99 Hz, stacks of both sides, every event on its own.
    fn default() -> Self {
        Self {
            frequency: 99,
            pid: None,
            cgroup: None,
            comm: None,
            syscalls: Vec::new(),
            min_duration: Duration::ZERO,
            user_stacks: true,
            kernel_stacks: true,
            arguments: false,
            sums: Sums::None,
        }
    }
}

/// `struct skep_config` of `gadgets/include/skep_collect.bpf.h`, byte by byte.
#[derive(Clone, Debug)]
pub(super) struct Config {
    bytes: [u8; SIZE],
}

const SIZE: usize = 144;

/// Offsets of its members.
mod at {
    pub(super) const FLAGS: usize = 0;
    pub(super) const PID: usize = 4;
    pub(super) const SELF: usize = 8;
    pub(super) const ACTIVE: usize = 12;
    pub(super) const CGROUP: usize = 16;
    pub(super) const CGROUP_LEVEL: usize = 24;
    pub(super) const FUTEX: usize = 28;
    pub(super) const FUTEX_WAITV: usize = 32;
    pub(super) const FUTEX_WAIT: usize = 36;
    pub(super) const MIN_NS: usize = 40;
    pub(super) const COMM: usize = 48;
    pub(super) const SYSCALLS: usize = 64;
    pub(super) const PID_NS: usize = 128;
    pub(super) const BEGIN: usize = 136;
}

/// The numbers of futex, futex_waitv and futex_wait on this architecture.
const FUTEX_CALLS: [u32; 3] = if cfg!(target_arch = "x86_64") { [202, 449, 455] } else { [98, 449, 455] };
/// Numbers that the map of wanted system calls has room for.
const SYSCALLS: u32 = 512;

impl Config {
    /// The bytes for those options.
    ///
    /// # Errors
    /// `NotFound` if there is no such process or cgroup; `Usage` for a name or a number that cannot be.
    pub(super) fn new(options: &CollectorOptions) -> Result<Self> {
        let mut config = Self { bytes: [0; SIZE] };
        let mut flags = 0;
        for (wanted, flag) in [
            (options.sums != Sums::None, flag::AGGREGATE),
            (options.sums == Sums::Slots, flag::SLOTS),
            (options.user_stacks, flag::USER_STACKS),
            (options.kernel_stacks, flag::KERNEL_STACKS),
            (options.arguments, flag::ARGS),
            (options.comm.is_some(), flag::BY_COMM),
            (!options.syscalls.is_empty(), flag::BY_SYSCALL),
        ] {
            flags |= if wanted { flag } else { 0 };
        }
        config.set_u32(at::FLAGS, flags);
        config.set_u32(at::SELF, std::process::id());
        config.set_u32(at::PID_NS, pid_namespace()?.unwrap_or(0));
        for (offset, number) in [at::FUTEX, at::FUTEX_WAITV, at::FUTEX_WAIT].into_iter().zip(FUTEX_CALLS) {
            config.set_u32(offset, number);
        }
        config.set_u64(at::MIN_NS, options.min_duration.as_nanos().try_into().unwrap_or(u64::MAX));
        if let Some(pid) = options.pid {
            let process = process_of(pid)?;
            if process != pid {
                tracing::warn!("{pid} is a thread of process {process}: all threads of {process} are looked at");
            }
            config.set_u32(at::PID, process);
        }
        if let Some(comm) = &options.comm {
            if comm.is_empty() || comm.len() > 15 {
                let text = format!("\"{}\" cannot be a thread's name", comm.display());
                return Err(Error::new(Kind::Usage, text).help("the kernel keeps 1 to 15 bytes of it"));
            }
            config.bytes[at::COMM..at::COMM + comm.len()].copy_from_slice(comm.as_bytes());
        }
        for &number in &options.syscalls {
            if number >= SYSCALLS {
                return Err(Error::new(Kind::Unsupported, format!("system call {number} cannot be chosen")));
            }
            config.bytes[at::SYSCALLS + number as usize / 8] |= 1 << (number % 8);
        }
        if let Some(path) = &options.cgroup {
            let (id, level) = cgroup(path)?;
            config.set_u64(at::CGROUP, id);
            config.set_u32(at::CGROUP_LEVEL, level);
        }
        Ok(config)
    }

    /// The process that is looked at, if it is one.
    pub(super) fn pid(&self) -> Option<u32> {
        let pid = u32::from_le_bytes(self.bytes[at::PID..at::PID + 4].try_into().unwrap_or_default());
        (pid != 0).then_some(pid)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All of the collector is attached: what is under way now began no later.
    pub(super) fn begin(&mut self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        self.set_u64(at::BEGIN, now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64);
    }

    /// Which count map is written to.
    pub(super) fn set_active(&mut self, active: u32) {
        self.set_u32(at::ACTIVE, active);
    }

    /// Nothing more is collected.
    pub(super) fn stop(&mut self) {
        let flags = u32::from_le_bytes([self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3]]);
        self.set_u32(at::FLAGS, flags | flag::STOPPED);
    }

    fn set_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn set_u64(&mut self, at: usize, value: u64) {
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
}

/// The inode of this process's pid namespace; `None` for the first one of all, whose numbers programs see without being told.
///
/// # Errors
/// `Unsupported` if `/proc` shows another namespace's processes: numbers and symbols would be those of strangers.
fn pid_namespace() -> Result<Option<u32>> {
    /// `PROC_PID_INIT_INO` of the kernel.
    const FIRST: u64 = 0xefff_fffc;
    let inode = std::fs::metadata("/proc/self/ns/pid").context(|| "looking at this process's pid namespace")?.ino();
    let shown = std::fs::read_link("/proc/self").context(|| "looking at /proc/self")?;
    if shown.as_os_str() != std::process::id().to_string().as_str() {
        return Err(Error::new(Kind::Unsupported, "/proc shows the processes of another pid namespace than this one")
            .help("mount it anew: mount -t proc proc /proc (unshare has --mount-proc)"));
    }
    Ok((inode != FIRST).then_some(inode as u32))
}

/// Whether a thread of the process runs still. One that has ended is there until its parent has asked for its status.
pub(super) fn process_lives(pid: u32) -> bool {
    let ended = |stat: PathBuf| {
        // The state stands behind the name, which may hold anything but ends with the last parenthesis.
        let text = std::fs::read(stat).unwrap_or_default();
        let state = text.iter().rposition(|&byte| byte == b')').and_then(|at| text.get(at + 2).copied());
        matches!(state, None | Some(b'Z' | b'X'))
    };
    let process = PathBuf::from(format!("/proc/{pid}"));
    if !ended(process.join("stat")) {
        return true;
    }
    // The first thread may have ended before the others.
    let threads = std::fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    threads.into_iter().any(|thread| !ended(thread.path().join("stat")))
}

/// The process that a number means: `/proc` has an entry for that of any thread, too.
fn process_of(number: u32) -> Result<u32> {
    let gone = || Error::new(Kind::NotFound, format!("there is no process {number}"));
    let status = match std::fs::read_to_string(format!("/proc/{number}/status")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(gone()),
        status => status.context(|| format!("looking for process {number}"))?,
    };
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok()).ok_or_else(gone)?;
    if !process_lives(process) {
        return Err(Error::new(
            Kind::NotFound,
            format!("process {process} has ended; its parent has not waited for it yet"),
        ));
    }
    Ok(process)
}

/// A cgroup's id, which is its directory's inode, and how deep it lies below the root of cgroup v2.
fn cgroup(path: &std::path::Path) -> Result<(u64, u32)> {
    let doing = || format!("looking at cgroup {}", path.display());
    let path = path.canonicalize().context(doing)?;
    let table = std::fs::read_to_string("/proc/self/mountinfo").context(|| "reading the mounts")?;
    let root =
        mount_points(&table, "cgroup2").map(PathBuf::from).find(|root| path.starts_with(root)).ok_or_else(|| {
            Error::new(Kind::NotFound, "it is not below a mount of cgroup v2")
                .context(doing())
                .help("give a directory below it, such as /sys/fs/cgroup/system.slice")
        })?;
    let metadata = path.metadata().context(doing)?;
    if !metadata.is_dir() {
        return Err(Error::new(Kind::BadInput, "it is no directory").context(doing()));
    }
    let level = path.strip_prefix(&root).map_or(0, |below| below.components().count());
    Ok((metadata.ino(), level as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_the_bytes_that_the_programs_read() {
        let options = CollectorOptions {
            pid: Some(std::process::id()),
            comm: Some("worker".into()),
            syscalls: vec![0, 202, 511],
            min_duration: Duration::from_micros(1),
            sums: Sums::Slots,
            ..CollectorOptions::default()
        };
        let mut config = Config::new(&options).unwrap();
        assert_eq!(config.bytes()[0], 1 | 2 | 4 | 32 | 64 | 128);
        assert_eq!(config.bytes().len(), 144);
        assert_eq!(config.bytes()[40..48], 1000u64.to_le_bytes());
        assert_eq!(&config.bytes()[48..55], b"worker\0");
        assert_eq!((config.bytes()[64], config.bytes()[64 + 25], config.bytes()[127]), (1, 1 << 2, 1 << 7));
        config.set_active(1);
        config.stop();
        assert_eq!((config.bytes()[0] & 16, config.bytes()[12]), (16, 1));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let kind = |options: CollectorOptions| Config::new(&options).err().unwrap().kind();
        let usual = CollectorOptions::default;
        assert_eq!(kind(CollectorOptions { pid: Some(u32::MAX - 1), ..usual() }), Kind::NotFound);
        assert_eq!(kind(CollectorOptions { comm: Some("x".repeat(16).into()), ..usual() }), Kind::Usage);
        assert_eq!(kind(CollectorOptions { cgroup: Some("/nonexistent".into()), ..usual() }), Kind::NotFound);
        assert_eq!(kind(CollectorOptions { cgroup: Some("/tmp".into()), ..usual() }), Kind::NotFound);
        assert_eq!(kind(CollectorOptions { syscalls: vec![4096], ..usual() }), Kind::Unsupported);
    }
}
