use core::fmt;

use skep_abi::program::INTERRUPTED;

/// An error of the host: a positive number of the kernel's `errno`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(i32);

impl Errno {
    /// No such key, map or program.
    pub const NOENT: Errno = Errno(2);
    /// Ctrl-C, or another request to end.
    pub const INTR: Errno = Errno(4);
    /// Memory is used up.
    pub const NOMEM: Errno = Errno(12);
    /// A range does not lie in memory.
    pub const FAULT: Errno = Errno(14);
    /// The key is there already.
    pub const EXIST: Errno = Errno(17);
    /// An argument makes no sense.
    pub const INVAL: Errno = Errno(22);

    /// The error of that number.
    pub const fn from_raw(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// A result that is negative on failure.
    pub(crate) fn check(result: i32) -> Result<i32, Self> {
        if result < 0 { Err(Self(result.wrapping_neg())) } else { Ok(result) }
    }

    /// The same for a wait.
    pub(crate) fn check_wait(result: i32) -> Result<i32, Self> {
        if result == INTERRUPTED { Err(Self::INTR) } else { Self::check(result) }
    }

    /// What the number stands for, where it is one that eBPF operations give.
    fn text(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "operation not permitted",
            2 => "no such key, map or program",
            4 => "interrupted",
            7 => "the map is full",
            9 => "bad handle",
            12 => "out of memory",
            13 => "permission denied",
            14 => "bad address",
            16 => "busy",
            17 => "exists already",
            19 => "no such device",
            22 => "invalid argument",
            38 => "not implemented",
            95 | 524 => "not supported",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errno({}: {self})", self.0)
    }
}

impl core::error::Error for Errno {}
