use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

/// A new cgroup without a process in it, for what may change behaviour. It is removed when dropped.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one.
    ///
    /// # Panics
    /// Where cgroup2 is not mounted.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mounts = fs::read_to_string("/proc/mounts").expect("/proc is mounted");
        let mount = mounts.lines().find_map(|line| {
            let mut columns = line.split(' ').skip(1);
            let (place, kind) = (columns.next()?, columns.next()?);
            (kind == "cgroup2").then_some(place)
        });
        let name = format!("skep-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = Path::new(mount.expect("cgroup2 is mounted")).join(name);
        fs::create_dir(&dir).expect("root may make cgroups");
        Self(dir)
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Cgroup {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // It is busy until the kernel has seen the last process off.
        for _ in 0..1000 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// A shell's command line, to be run in a network namespace of its own with the loopback interface up.
pub fn in_namespace(command: &str) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["-n", "sh", "-c", &format!("ip link set lo up && exec {command}")]);
    unshare
}
