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
    fs::File,
    hint::black_box,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The bench of the sandbox, whose last line holds its ratios.
pub(super) fn filter(_: &Programs) -> Result<Vec<Row>> {
    let value = figures("skep-sandbox", "filter")?;
    let beside_bare = |name: &str, way: &str, bare: &str| {
        Ok(Row::against(name, "ns", value(way)?, value(bare)?, Bar::RatioAtMost(1.05)))
    };
    let beside_ours = |name: &str, way: &str, ours: &str| {
        Ok(Row::against(name, "ns", value(way)?, value(ours)?, Bar::RatioAtLeast(2.5)))
    };
    [
        beside_bare("filter, a call an event: records of a flow (filter_records)", "records", "bare_records"),
        beside_bare("filter, a call an event: a vector in place (filter_batch)", "batch", "bare"),
        beside_bare("filter, a call an event: one on its own (filter_event)", "event", "bare"),
        beside_ours("the public way with a vector, beside filter_batch", "public_batch", "batch"),
        beside_ours("the public way with an event, beside filter_event", "public", "event"),
    ]
    .into_iter()
    .collect()
}

/// A million recorded system calls through one filter, and the memory that four millions take beside it.
pub(super) fn replay(programs: &Programs) -> Result<Vec<Row>> {
    const EVENTS: u64 = 1_000_000;
    let dir = PathBuf::from(output(Command::new("mktemp").arg("-d"))?.trim());
    let (short, long) = (dir.join("1M.skep"), dir.join("4M.skep"));
    let records = record(programs, &short, EVENTS)?;
    record(programs, &long, 4 * EVENTS)?;
    let (mut times, mut peak, mut peak_of_long) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..programs.rounds {
        times.push(timed(&mut replay_of(programs, &short))? * EVENTS as f64 / records as f64);
        peak.push(peak_mib(&mut replay_of(programs, &short))?);
        peak_of_long.push(peak_mib(&mut replay_of(programs, &long))?);
    }
    std::fs::remove_dir_all(&dir).context(|| format!("removing {}", dir.display()))?;
    Ok(vec![
        Row::plain("a million events replayed", "s", median(&times), Bar::AtMost(1.0)),
        Row::against(
            "memory at most while four million are, beside one million",
            "MiB",
            median(&peak_of_long),
            median(&peak),
            Bar::RatioAtMost(1.1),
        ),
    ])
}

/// Records so many system calls at least; how many there are.
fn record(programs: &Programs, file: &Path, events: u64) -> Result<u64> {
    let mut skep = Command::new(&programs.skep);
    skep.args(["record", "syscall", "--comm", "dd", "-o"]).arg(file).stderr(Stdio::piped());
    let recorder = Background::start(&mut skep)?;
    // The file is created before the collector is attached; calls before that are not missed by anybody.
    thread::sleep(Duration::from_secs(1));
    // Two calls a block, and one in ten may be lost.
    output(&mut dd(events * 11 / 20))?;
    let said = recorder.interrupt()?;
    let mut words = said.split_whitespace().zip(said.split_whitespace().skip(1));
    let records = words.find_map(|(number, word)| if word == "events," { number.parse().ok() } else { None });
    match records {
        Some(records) if records >= events => Ok(records),
        _ => Err(Error::new(Kind::BadInput, format!("fewer than {events} events were recorded: {said}"))),
    }
}

fn replay_of(programs: &Programs, file: &Path) -> Command {
    let mut command = Command::new(&programs.skep);
    command.arg("replay").arg(file).arg("--filter").arg(root().join("examples/filters/slow.wasm"));
    command.args(["--format", "histogram"]);
    command
}

/// The most resident memory that a command has, as far as it can be seen every millisecond.
fn peak_mib(command: &mut Command) -> Result<f64> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context(|| format!("starting {command:?}"))?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0;
    while child.try_wait().context(|| "waiting for a replay")?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak = f64::max(peak, kib.unwrap_or(0.0));
        thread::sleep(Duration::from_millis(1));
    }
    Ok(peak / 1024.0)
}

/// Blocks that `dd` copies when it is traced: two system calls each.
const BLOCKS: u64 = 400_000;

