//! The file system that names tracepoints.

use std::{path::Path, sync::OnceLock};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

const PLACES: [&str; 2] = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];

/// Whether tracepoints can be looked up.
pub(crate) fn is_mounted() -> bool {
    events().is_some()
}

/// The directory of tracepoints: one for each category, and in it one for each event.
pub(crate) fn events() -> Option<&'static Path> {
    PLACES.iter().map(Path::new).find(|place| place.exists())
}

/// Mounts tracefs for the calling thread alone when nobody else has: in a mount namespace of its own, so that the
/// machine's mounts stay as they were. Whether tracepoints can be looked up afterwards.
pub(crate) fn ensure_mounted() -> bool {
    static TRIED: OnceLock<()> = OnceLock::new();
    if is_mounted() {
        return true;
    }
    TRIED.get_or_init(|| match mount_privately() {
        Ok(()) => tracing::info!("tracefs was not mounted: mounted it for this process alone"),
        Err(errno) => tracing::info!("tracefs is not mounted, and mounting it failed: {errno}"),
    });
    is_mounted()
}

#[allow(unsafe_code)]
fn mount_privately() -> rustix::io::Result<()> {
    // SAFETY: a mount namespace of the thread's own changes no descriptor and no memory.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tracefs", "/sys/kernel/tracing", "tracefs", flags, None)
}
