//! What a guest reads: the process's standard input, waited for as a program that reads a terminal or a pipe waits.
//!
//! Reads go to the descriptor itself and take no more than the guest asked for, so what it leaves is there for whoever
//! reads next. They wait by themselves: whoever gave us the descriptor may have made it one that does not.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::unix::pipe::Receiver,
};
use wasmtime_wasi::{
    cli::{IsTerminal, StdinStream},
    p2::{InputStream, Pollable, StreamError, StreamResult},
};

use crate::{stop::Stop, trap, wasi::Ended};

/// No read is longer, whatever the guest asks for.
const LONGEST: usize = 64 << 10;

/// A guest's standard input; cheap to clone.
#[derive(Clone)]
pub(crate) struct Input {
    stop: Stop,
    /// Whether a read under way when the end was requested has been cut short already.
    woken: bool,
}

/// What a wait came to.
enum Ready {
    Yes,
    No,
    /// The run is to end.
    Stopped,
}

impl Input {
    pub(crate) fn new(stop: &Stop) -> Self {
        Self { stop: stop.clone(), woken: false }
    }

    /// Waits until a read would not, or until the run is asked to end; at most that long.
    fn wait(&self, timeout: Option<&Timespec>) -> Ready {
        let stdin = io::stdin();
        loop {
            let mut fds = [PollFd::new(&self.stop, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
            match rustix::event::poll(&mut fds, timeout) {
                Err(Errno::INTR) => {}
                Ok(0) => return Ready::No,
                Ok(_) if !fds[0].revents().is_empty() => return Ready::Stopped,
                // What keeps poll from waiting, the read will say.
                Ok(_) | Err(_) => return Ready::Yes,
            }
        }
    }

    /// Reads what there is; nothing where it would have to wait.
    fn take(&self, size: usize) -> StreamResult<Bytes> {
        let mut bytes = BytesMut::zeroed(size.min(LONGEST));
        match rustix::io::read(io::stdin().as_fd(), &mut bytes[..]) {
            Ok(0) => Err(StreamError::Closed),
            Ok(len) => {
                bytes.truncate(len);
                Ok(bytes.freeze())
            }
            // Somebody else was faster.
            Err(Errno::AGAIN | Errno::INTR) => Ok(Bytes::new()),
            Err(errno) => Err(StreamError::LastOperationFailed(io::Error::from(errno).into())),
        }
    }

    /// Waits and reads. The first read that the end of the run cuts short looks to the guest as if a signal had, so that it
    /// can print what it has; the next one ends it.
    fn read_waiting(&mut self, size: usize) -> StreamResult<Bytes> {
        loop {
            match (self.wait(None), self.stop.requested()) {
                (Ready::Stopped, Some(reason)) if self.woken => {
                    return Err(StreamError::Trap(wasmtime::Error::new(Ended(trap::ended(reason)))));
                }
                (Ready::Stopped, _) => {
                    self.woken = true;
                    // WASI makes EINTR of it.
                    return Ok(Bytes::new());
                }
                _ => {}
            }
            let bytes = self.take(size)?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
        }
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&io::stdin())
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        match self.wait(Some(&Timespec::default())) {
            Ready::Yes if size > 0 => self.take(size),
            _ => Ok(Bytes::new()),
        }
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        // As at the end of the input, a read of nothing reads nothing.
        if size == 0 { Err(StreamError::Closed) } else { self.read_waiting(size) }
    }
}

#[async_trait::async_trait]
impl Pollable for Input {
    /// Ready, too, once the run is asked to end: the read says so.
    async fn ready(&mut self) {
        // Named for pipes, it watches any descriptor.
        let watch = |fd: BorrowedFd<'_>| Receiver::from_owned_fd_unchecked(fd.try_clone_to_owned().ok()?).ok();
        // A plain file cannot be watched, and is always ready.
        let (Some(stdin), Some(stop)) = (watch(io::stdin().as_fd()), watch(self.stop.as_fd())) else { return };
        std::future::poll_fn(|context| match (stdin.poll_read_ready(context), stop.poll_read_ready(context)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }
}

impl AsyncRead for Input {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.read_waiting(buffer.remaining()) {
            Ok(bytes) if bytes.is_empty() => return Poll::Ready(Err(io::ErrorKind::Interrupted.into())),
            Ok(bytes) => buffer.put_slice(&bytes),
            Err(StreamError::Closed) => {}
            Err(error) => return Poll::Ready(Err(io::Error::other(error))),
        }
        Poll::Ready(Ok(()))
    }
}
