//! Files below the directories that a plugin was granted.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::PathBuf,
};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};

/// Files that a plugin may have open.
const MAX_OPEN: usize = 64;

pub(super) struct Files {
    directories: Vec<PathBuf>,
    open: Vec<Option<File>>,
}

fn errno(error: &std::io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

impl Files {
    pub(super) fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories, open: Vec::new() }
    }

    /// Opens `path` below the first granted directory that has it. The kernel itself sees to it that neither `..` nor a
    /// symbolic link leads out (`RESOLVE_BENEATH`, since 5.6).
    pub(super) fn open(&mut self, path: &str, flags: u32) -> Result<u32, i32> {
        let how = match flags {
            0 => OFlags::RDONLY,
            1 => OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC,
            2 => OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND,
            _ => return Err(libc::EINVAL),
        };
        let slot = match self.open.iter().position(Option::is_none) {
            Some(slot) => slot,
            None if self.open.len() < MAX_OPEN => {
                self.open.push(None);
                self.open.len() - 1
            }
            None => return Err(libc::EMFILE),
        };
        let mut failure = libc::EACCES;
        for directory in &self.directories {
            match below(directory, path, how) {
                Ok(file) => {
                    self.open[slot] = Some(file);
                    return u32::try_from(slot).map_err(|_| libc::EMFILE);
                }
                Err(error) => failure = error.raw_os_error(),
            }
        }
        Err(failure)
    }

    pub(super) fn read(&mut self, fd: u32, to: &mut [u8]) -> Result<usize, i32> {
        self.file(fd)?.read(to).map_err(|error| errno(&error))
    }

    pub(super) fn write(&mut self, fd: u32, from: &[u8]) -> Result<usize, i32> {
        self.file(fd)?.write(from).map_err(|error| errno(&error))
    }

    pub(super) fn close(&mut self, fd: u32) -> Result<(), i32> {
        self.file(fd)?;
        self.open[fd as usize] = None;
        Ok(())
    }

    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }

    fn file(&mut self, fd: u32) -> Result<&mut File, i32> {
        self.open.get_mut(fd as usize).and_then(Option::as_mut).ok_or(libc::EBADF)
    }
}

fn below(directory: &PathBuf, path: &str, how: OFlags) -> rustix::io::Result<File> {
    let base = rustix::fs::openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // Neither a FIFO nor a terminal may hold up the call.
    let how = how | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mode = if how.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
    openat2(base, path, how, mode, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_above_the_directory_can_be_opened() {
        let directory = tempfile::tempdir().unwrap();
        let granted = directory.path().join("granted");
        std::fs::create_dir(&granted).unwrap();
        std::fs::write(directory.path().join("secret"), "s").unwrap();
        std::fs::write(granted.join("open"), "o").unwrap();
        std::os::unix::fs::symlink(directory.path().join("secret"), granted.join("link")).unwrap();
        let mut files = Files::new(vec![granted.clone()]);
        let fd = files.open("open", 0).unwrap();
        let mut bytes = [0; 8];
        assert_eq!(files.read(fd, &mut bytes), Ok(1));
        for path in ["../secret", "link", "/etc/passwd"] {
            assert_eq!(files.open(path, 0), Err(libc::EXDEV), "{path}");
        }
        assert_eq!(files.open("missing", 0), Err(libc::ENOENT));
        let written = files.open("new", 1).unwrap();
        assert_eq!(files.write(written, b"abc"), Ok(3));
        assert_eq!(files.close(written), Ok(()));
        assert_eq!(files.close(written), Err(libc::EBADF));
        assert_eq!(std::fs::read(granted.join("new")).unwrap(), b"abc");
        assert_eq!(Files::new(Vec::new()).open("open", 0), Err(libc::EACCES));
    }
}
