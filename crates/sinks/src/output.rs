use skep_error::{Result, ResultExt as _};
use std::{
    fs::File,
    io::{self, BufWriter, Write},
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
    /// Creates or truncates the file; `-` is standard output.
    ///
    /// # Errors
    /// `Io`, `NotFound` or `Permission` if it cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::stdout());
        }
        let file = File::create(path).context(|| format!("creating {}", path.display()))?;
        Ok(Self { to: Box::new(BufWriter::with_capacity(BUFFER, file)), path: Some(path.to_owned()) })
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
