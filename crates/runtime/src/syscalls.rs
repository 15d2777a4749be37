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
