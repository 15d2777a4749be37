use skep_error::{Error, Kind, Result, ResultExt as _};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// A running program. It prints a line when it is ready; for each count on its input it does that much work and prints a
/// line of `name=value` pairs. `benches/README.md` says more.
pub(super) struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    shown: String,
}

impl Worker {
    /// Starts it and leaves its input open.
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let shown = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context(|| format!("starting {shown}"))?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| Error::new(Kind::Internal, "the output is not piped"))?;
        Ok(Self { child, input, output: BufReader::new(output), shown })
    }

    /// Starts it and waits until it says that it is ready.
    pub(super) fn ready(command: &mut Command) -> Result<Self> {
        let mut worker = Self::start(command)?;
        let line = worker.line()?;
        if line.trim() == "ready" { Ok(worker) } else { Err(worker.odd(&line)) }
    }

    /// The next line of its output.
    pub(super) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).context(|| format!("reading from {}", self.shown))?;
        if read == 0 {
            return Err(Error::new(Kind::BadInput, format!("{} ended early", self.shown))
                .help("run it by hand: what it says on standard error is not shown here"));
        }
        Ok(line)
    }

    /// Tells it how much to do.
    pub(super) fn tell(&mut self, count: u64) -> Result<()> {
        let shown = self.shown.clone();
        let input = self.input.as_mut().ok_or_else(|| Error::new(Kind::Internal, "the input is closed"))?;
        writeln!(input, "{count}").and_then(|()| input.flush()).context(|| format!("writing to {shown}"))
    }

    /// What a unit of work took, in ns, from its next line.
    pub(super) fn ns_each(&mut self) -> Result<f64> {
        self.pair("ns_each")
    }

    /// Both: what a unit of that much work takes.
    pub(super) fn ask(&mut self, count: u64) -> Result<f64> {
        self.tell(count)?;
        self.ns_each()
    }

    /// What one of so many records takes that lie there already, in ns: also what is done before the first of them.
    pub(super) fn drain(&mut self, count: u64) -> Result<f64> {
        self.tell(count)?;
        self.pair("drain_ns_each")
    }

    fn pair(&mut self, name: &str) -> Result<f64> {
        let line = self.line()?;
        value(&line, name).ok_or_else(|| self.odd(&line))
    }

    /// Its peak resident memory so far, in KiB.
    pub(super) fn peak_kib(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).context(|| format!("reading {path}"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| Error::new(Kind::Internal, format!("{path} has no VmHWM")))
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Result<()> {
        drop(self.input.take());
        self.child.kill().context(|| format!("ending {}", self.shown))?;
        self.child.wait().context(|| format!("waiting for {}", self.shown)).map(drop)
    }

    fn odd(&self, line: &str) -> Error {
        Error::new(Kind::BadInput, format!("{} said {line:?}", self.shown))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After an error; otherwise it has ended already and this does nothing.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The number after `name=` in a line of pairs.
fn value(line: &str, name: &str) -> Option<f64> {
    line.split_whitespace().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_name() {
        assert_eq!(value("records=60000 ns=200007 ns_each=3.333\n", "ns_each"), Some(3.333));
        assert_eq!(value("records=60000 ns=200007 ns_each=3.333\n", "ns"), Some(200007.0));
        assert_eq!(value("records=many", "records"), None);
    }
}
