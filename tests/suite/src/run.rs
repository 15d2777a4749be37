use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// A test that waits longer than this for something waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);

/// The command under test: `skep` as cargo built it beside this test.
///
/// # Panics
/// When it is not there.
pub fn skep() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let built = test.ancestors().nth(2).expect("tests lie in deps").join("skep");
    assert!(built.exists(), "{} is not built: run the tests of the whole workspace", built.display());
    built
}

/// The committed module of the sample `name`.
pub fn example(name: &str) -> PathBuf {
    repository().join(format!("examples/{name}/{name}.wasm"))
}

/// The committed module of the test guest `name`.
pub fn guest(name: &str) -> PathBuf {
    repository().join(format!("tests/suite/guests/{name}.wasm"))
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A process whose output is read as it comes. It is killed when dropped before its end.
pub struct Run {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    stderr: Option<JoinHandle<String>>,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All of its standard output, line by line.
    pub stdout: Vec<String>,
    /// All of its standard error.
    pub stderr: String,
}

impl Run {
    /// Starts `skep` with those arguments, with nothing on its standard input.
    pub fn skep<I, S>(args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<std::ffi::OsStr>,
    {
        let mut command = Command::new(skep());
        command.args(args).stdin(Stdio::null());
        Self::start(command)
    }

    /// Starts any command.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let (sender, lines) = channel();
        thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = Vec::new();
            while stdout.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                if sender.send(text).is_err() {
                    return;
                }
                line.clear();
            }
        });
        let stderr = thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        Self { child, lines, seen: Vec::new(), stderr: Some(stderr) }
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of standard output that `fits`.
    ///
    /// # Panics
    /// When the output ends, or nothing comes for a minute.
    pub fn wait_for(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if fits(&line) {
                        return line;
                    }
                }
                Err(why) => {
                    let _ = self.child.kill();
                    let stderr = self.stderr.take().map(|thread| thread.join().unwrap_or_default());
                    let how = if why == RecvTimeoutError::Timeout { "in a minute" } else { "before the end" };
                    panic!("no {what} {how}; stdout: {:#?}; stderr: {}", self.seen, stderr.unwrap_or_default());
                }
            }
        }
    }

    /// Waits for the test guests' line that says that they are attached.
    pub fn wait_ready(&mut self) {
        self.wait_for("line \"ready\"", |line| line == "ready");
    }

    /// Ends its standard input, which was [`Stdio::piped`].
    pub fn end_input(&mut self) {
        self.child.stdin = None;
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a process id is positive");
        kill_process(pid, signal).expect("the process has not been waited for");
    }

    /// Waits for the end and takes the rest of the output.
    ///
    /// # Panics
    /// When it does not end within a minute.
    pub fn finish(mut self) -> Finished {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = std::mem::take(&mut self.seen);
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it did not end within a minute; stdout: {seen:#?}"),
            }
        }
        let status = self.child.wait().expect("a child can be waited for");
        let stderr = self.stderr.take().map(|thread| thread.join().unwrap_or_default()).unwrap_or_default();
        Finished { code: status.code(), stdout: seen, stderr }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Finished {
    /// Its standard output as one text.
    pub fn text(&self) -> String {
        self.stdout.join("\n")
    }
}
