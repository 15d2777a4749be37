//! What a guest prints: kept until somebody has time to look. What cannot be written is an error of the run.
//!
//! The guest is told that its output is a terminal, so its own C library hands over every line at once and an end at any
//! moment loses nothing. Where the output is not really a terminal, lines are gathered here and written when the guest
//! waits, when there is much of it, and at the end. Only the guest's own thread waits for a slow reader; whoever else
//! writes meanwhile ([`Output::flush_ready`]) writes no more than is taken at once.

use std::{
    io::{self, Write},
    os::fd::{AsFd as _, OwnedFd},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec};
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamError, StreamResult},
};

use crate::stop::{Reason, Stop};

/// Gathered output is written when it is this long.
const FULL: usize = 64 << 10;
/// What a pipe that is ready takes without waiting (`PIPE_BUF`).
const AT_ONCE: usize = 4096;

/// One of a guest's two outputs; cheap to clone.
#[derive(Clone)]
pub struct Output {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    writer: Box<dyn Write + Send>,
    /// What tells whether the writer would have to wait; without one it never does.
    descriptor: Option<OwnedFd>,
    /// Why output was lost.
    failed: Option<io::Error>,
    /// Whether the reader has gone.
    closed: bool,
    gathered: Vec<u8>,
    /// Writes through at once.
    direct: bool,
    stop: Stop,
}

impl Output {
    /// Writes to the process's standard output. When its reader has gone, `stop` is asked for.
    pub fn stdout(stop: &Stop) -> Self {
        let output = Self::new(Box::new(io::stdout()), io::IsTerminal::is_terminal(&io::stdout()), stop);
        output.lock().descriptor = io::stdout().as_fd().try_clone_to_owned().ok();
        output
    }

    /// Writes to the process's standard error, at once.
    pub fn stderr(stop: &Stop) -> Self {
        let output = Self::new(Box::new(io::stderr()), true, stop);
        output.lock().descriptor = io::stderr().as_fd().try_clone_to_owned().ok();
        output
    }

    /// Writes to `writer`; `direct` writes are not gathered.
    pub fn new(writer: Box<dyn Write + Send>, direct: bool, stop: &Stop) -> Self {
        let (descriptor, failed, gathered) = (None, None, Vec::new());
        let shared = Shared { writer, descriptor, failed, closed: false, gathered, direct, stop: stop.clone() };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// The writer's.
    pub fn flush(&self) -> io::Result<()> {
        self.lock().flush()
    }

    /// Writes what was gathered as far as it is taken at once: never waits, neither for the reader nor for a guest that
    /// waits for the reader.
    pub fn flush_ready(&self) {
        let Ok(mut shared) = self.shared.try_lock() else { return };
        while !shared.gathered.is_empty() && shared.is_ready() {
            let len = shared.gathered.len().min(AT_ONCE);
            let rest = shared.gathered.split_off(len);
            let _ = shared.flush();
            shared.gathered = rest;
        }
    }

    /// Why output was lost, where it was; a reader that has gone is no failure.
    pub fn failure(&self) -> Option<io::Error> {
        let shared = self.lock();
        shared.failed.as_ref().map(|error| io::Error::from(error.kind()))
    }

    /// Takes `bytes`.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut shared = self.lock();
        // It may have been noticed when what was written before was only gathered.
        if shared.closed {
            return Err(rustix::io::Errno::PIPE.into());
        }
        shared.gathered.extend_from_slice(bytes);
        if shared.direct || shared.gathered.len() >= FULL { shared.flush() } else { Ok(()) }
    }
}

impl Shared {
    fn flush(&mut self) -> io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let result = self.write_gathered();
        self.gathered.clear();
        match &result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                self.stop.request(Reason::OutputClosed);
            }
            Err(error) => {
                self.failed.get_or_insert_with(|| error.kind().into());
            }
            Ok(()) => {}
        }
        result
    }

    /// Writes all, also where whoever gave us the descriptor made it one that does not wait by itself.
    fn write_gathered(&mut self) -> io::Result<()> {
        let mut written = 0;
        loop {
            let wrote = match &self.gathered[written..] {
                [] => self.writer.flush().map(|()| None),
                rest => self.writer.write(rest).map(Some),
            };
            match wrote {
                Ok(None) => return Ok(()),
                Ok(Some(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(Some(more)) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match &self.descriptor {
                    Some(descriptor) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(descriptor)?,
                    _ => return Err(error),
                },
            }
        }
    }

    /// Whether a little can be written without waiting.
    fn is_ready(&self) -> bool {
        let Some(descriptor) = &self.descriptor else { return true };
        let mut fds = [PollFd::new(descriptor, PollFlags::OUT)];
        matches!(rustix::event::poll(&mut fds, Some(&Timespec::default())), Ok(1..))
    }
}

fn wait_for_room(descriptor: &OwnedFd) -> io::Result<()> {
    match rustix::event::poll(&mut [PollFd::new(descriptor, PollFlags::OUT)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

impl IsTerminal for Output {
    /// See the module's page: yes, always.
    fn is_terminal(&self) -> bool {
        true
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        // Also that the reader has gone: of a closed stream WASI would make EIO.
        Output::write(self, &bytes).map_err(|error| StreamError::LastOperationFailed(error.into()))
    }

    /// WASI flushes after each write; when to write is decided in [`Output::write`].
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(1 << 20)
    }
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

impl tokio::io::AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Output::write(&self, bytes).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Output::flush(&self))
    }
}
