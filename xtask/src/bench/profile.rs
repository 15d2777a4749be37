//! Profiling and filters: what a filter's call costs, how fast a recording is replayed, what collectors cost the machine.

use super::{
    Programs,
    report::{Bar, Row, median},
};
use crate::process::{cargo, output, root};
use skep_error::{Error, Kind, Result, ResultExt as _};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The bench of the sandbox, whose last line holds its ratios.
pub(super) fn filter(_: &Programs) -> Result<Vec<Row>> {
    let text = output(cargo().args(["bench", "--quiet", "--locked", "-p", "skep-sandbox", "--bench", "filter"]))?;
    let value = |name: &str| {
        let found = text.split_whitespace().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        found.ok_or_else(|| Error::new(Kind::BadInput, format!("the bench of the filter says no {name}:\n{text}")))
    };
    Ok(vec![
        Row::against("filter, one call an event", "ns", value("event")?, value("bare")?, Bar::RatioAtMost(1.05)),
        Row::against("filter_batch, an event", "ns", value("batch")?, value("bare")?, Bar::RatioAtMost(1.05)),
        Row::against("the public way, an event", "ns", value("public")?, value("event")?, Bar::RatioAtLeast(2.5)),
    ])
}

/// A million recorded system calls through one filter.
pub(super) fn replay(programs: &Programs) -> Result<Vec<Row>> {
    const EVENTS: u64 = 1_000_000;
    let dir = PathBuf::from(output(Command::new("mktemp").arg("-d"))?.trim());
    let file = dir.join("calls.skep");
    let mut skep = Command::new(&programs.skep);
    skep.args(["record", "syscall", "--comm", "dd", "-o"]).arg(&file).stderr(Stdio::piped());
    let recorder = Background::start(&mut skep)?;
    // The file is created before the collector is attached; calls before that are not missed by anybody.
    thread::sleep(Duration::from_secs(1));
    output(&mut dd(900_000))?;
    let said = recorder.interrupt()?;
    let records: u64 = said
        .split_whitespace()
        .zip(said.split_whitespace().skip(1))
        .find_map(|(number, word)| if word == "records," { number.parse().ok() } else { None })
        .unwrap_or(0);
    if records < EVENTS {
        return Err(Error::new(Kind::BadInput, format!("only {records} events were recorded: {said}")));
    }
    let mut times = Vec::new();
    for _ in 0..programs.rounds {
        let start = Instant::now();
        output(
            Command::new(&programs.skep)
                .arg("replay")
                .arg(&file)
                .arg("--filter")
                .arg(root().join("examples/filters/slow.wasm"))
                .args(["--format", "histogram"]),
        )?;
        times.push(start.elapsed().as_secs_f64() * EVENTS as f64 / records as f64);
    }
    let removed = std::fs::remove_dir_all(&dir).context(|| format!("removing {}", dir.display()));
    removed.map(|()| vec![Row::plain("a million events replayed", "s", median(&times), Bar::AtMost(1.0))])
}

/// A process that makes system calls without pause, alone and traced; bpftrace's answer to the same question where it is installed.
pub(super) fn trace(programs: &Programs) -> Result<Vec<Row>> {
    let skep = || {
        let mut command = Command::new(&programs.skep);
        command.args(["trace", "syscall", "--comm", "dd", "--format", "histogram", "--by", "syscall"]);
        command
    };
    let (mut alone, mut traced, mut bpftrace) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..programs.rounds.min(7) {
        alone.push(timed(&mut dd(400_000))?);
        traced.push(beside(&mut skep(), &mut dd(400_000))?);
        if Path::new("/usr/bin/bpftrace").exists() {
            const PROGRAM: &str = "tracepoint:raw_syscalls:sys_enter /comm == \"dd\"/ { @start[tid] = nsecs; @id[tid] = args->id; } \
                tracepoint:raw_syscalls:sys_exit /@start[tid]/ { @ns[@id[tid]] = hist(nsecs - @start[tid]); delete(@start[tid]); delete(@id[tid]); }";
            bpftrace.push(beside(Command::new("bpftrace").args(["-e", PROGRAM]), &mut dd(400_000))?);
        }
    }
    let (alone, traced) = (median(&alone), median(&traced));
    let mut rows = vec![Row::against("a process traced by syscall", "s", traced, alone, Bar::None)];
    if !bpftrace.is_empty() {
        rows.push(Row::against("the same beside bpftrace's", "s", traced, median(&bpftrace), Bar::RatioAtMost(1.15)));
    }
    Ok(rows)
}

/// Both CPUs busy, alone and sampled at 99 Hz.
pub(super) fn sampling(programs: &Programs) -> Result<Vec<Row>> {
    let busy = || {
        let mut command = Command::new("sh");
        command.args(["-c", "for i in $(seq $(nproc)); do head -c 600000000 /dev/zero | sha256sum & done; wait"]);
        command
    };
    let (mut alone, mut sampled) = (Vec::new(), Vec::new());
    for _ in 0..programs.rounds.min(7) {
        alone.push(timed(&mut busy())?);
        let mut skep = Command::new(&programs.skep);
        skep.args(["profile", "cpu", "--format", "folded"]);
        sampled.push(beside(&mut skep, &mut busy())?);
    }
    Ok(vec![Row::against(
        "both CPUs busy, sampled at 99 Hz",
        "s",
        median(&sampled),
        median(&alone),
        Bar::RatioAtMost(1.01),
    )])
}

/// Reads and writes of one byte, two system calls a block.
fn dd(blocks: u64) -> Command {
    let mut command = Command::new("dd");
    command.args(["if=/dev/zero", "of=/dev/null", "bs=1", &format!("count={blocks}")]).stderr(Stdio::null());
    command
}

fn timed(command: &mut Command) -> Result<f64> {
    let start = Instant::now();
    output(command)?;
    Ok(start.elapsed().as_secs_f64())
}

/// The time of `work` while `observer` watches.
fn beside(observer: &mut Command, work: &mut Command) -> Result<f64> {
    let observer = Background::start(observer.stderr(Stdio::piped()))?;
    thread::sleep(Duration::from_secs(2));
    let time = timed(work)?;
    observer.interrupt()?;
    Ok(time)
}

/// A process that ends by Ctrl-C; killed if it is left.
struct Background(Option<Child>);

impl Background {
    fn start(command: &mut Command) -> Result<Self> {
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context(|| format!("starting {command:?}"))?;
        Ok(Self(Some(child)))
    }

    /// Ends it; what it said on standard error.
    fn interrupt(mut self) -> Result<String> {
        let Some(child) = self.0.take() else { return Ok(String::new()) };
        output(Command::new("kill").args(["-INT", &child.id().to_string()]))?;
        let ended = child.wait_with_output().context(|| "waiting for the observer")?;
        Ok(String::from_utf8_lossy(&ended.stderr).into_owned())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
