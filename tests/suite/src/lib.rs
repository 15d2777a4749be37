//! End-to-end tests of Skep.
#![forbid(unsafe_code)]

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
