//! Profiling and filters: what a filter's call costs, how fast a recording is replayed, what collectors cost the machine.

use super::{
    Programs,
    plugins::figures,
    report::{Bar, Row, median},
};
use crate::process::{exists, output, root};
use rustix::thread::{CpuSet, sched_setaffinity};
use skep_error::{Error, Kind, Result, ResultExt as _};
use std::{
    hint::black_box,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The bench of the sandbox, whose last line holds its ratios.
pub(super) fn filter(_: &Programs) -> Result<Vec<Row>> {
    let value = figures("skep-sandbox", "filter")?;
    let (bare, event, batch, public) = (value("bare")?, value("event")?, value("batch")?, value("public")?);
    Ok(vec![
        Row::against(
            "filter, a call an event: as events flow (filter_batch)",
            "ns",
            batch,
            bare,
            Bar::RatioAtMost(1.05),
        ),
        Row::against(
            "filter, a call an event: one on its own (filter_event)",
            "ns",
            event,
            bare,
            Bar::RatioAtMost(1.05),
        ),
        Row::against("the public way, beside filter_batch", "ns", public, batch, Bar::RatioAtLeast(2.5)),
        Row::against("the public way, beside filter_event", "ns", public, event, Bar::RatioAtLeast(2.5)),
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
    const PROGRAM: &str = "tracepoint:raw_syscalls:sys_enter /comm == \"dd\"/ { @start[tid] = nsecs; @id[tid] = args->id; } \
        tracepoint:raw_syscalls:sys_exit /@start[tid]/ { @ns[@id[tid]] = hist(nsecs - @start[tid]); delete(@start[tid]); delete(@id[tid]); }";
    let skep = |format: &[&str]| {
        let mut command = Command::new(&programs.skep);
        command.args(["trace", "syscall", "--comm", "dd"]).args(format);
        command
    };
    let there = exists("bpftrace", &[]);
    let (mut alone, mut traced, mut lines, mut bpftrace) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..programs.rounds.min(7) {
        alone.push(timed(&mut dd(400_000))?);
        traced.push(beside(&mut skep(&["--format", "histogram", "--by", "syscall"]), &mut dd(400_000))?);
        lines.push(beside(&mut skep(&["--format", "jsonl"]), &mut dd(400_000))?);
        if there {
            bpftrace.push(beside(Command::new("bpftrace").args(["-e", PROGRAM]), &mut dd(400_000))?);
        }
    }
    let (alone, traced) = (median(&alone), median(&traced));
    let beside_bpftrace = "its histogram of times by system call, beside bpftrace's";
    let last = match bpftrace.is_empty() {
        true => Row::plain(beside_bpftrace, "s; bpftrace is not installed", traced, Bar::None),
        false => Row::against(beside_bpftrace, "s", traced, median(&bpftrace), Bar::RatioAtMost(1.15)),
    };
    Ok(vec![
        Row::against("800,000 system calls, traced into a histogram", "s", traced, alone, Bar::None),
        Row::against("the same, traced one line a call", "s", median(&lines), alone, Bar::None),
        last,
    ])
}

/// How long the work of all CPUs is measured at a time.
const WINDOW: Duration = Duration::from_secs(4);

/// All CPUs busy, alone and sampled at 99 Hz; and what the sampling took by the kernel's own accounts.
pub(super) fn sampling(programs: &Programs) -> Result<Vec<Row>> {
    const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
    let statistics = std::fs::read_to_string(STATISTICS).unwrap_or_default();
    // Run time of programs is counted where the user may say so.
    let counted = std::fs::write(STATISTICS, "1").is_ok();
    let (mut alone, mut ratios, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..programs.rounds.min(9) {
        let mut skep = Command::new(&programs.skep);
        skep.args(["profile", "cpu", "--format", "folded"]);
        let mut sampled = || -> Result<(f64, f64)> {
            let skep = Background::start(skep.stderr(Stdio::piped()))?;
            thread::sleep(Duration::from_secs(2));
            let before = skep.taken()?;
            let work = work_of_all_cpus()?;
            let taken = skep.taken()? - before;
            skep.interrupt()?;
            Ok((work, taken))
        };
        // In turn the other one first.
        let (without, (with, taken)) = match round % 2 {
            0 => (work_of_all_cpus()?, sampled()?),
            _ => {
                let sampled = sampled()?;
                (work_of_all_cpus()?, sampled)
            }
        };
        let cpus = cpus() as f64;
        alone.push(WINDOW.as_nanos() as f64 * cpus / without);
        ratios.push(without / with);
        shares.push(100.0 * taken / (WINDOW.as_secs_f64() * cpus));
    }
    if counted {
        let _ = std::fs::write(STATISTICS, statistics.trim());
    }
    let alone = median(&alone);
    let unit = if counted { "%" } else { "% (its program's not counted)" };
    Ok(vec![
        Row::against(
            "work of all CPUs, sampled at 99 Hz",
            "ns",
            alone * median(&ratios),
            alone,
            Bar::RatioAtMost(1.01),
        ),
        Row::plain("CPU time of skep and of its program while it samples", unit, median(&shares), Bar::AtMost(1.0)),
    ])
}

fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Units of work that a thread on each CPU gets done in [`WINDOW`], together.
fn work_of_all_cpus() -> Result<f64> {
    let threads: Vec<_> = (0..cpus())
        .map(|cpu| {
            thread::spawn(move || {
                let mut set = CpuSet::new();
                set.set(cpu);
                // Where it may not be pinned the scheduler spreads them as well as it can.
                let _ = sched_setaffinity(None, &set);
                let (start, mut done, mut random) = (Instant::now(), 0u64, 1u64);
                while start.elapsed() < WINDOW {
                    for _ in 0..10_000 {
                        random = black_box(random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                    }
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for thread in threads {
        done += thread.join().map_err(|_| Error::new(Kind::Internal, "a working thread panicked"))?;
    }
    Ok(done as f64)
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

    /// Seconds of CPU time that it took so far, with the run time of its eBPF programs where the kernel counts that.
    fn taken(&self) -> Result<f64> {
        let Some(child) = &self.0 else { return Ok(0.0) };
        let process = format!("/proc/{}", child.id());
        let stat = std::fs::read_to_string(format!("{process}/stat")).context(|| format!("reading {process}/stat"))?;
        // utime and stime are the 14th and 15th of proc_pid_stat(5), in hundredths; the second may hold blanks.
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest).split_whitespace();
        let ticks: f64 = after_name.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
        let mut nanos = 0.0;
        for file in
            std::fs::read_dir(format!("{process}/fdinfo")).context(|| format!("reading {process}/fdinfo"))?.flatten()
        {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            let time = text.lines().find_map(|line| line.strip_prefix("run_time_ns:")?.trim().parse::<f64>().ok());
            nanos += time.unwrap_or(0.0);
        }
        Ok(ticks / 100.0 + nanos / 1e9)
    }

    /// Ends it; what it said on standard error. One that does not end on Ctrl-C is killed: its answer is not needed.
    fn interrupt(mut self) -> Result<String> {
        let Some(mut child) = self.0.take() else { return Ok(String::new()) };
        output(Command::new("kill").args(["-INT", &child.id().to_string()]))?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while child.try_wait().context(|| "waiting for the observer")?.is_none() {
            if Instant::now() > deadline {
                child.kill().context(|| "ending the observer")?;
            }
            thread::sleep(Duration::from_millis(10));
        }
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
