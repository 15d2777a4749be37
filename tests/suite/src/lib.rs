//! End-to-end tests of Skep, and what they share.
//!
//! - [`kernel_gate`]: whether a test that needs the kernel may go on
//! - [`Run`]: a run of the command `skep`, line by line
//! - [`Program`], [`busy_calls`]: what `skep` looks at
//! - [`trigger`]: the system call that the test guests wait for
//! - [`Inventory`]: what is loaded and attached in the kernel
//! - [`Cgroup`], [`in_namespace`]: places of a test's own, for what may change behaviour
#![forbid(unsafe_code)]

mod inventory;
mod place;
mod program;
mod run;

pub use inventory::Inventory;
pub use place::{Cgroup, in_namespace};
pub use program::{Program, busy_calls};
pub use run::{Finished, Run, example, guest, skep};

/// True if a test that loads eBPF may go on: it runs as root. Otherwise it prints one line that says that `what` was
/// left out; where everything must run (`CI=true`), that is a failure.
///
/// # Panics
/// Without root, if the environment says `CI=true`.
pub fn kernel_gate(what: &str) -> bool {
    let root = std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    if root {
        return true;
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{what} needs root, and CI=true leaves nothing out");
    println!("left out, it needs root: {what}");
    false
}

/// Makes the system call that the test guests' programs wait for: `getpgid(0x5ce90000 | n)`, which finds no process and
/// changes nothing. `n` is below 65,536.
pub fn trigger(n: u16) {
    let pid = rustix::process::Pid::from_raw(0x5ce9_0000 | i32::from(n));
    let _ = rustix::process::getpgid(pid);
}
