//! Names and numbers of the running architecture's system calls.

use skep_error::{Error, Kind, Result, did_you_mean};
use syscalls::Sysno;

/// The name of system call `number`.
pub fn name(number: u64) -> Option<&'static str> {
    Sysno::new(usize::try_from(number).ok()?).map(|call| call.name())
}

/// The number of the system call of that name, or the number itself.
///
/// # Errors
/// `Usage`, with the nearest name.
pub fn number(text: &str) -> Result<u32> {
    if let Ok(number) = text.parse::<u32>() {
        return Ok(number);
    }
    match Sysno::iter().find(|call| call.name() == text) {
        Some(call) => Ok(call.id() as u32),
        None => {
            let names: Vec<&str> = Sysno::iter().map(|call| call.name()).collect();
            let message = format!("this architecture has no system call {text}");
            Err(Error::new(Kind::Usage, message).help(did_you_mean(text, names)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `arch/x86/entry/syscalls/syscall_64.tbl` and `scripts/syscall.tbl` of Linux 6.12.
    #[test]
    fn the_tables_of_both_architectures_are_the_kernels() {
        use syscalls::{aarch64, x86_64};
        let x86 = [(0, "read"), (35, "nanosleep"), (202, "futex"), (230, "clock_nanosleep"), (257, "openat")];
        let arm =
            [(0, "io_setup"), (29, "ioctl"), (63, "read"), (98, "futex"), (115, "clock_nanosleep"), (56, "openat")];
        let both =
            [(435, "clone3"), (439, "faccessat2"), (441, "epoll_pwait2"), (449, "futex_waitv"), (455, "futex_wait")];
        for (number, name) in x86.into_iter().chain(both) {
            assert_eq!(x86_64::Sysno::new(number).map(|call| call.name()), Some(name), "x86-64 {number}");
        }
        for (number, name) in arm.into_iter().chain(both) {
            assert_eq!(aarch64::Sysno::new(number).map(|call| call.name()), Some(name), "aarch64 {number}");
        }
        // Calls of old that aarch64 never had.
        assert!(aarch64::Sysno::iter().all(|call| !["open", "fork", "select", "stat"].contains(&call.name())));
    }

    #[test]
    fn names_and_numbers_are_those_of_this_architecture() {
        let read = if cfg!(target_arch = "x86_64") { 0 } else { 63 };
        assert_eq!(number("read").unwrap(), read);
        assert_eq!(name(read.into()), Some("read"));
        assert_eq!(name(u64::MAX), None);
        assert_eq!(number("17").unwrap(), 17);
        assert_eq!(number("nanoslep").unwrap_err().help_text(), Some("did you mean \"nanosleep\"?"));
    }
}
