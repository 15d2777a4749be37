//! Bounded reads and writes of linear memory.

use std::fmt;

use super::SharedRegions;

/// A guest passed a range that it may not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where the range starts.
    pub address: u32,
    /// Bytes of it.
    pub len: u64,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It does not lie in memory.
    OutOfBounds,
    /// It is longer than the call allows.
    TooLong,
    /// No NUL ends the string within the length allowed.
    Unterminated,
    /// The string is not UTF-8.
    NotUtf8,
    /// The range shows a map that may only be read.
    ReadOnly,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, len, .. } = self;
        match self.why {
            Why::OutOfBounds => write!(f, "{len} bytes at {address:#x} do not lie in the guest's memory"),
            Why::TooLong => write!(f, "{len} bytes at {address:#x} are more than this call takes"),
            Why::Unterminated => write!(f, "the string at {address:#x} does not end within {len} bytes"),
            Why::NotUtf8 => write!(f, "the string at {address:#x} is not UTF-8"),
            Why::ReadOnly => write!(f, "{len} bytes at {address:#x} show a map that may only be read"),
        }
    }
}

/// A guest's linear memory for the length of one host call.
pub struct GuestMemory<'a> {
    bytes: &'a mut [u8],
    shared: &'a SharedRegions,
}

impl<'a> GuestMemory<'a> {
    /// `bytes` is the whole of linear memory; writes spare what `shared` marks as read-only.
    pub fn new(bytes: &'a mut [u8], shared: &'a SharedRegions) -> Self {
        Self { bytes, shared }
    }

    /// The `len` bytes at `address`.
    pub fn read(&self, address: u32, len: usize) -> Result<&[u8], Fault> {
        let start = address as usize;
        start.checked_add(len).and_then(|end| self.bytes.get(start..end)).ok_or(Fault {
            address,
            len: len as u64,
            why: Why::OutOfBounds,
        })
    }

    /// The `len` bytes at `address`, when they are no more than `cap`.
    pub fn read_capped(&self, address: u32, len: u32, cap: usize) -> Result<&[u8], Fault> {
        if len as usize > cap {
            return Err(Fault { address, len: len.into(), why: Why::TooLong });
        }
        self.read(address, len as usize)
    }

    /// The `len` bytes at `address`, to be written.
    pub fn write(&mut self, address: u32, len: usize) -> Result<&mut [u8], Fault> {
        self.read(address, len)?;
        if self.shared.forbids_write(address as usize, len) {
            return Err(Fault { address, len: len as u64, why: Why::ReadOnly });
        }
        Ok(&mut self.bytes[address as usize..address as usize + len])
    }

    /// A copy of the string at `address` up to its NUL, which must come within `cap` bytes. It is checked as copied: where
    /// memory shows a map, the kernel may change it at any moment.
    pub fn c_str(&self, address: u32, cap: usize) -> Result<String, Fault> {
        let rest = self.bytes.get(address as usize..).filter(|rest| !rest.is_empty()).ok_or(Fault {
            address,
            len: 1,
            why: Why::OutOfBounds,
        })?;
        let mut rest = rest[..rest.len().min(cap)].to_vec();
        let end = rest.iter().position(|&byte| byte == 0).ok_or(Fault {
            address,
            len: rest.len() as u64,
            why: Why::Unterminated,
        })?;
        rest.truncate(end);
        String::from_utf8(rest).map_err(|_| Fault { address, len: end as u64, why: Why::NotUtf8 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(bytes: &mut [u8], check: impl FnOnce(&mut GuestMemory<'_>)) {
        check(&mut GuestMemory::new(bytes, &SharedRegions::default()));
    }

    #[test]
    fn ranges_end_where_memory_ends() {
        with(&mut [0; 16], |memory| {
            assert!(memory.read(0, 16).is_ok());
            assert!(memory.read(16, 0).is_ok());
            assert_eq!(memory.read(1, 16).unwrap_err().why, Why::OutOfBounds);
            assert_eq!(memory.read(u32::MAX, usize::MAX).unwrap_err().why, Why::OutOfBounds);
            assert_eq!(memory.write(u32::MAX, 1).unwrap_err().why, Why::OutOfBounds);
            assert_eq!(memory.read_capped(0, u32::MAX, 8).unwrap_err().why, Why::TooLong);
        });
    }

    #[test]
    fn strings_need_their_nul_and_utf_8() {
        with(&mut b"ab\0\xff\0cd".to_vec(), |memory| {
            assert_eq!(memory.c_str(0, 64), Ok("ab".to_owned()));
            assert_eq!(memory.c_str(0, 2).unwrap_err().why, Why::Unterminated);
            assert_eq!(memory.c_str(3, 64).unwrap_err().why, Why::NotUtf8);
            assert_eq!(memory.c_str(5, 64).unwrap_err().why, Why::Unterminated);
            assert_eq!(memory.c_str(7, 64).unwrap_err().why, Why::OutOfBounds);
        });
    }
}
