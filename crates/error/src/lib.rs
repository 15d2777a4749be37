//! The one error type of Skep.
//!
//! An [`Error`] has a [`Kind`], which decides the exit code and what a caller can do about it, and a text in four parts:
//! what went wrong, the contexts in which it arose (what was being done, to what), help (what to do about it), and a
//! detail such as the verifier's log.
//!
//! ```
//! use skep_error::{Error, Kind, ResultExt as _};
//!
//! fn read() -> skep_error::Result<()> {
//!     Err(Error::new(Kind::NotFound, "no such file").help("check the path"))
//! }
//! let error = read().context(|| "reading probe.wasm").unwrap_err();
//! assert_eq!(error.to_string(), "reading probe.wasm: no such file");
//! assert_eq!(error.kind().exit_code(), 66);
//! ```
#![forbid(unsafe_code)]

mod kind;
mod one_line;
mod suggest;

pub use kind::Kind;
pub use one_line::one_line;
pub use suggest::{did_you_mean, nearest};

use std::{error::Error as StdError, fmt};

/// The system's descriptors are used up, or this process's: the same numbers on every architecture of Linux.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, while doing what, and what to do about it. One pointer wide.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    message: String,
    /// Innermost first.
    contexts: Vec<String>,
    help: Option<String>,
    detail: Option<String>,
    errno: Option<i32>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` says what went wrong, in lower case and without a final stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            contexts: Vec::new(),
            help: None,
            detail: None,
            errno: None,
            source: None,
        }))
    }

    /// An error that wraps another library's; its text becomes the message.
    pub fn wrap(kind: Kind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = source.into();
        let mut error = Self::new(kind, source.to_string());
        error.0.source = Some(source);
        error
    }

    /// An operating system's error as a `Permission`, `NotFound` or `Io` one.
    pub fn io(source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            std::io::ErrorKind::PermissionDenied => Kind::Permission,
            _ => Kind::Io,
        };
        let errno = source.raw_os_error();
        let mut error = Self::wrap(kind, source);
        error.0.errno = errno;
        match errno {
            Some(ENFILE | EMFILE) => error.help("raise the limit of open files: ulimit -n"),
            _ => error,
        }
    }

    /// The operating system's error of that number (positive), as [`Error::io`] reads it.
    pub fn os(errno: i32) -> Self {
        Self::io(std::io::Error::from_raw_os_error(errno))
    }

    /// Adds what was being done, and to what.
    #[must_use]
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        self.0.contexts.push(doing.into());
        self
    }

    /// Says what the person can do about it. The first help given stays: it was nearest to the fault.
    #[must_use]
    pub fn help(mut self, what_to_do: impl Into<String>) -> Self {
        self.0.help.get_or_insert(what_to_do.into());
        self
    }

    /// Attaches a long text, such as the verifier's log.
    #[must_use]
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.0.detail = Some(text.into());
        self
    }

    /// The same error as one of another kind.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The same error with the operating system's number (positive) behind it.
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// The operating system's error number (positive), where one is behind it.
    pub fn errno(&self) -> Option<i32> {
        self.0.errno
    }

    /// What kind of fault this is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What went wrong, without its contexts.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the person can do about it.
    pub fn help_text(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// The long text attached, whole.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The report a person reads: the error, the last `detail_lines` lines of its detail, and the help.
    pub fn report(&self, detail_lines: usize) -> String {
        let mut text = format!("error: {self}");
        if let Some(detail) = self.detail_text() {
            let lines: Vec<&str> = detail.trim_end().lines().collect();
            let hidden = lines.len().saturating_sub(detail_lines);
            if hidden > 0 {
                text.push_str(&format!("\n  | … earlier lines: {hidden}; -v shows them"));
            }
            for line in &lines[hidden..] {
                text.push_str("\n  | ");
                text.push_str(line);
            }
        }
        if let Some(help) = self.help_text() {
            text.push_str("\nhelp: ");
            text.push_str(help);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for context in self.0.contexts.iter().rev() {
            write!(f, "{context}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.0.kind, self.report(usize::MAX))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Adds context to any result whose error is, or becomes, an [`Error`].
pub trait ResultExt<T> {
    /// Says what was being done, and to what; evaluated only on an error.
    fn context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T> ResultExt<T> for Result<T> {
    fn context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.context(doing()))
    }
}

impl<T> ResultExt<T> for std::io::Result<T> {
    fn context<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::io(error).context(doing()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_are_shown_outermost_first() {
        let error = Error::new(Kind::Kernel, "EINVAL").context("attaching handle_exec").context("running a.wasm");
        assert_eq!(error.to_string(), "running a.wasm: attaching handle_exec: EINVAL");
    }

    #[test]
    fn a_report_shows_the_end_of_the_detail_and_the_help() {
        let error = Error::new(Kind::Kernel, "refused").detail("one\ntwo\nthree\n").help("try less").help("not this");
        assert_eq!(
            error.report(2),
            "error: refused\n  | … earlier lines: 1; -v shows them\n  | two\n  | three\nhelp: try less"
        );
    }

    #[test]
    fn io_errors_keep_their_source() {
        let error: Result<()> = Err(std::io::Error::from_raw_os_error(2)).context(|| "opening x");
        let error = error.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.source().is_some());
    }
}