/// The two questions as bpftrace asks them: a histogram of times for each system call, and a line a call.
const HISTOGRAM: &str = "tracepoint:raw_syscalls:sys_enter /comm == \"dd\"/ { @start[tid] = nsecs; @id[tid] = args->id; } \
    tracepoint:raw_syscalls:sys_exit /@start[tid]/ { @ns[@id[tid]] = hist(nsecs - @start[tid]); delete(@start[tid]); delete(@id[tid]); }";
const LINES: &str = "tracepoint:raw_syscalls:sys_enter /comm == \"dd\"/ { @start[tid] = nsecs; @id[tid] = args->id; } \
    tracepoint:raw_syscalls:sys_exit /@start[tid]/ { \
    printf(\"%d %d %s %d %d %d\\n\", pid, tid, comm, @id[tid], args->ret, nsecs - @start[tid]); delete(@start[tid]); delete(@id[tid]); }";

/// A process that makes system calls without pause, alone, traced, and traced by bpftrace with the same question.
pub(super) fn trace(programs: &Programs) -> Result<Vec<Row>> {
    if !exists("bpftrace", &[]) {
        return Err(Error::new(Kind::NotFound, "there is no bpftrace to compare with").help("dev/setup.sh bench"));
    }
    let skep = |format: &[&str]| {
        let mut command = Command::new(&programs.skep);
        command.args(["trace", "syscall", "--comm", "dd"]).args(format);
        command
    };
    let bpftrace = |program: &str| {
        let mut command = Command::new("bpftrace");
        command.args(["-e", program]);
        command
    };
    let observers: [&dyn Fn() -> Command; 4] = [
        &|| skep(&["--format", "histogram", "--by", "syscall"]),
        &|| bpftrace(HISTOGRAM),
        &|| skep(&["--format", "table"]),
        &|| bpftrace(LINES),
    ];
    let (mut alone, mut beside_them) = (Vec::new(), [const { Vec::new() }; 4]);
    let mut shown = [0.0; 4];
    for round in 0..programs.rounds.min(7) {
        alone.push(timed(&mut dd(BLOCKS))?);
        for turn in 0..observers.len() {
            let which = (round + turn) % observers.len();
            let (time, lines) = beside(&mut observers[which](), &mut dd(BLOCKS))?;
            beside_them[which].push(time);
            shown[which] = 100.0 * lines as f64 / (2 * BLOCKS) as f64;
        }
    }
    let alone = median(&alone);
    let [histogram, histogram_of_bpftrace, table, lines_of_bpftrace] = beside_them.map(|times| median(&times));
    let beside_alone = |name: &str, time| Row::against(name, "s", time, alone, Bar::None);
    let same_question = |name: &str, ours, theirs| Row::against(name, "s", ours, theirs, Bar::RatioAtMost(1.15));
    Ok(vec![
        beside_alone("800,000 system calls, traced into a histogram", histogram),
        beside_alone("the same, traced one line a call", table),
        same_question("a histogram of times by system call, beside bpftrace's", histogram, histogram_of_bpftrace),
        // Whoever shows fewer lines holds the traced process up less: the times compare only beside the next row.
        same_question("a line a call, beside bpftrace's", table, lines_of_bpftrace),
        Row::against(
            "of these lines, shown; the others are counted as lost",
            "%",
            shown[2],
            shown[3],
            Bar::RatioAtLeast(0.99),
        ),
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

/// The time of `work` while `observer` watches, and how many lines that wrote.
fn beside(observer: &mut Command, work: &mut Command) -> Result<(f64, usize)> {
    let dir = PathBuf::from(output(Command::new("mktemp").arg("-d"))?.trim());
    let shown = dir.join("shown");
    let file = File::create(&shown).context(|| format!("creating {}", shown.display()))?;
    let observer = Background::writing(observer.stderr(Stdio::piped()), file.into())?;
    thread::sleep(Duration::from_secs(2));
    let time = timed(work)?;
    observer.interrupt()?;
    let text = std::fs::read(&shown).context(|| format!("reading {}", shown.display()))?;
    std::fs::remove_dir_all(&dir).context(|| format!("removing {}", dir.display()))?;
    Ok((time, text.iter().filter(|byte| **byte == b'\n').count()))
}

/// A process that ends by Ctrl-C; killed if it is left.
struct Background(Option<Child>);

impl Background {
    fn start(command: &mut Command) -> Result<Self> {
        Self::writing(command, Stdio::null())
    }

    fn writing(command: &mut Command, stdout: Stdio) -> Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(stdout).spawn().context(|| format!("starting {command:?}"))?;
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
