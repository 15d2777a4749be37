use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
};
use skep_error::{Error, Kind, Result, ResultExt as _};
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    mem,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

/// Bytes that are gathered before they are written.
const BUFFER: usize = 64 * 1024;

/// Where a sink writes: a file, standard output, or memory. Opened before a run starts, so that a path that cannot be written
/// is said first.
pub struct Output {
    to: Box<dyn Write + Send>,
    path: Option<PathBuf>,
}

impl Output {
    /// Opens or creates the file; `-` is standard output. What the file holds goes when the first byte is written or the output is
    /// flushed, not before: a run that cannot start takes nothing away, and leaves no new file.
    ///
    /// # Errors
    /// `Io`, `NotFound` or `Permission` if it cannot be written; `Io` for a FIFO that nobody reads.
    pub fn create(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::stdout());
        }
        let file = Untouched::open(path).context(|| format!("creating {}", path.display()))?;
        Ok(Self { to: Box::new(BufWriter::with_capacity(BUFFER, file)), path: Some(path.to_owned()) })
    }

    /// Refuses an output that is the same file as an input, whatever their names: by device and inode.
    ///
    /// # Errors
    /// `Usage` if it is.
    pub fn check_apart(output: &Path, input: &Path) -> Result<()> {
        let file = |path| fs::metadata(path).ok().filter(fs::Metadata::is_file);
        match (file(output), file(input)) {
            (Some(to), Some(from)) if (to.dev(), to.ino()) == (from.dev(), from.ino()) => {
                let names =
                    if output == input { String::new() } else { format!(" ({} is the same file)", output.display()) };
                Err(Error::new(Kind::Usage, format!("{} cannot be both read and written{names}", input.display()))
                    .help("name another file as output"))
            }
            _ => Ok(()),
        }
    }

    /// Standard output.
    pub fn stdout() -> Self {
        Self { to: Box::new(BufWriter::with_capacity(BUFFER, io::stdout())), path: None }
    }

    /// Memory, shared with the caller.
    pub fn memory() -> (Self, Arc<Mutex<Vec<u8>>>) {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        (Self { to: Box::new(Shared(bytes.clone())), path: None }, bytes)
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Those of writing, with the path.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let path = &self.path;
        self.to.write_all(bytes).context(|| doing(path))
    }

    /// Hands everything over to the system.
    ///
    /// # Errors
    /// Those of writing, with the path.
    pub fn flush(&mut self) -> Result<()> {
        let path = &self.path;
        self.to.flush().context(|| doing(path))
    }
}

/// For writers of other crates.
impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A file that keeps what it holds until something is written.
struct Untouched {
    file: File,
    /// Where it is, if it is new: it goes again if nothing is written.
    new: Option<PathBuf>,
    begun: bool,
}

impl Untouched {
    fn open(path: &Path) -> Result<Self> {
        let mut options = File::options();
        // Without this flag opening a FIFO waits until somebody reads it.
        options.write(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
        let (file, new) = match options.clone().create_new(true).open(path) {
            // Also a link to a file that is not there yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (options.create(true).open(path), None),
            created => (created, Some(path.to_owned())),
        };
        let file = file.map_err(|error| {
            let fifo = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
            match Errno::from_io_error(&error) {
                Some(Errno::NXIO) if fifo => Error::new(Kind::Io, "it is a FIFO that nobody reads")
                    .help("start what reads it first, or name a file"),
                _ => Error::io(error),
            }
        })?;
        // What is written waits for a slow reader.
        let blocking = fcntl_getfl(&file).and_then(|flags| fcntl_setfl(&file, flags - OFlags::NONBLOCK));
        blocking.map_err(|errno| Error::io(errno.into()))?;
        Ok(Self { file, new, begun: false })
    }

    fn begin(&mut self) -> io::Result<()> {
        if !mem::replace(&mut self.begun, true) && self.file.metadata()?.is_file() {
            self.file.set_len(0)?;
        }
        Ok(())
    }
}

impl Write for Untouched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begin()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.begin()?;
        self.file.flush()
    }
}

impl Drop for Untouched {
    fn drop(&mut self) {
        if let Some(path) = self.new.take().filter(|_| !self.begun) {
            // Nobody misses an empty file that cannot be removed.
            let _ = fs::remove_file(path);
        }
    }
}

fn doing(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or_else(|| "writing to standard output".into(), |path| format!("writing {}", path.display()))
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
