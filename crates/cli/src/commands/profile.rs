//! `skep profile`, `skep trace`, `skep record`, `skep replay`.

use std::{
    ffi::OsString,
    fs::File,
    io::{IsTerminal as _, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use clap::{Args, Subcommand, ValueEnum};
use skep_bpf::{Collector, CollectorOptions};
use skep_error::{Error, Kind, Result, ResultExt as _};
use skep_flow::{Control, Progress, Summary};
use skep_runtime::{
    profile::{self, Ended, OutputSpec, Through},
    syscalls,
};
use skep_sandbox::Stop;
use skep_sinks::{Format, Output};

use crate::console;

const PROFILE_EXAMPLES: &str = "\
Examples:
  sudo skep profile cpu --duration 10s                       functions by their share of the CPU
  sudo skep profile cpu --pid 1234 --output cpu.svg          a flame graph to open in a browser
  sudo skep profile lock --duration 10s --output locks.pb.gz go tool pprof -http=: locks.pb.gz
  sudo skep profile syscall --pid 1234 --output calls.folded
  skep profile diff before.folded after.folded --output diff.svg

The ending of --output chooses the format: .svg .folded .pb.gz .speedscope.json .trace.json .jsonl .hist .parquet .skep";

const TRACE_EXAMPLES: &str = "\
Examples:
  sudo skep trace syscall --pid 1234 --min 1ms               calls that took a millisecond or more
  sudo skep trace syscall --filter slow.wasm --format jsonl  decided by a Wasm filter
  sudo skep trace syscall --duration 5s --format histogram --by syscall
  sudo skep trace lock --where 'wait_ns>1000000,comm~^nginx'";

const REPLAY_EXAMPLES: &str = "\
Examples:
  sudo skep record syscall --duration 10s -o calls.skep
  skep replay calls.skep --filter slow.wasm                  as the events had come live; needs no root
  skep replay calls.skep --output calls.trace.json           for ui.perfetto.dev
  skep replay calls.skep --output calls.parquet              for DuckDB, pandas, Spark";

#[derive(Debug, Args)]
#[command(after_help = PROFILE_EXAMPLES)]
pub(crate) struct ProfileArgs {
    #[command(subcommand)]
    what: Profile,
}

#[derive(Debug, Subcommand)]
enum Profile {
    /// What runs on the CPUs, by sampling
    Cpu(Live),
    /// Where threads wait for locks, by time waited
    Lock(Live),
    /// Where system calls take their time
    Syscall(Live),
    /// Where threads are off the CPU, by time
    Offcpu(Live),
    /// Two profiles in folded form as one differential flame graph: red grew, blue shrank
    Diff(Diff),
}

#[derive(Debug, Args)]
#[command(after_help = TRACE_EXAMPLES)]
pub(crate) struct TraceArgs {
    #[command(subcommand)]
    what: Trace,
}

#[derive(Debug, Subcommand)]
enum Trace {
    /// System calls, as they end
    Syscall(Live),
    /// Waits for locks, as they end
    Lock(Live),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Cpu,
    Lock,
    Syscall,
    Offcpu,
}

impl What {
    const fn collector(self) -> Collector {
        match self {
            Self::Cpu => Collector::Cpu,
            Self::Lock => Collector::Lock,
            Self::Syscall => Collector::Syscall,
            Self::Offcpu => Collector::OffCpu,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(crate) struct RecordArgs {
    /// What is recorded
    #[arg(value_enum, default_value = "cpu")]
    what: What,

    #[command(flatten)]
    live: Live,
}

#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// The record file
    file: PathBuf,

    /// Leaves out what ended before this time (nanoseconds of CLOCK_MONOTONIC), through the file's index
    #[arg(long, value_name = "NS")]
    since: Option<u64>,

    #[command(flatten)]
    through: ThroughArgs,

    #[command(flatten)]
    out: OutArgs,
}

#[derive(Debug, Args)]
struct Diff {
    /// The profile before, in folded form
    before: PathBuf,
    /// The profile after, in folded form
    after: PathBuf,
    /// Where the SVG goes; standard output if not given
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A run on the live kernel.
#[derive(Debug, Args)]
struct Live {
    /// Ends the run after this time, such as 10s, or 10 for seconds; Ctrl-C otherwise
    #[arg(short, long, value_name = "TIME", value_parser = super::run::parse_time)]
    duration: Option<Duration>,

    /// All threads of this process only; the run ends with it
    #[arg(short, long)]
    pid: Option<u32>,

    /// Processes in this directory of cgroup v2 and below it only
    #[arg(long, value_name = "DIR")]
    cgroup: Option<PathBuf>,

    /// Threads of exactly this name only
    #[arg(long, value_name = "NAME")]
    comm: Option<OsString>,

    /// Samples a second and CPU, of `cpu`; 99 if not given
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    freq: Option<u32>,

    /// Leaves out waits, calls and times off the CPU that took less
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    min: Option<Duration>,

    /// These system calls only, by name or number
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    syscall: Vec<String>,

    /// With the arguments of system calls
    #[arg(long)]
    arguments: bool,

    #[command(flatten)]
    through: ThroughArgs,

    #[command(flatten)]
    out: OutArgs,
}

/// What happens to events on their way.
#[derive(Debug, Args)]
struct ThroughArgs {
    /// A Wasm filter (world `filter`, or `hooks`); several are asked one after the other
    #[arg(long, value_name = "FILE.wasm")]
    filter: Vec<PathBuf>,

    /// Asks a filter only if this policy, a TOML file, admits it to the slot `filter`; without one everything is granted
    #[arg(long, value_name = "FILE", requires = "filter")]
    policy: Option<PathBuf>,

    /// What becomes of events on which a filter traps or runs out of fuel: they are kept, unless a plugin (world `hooks`) declares
    /// something else
    #[arg(long, value_enum, value_name = "WHAT", requires = "filter")]
    on_trap: Option<OnTrap>,

    /// Pages of 64 KiB that a filter may have, below a policy's ceiling; 16 says the ABI, and plugins ask for what they need
    #[arg(long, value_name = "PAGES", requires = "filter", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    filter_pages: Option<u64>,

    /// Lines a second that are shown of what a filter logs; the rest is counted; 20 if not given
    #[arg(long, value_name = "COUNT", requires = "filter")]
    filter_log: Option<u32>,

    /// Keeps events for which all of it holds: duration_ns>1000000,comm==nginx (== != >= > <= < ~)
    #[arg(long = "where", value_name = "EXPRESSION")]
    condition: Option<String>,

    /// Sorts by fields at the end; - before a name puts large ones first
    #[arg(long, value_name = "FIELDS", allow_hyphen_values = true)]
    sort: Option<String>,

    /// Ends after so many events
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,

    /// The fields that rows show
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    fields: Option<Vec<String>>,

    /// With stacks where rows are shown, below each row of a table; profiles always have them
    #[arg(long)]
    stacks: bool,

    /// A histogram for each value of this field
    #[arg(long, value_name = "FIELD")]
    by: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnTrap {
    Keep,
    Drop,
}

/// Where the result goes.
#[derive(Debug, Args)]
struct OutArgs {
    /// Writes to a file, in the format that its ending names; - is standard output; may be given again
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,

    /// The format of standard output and of files whose ending names none: top, folded, flamegraph, pprof, speedscope, chrome, jsonl, table, histogram, parquet, record
    #[arg(short, long)]
    format: Option<String>,
}

pub(crate) fn profile(args: &ProfileArgs) -> Result<u8> {
    match &args.what {
        Profile::Cpu(live) => run_live(Collector::Cpu, live, Format::Top),
        Profile::Lock(live) => run_live(Collector::Lock, live, Format::Top),
        Profile::Syscall(live) => run_live(Collector::Syscall, live, Format::Top),
        Profile::Offcpu(live) => run_live(Collector::OffCpu, live, Format::Top),
        Profile::Diff(diff) => difference(diff),
    }
}

pub(crate) fn trace(args: &TraceArgs) -> Result<u8> {
    match &args.what {
        Trace::Syscall(live) => run_live(Collector::Syscall, live, Format::Table),
        Trace::Lock(live) => run_live(Collector::Lock, live, Format::Table),
    }
}

pub(crate) fn record(args: &RecordArgs) -> Result<u8> {
    if args.live.out.output.is_empty() {
        return Err(Error::new(Kind::Usage, "it is not said where to").help("give -o FILE.skep"));
    }
    run_live(args.what.collector(), &args.live, Format::Record)
}

pub(crate) fn replay(args: &ReplayArgs) -> Result<u8> {
    let outputs = args.out.choose(Format::Table)?;
    let filters = args.through.filters() + usize::from(args.since.is_some() && args.through.condition.is_none());
    let (code, stop) = run(None, &outputs, filters, |control, report| {
        profile::replay(&args.file, args.since, &args.through.through(), &outputs, control, report)
    })?;
    // A live run ends when it is told that it is enough; this one had an end of its own.
    Ok(if stop.requested().is_some() { Kind::Interrupted.exit_code() } else { code })
}

fn run_live(collector: Collector, live: &Live, usual: Format) -> Result<u8> {
    live.check(collector)?;
    let outputs = live.out.choose(usual)?;
    let through = live.through.through();
    let options = live.options(collector, &outputs)?;
    let ran = run(live.duration, &outputs, live.through.filters(), |control, report| {
        profile::live(collector, options, &through, &outputs, control, report)
    });
    ran.map(|(code, _)| code)
}

impl Live {
    fn options(&self, collector: Collector, outputs: &[OutputSpec]) -> Result<CollectorOptions> {
        let stacks = self.through.stacks || outputs.iter().any(|output| output.format.is_of_stacks());
        let recorded = outputs.iter().any(|output| output.format == Format::Record);
        let always = matches!(collector, Collector::Cpu | Collector::OffCpu) || recorded;
        let usual = CollectorOptions::default();
        Ok(CollectorOptions {
            frequency: self.freq.unwrap_or(usual.frequency),
            pid: self.pid,
            cgroup: self.cgroup.clone(),
            comm: self.comm.clone(),
            syscalls: self.syscall.iter().map(|name| syscalls::number(name)).collect::<Result<_>>()?,
            min_duration: self.min.unwrap_or_default(),
            user_stacks: stacks || always || collector == Collector::Lock,
            // On the way out of a system call the kernel's stack says nothing.
            kernel_stacks: (stacks || always) && collector != Collector::Syscall,
            arguments: self.arguments,
            ..usual
        })
    }

    /// An option that says nothing to the collector is refused, not passed over.
    fn check(&self, collector: Collector) -> Result<()> {
        use Collector::{Cpu, Lock, OffCpu, Syscall};
        let options: [(&str, bool, &[Collector]); 4] = [
            ("--freq", self.freq.is_some(), &[Cpu]),
            ("--min", self.min.is_some(), &[Lock, Syscall, OffCpu]),
            ("--syscall", !self.syscall.is_empty(), &[Syscall]),
            ("--arguments", self.arguments, &[Syscall]),
        ];
        match options.into_iter().find(|(_, given, of)| *given && !of.contains(&collector)) {
            None => Ok(()),
            Some((option, _, of)) => {
                let of: Vec<&str> = of.iter().map(|collector| collector.name()).collect();
                let text = format!("{option} says nothing about {}", collector.name());
                Err(Error::new(Kind::Usage, text).help(format!("it is for {}", of.join(", "))))
            }
        }
    }
}

impl ThroughArgs {
    /// The filters that stand first among the operators of a run: those in Wasm, then the native one.
    fn filters(&self) -> usize {
        self.filter.len() + usize::from(self.condition.is_some())
    }

    fn through(&self) -> Through {
        Through {
            filters: self.filter.clone(),
            policy: self.policy.clone(),
            on_trap: self.on_trap.map(|what| match what {
                OnTrap::Keep => skep_sandbox::OnTrap::Keep,
                OnTrap::Drop => skep_sandbox::OnTrap::Drop,
            }),
            max_pages: self.filter_pages,
            log_lines: self.filter_log,
            condition: self.condition.clone(),
            sort: self.sort.clone(),
            limit: self.limit,
            fields: self.fields.clone(),
            stacks: self.stacks,
            histogram_key: self.by.clone(),
            no_cache: false,
        }
    }
}

impl OutArgs {
    fn choose(&self, usual: Format) -> Result<Vec<OutputSpec>> {
        let outputs = OutputSpec::choose(&self.output, self.format.as_deref(), usual)?;
        if usual == Format::Record && outputs.iter().all(|output| output.format != Format::Record) {
            return Err(Error::new(Kind::Usage, "none of the outputs is a record file")
                .help("add -o FILE.skep: other outputs may stand beside it"));
        }
        Ok(outputs)
    }
}

fn difference(args: &Diff) -> Result<u8> {
    let (before, after) = (folded(&args.before)?, folded(&args.after)?);
    let title = format!("{} → {}", args.before.display(), args.after.display());
    let svg = skep_sinks::diff::svg(&before, &after, &title)?;
    let mut output = match &args.output {
        Some(path) => {
            [&args.before, &args.after].into_iter().try_for_each(|input| Output::check_apart(path, input))?;
            Output::create(path)?
        }
        None => Output::stdout(),
    };
    end(output.write(&svg).and_then(|()| output.flush()))
}

/// Bytes of a profile in folded form at most.
const LARGEST_PROFILE: u64 = 1 << 30;

/// A profile in folded form.
fn folded(path: &Path) -> Result<String> {
    let doing = || format!("reading {}", path.display());
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LARGEST_PROFILE + 1).read_to_end(&mut bytes)).context(doing)?;
    let bad = |what: &str| Error::new(Kind::BadInput, what).context(doing());
    if bytes.len() as u64 > LARGEST_PROFILE {
        return Err(bad("it is larger than 1 GiB"));
    }
    if bytes.trim_ascii().is_empty() {
        return Err(bad("it has no stacks"));
    }
    if bytes.starts_with(b"SKEPREC") {
        let help =
            format!("fold it first: skep replay {0} -o {1}", path.display(), path.with_extension("folded").display());
        return Err(bad("it is a record file, not folded stacks").help(help));
    }
    String::from_utf8(bytes).map_err(|_| {
        bad("it is no text, so no folded stacks").help("make them with: skep profile cpu --output before.folded")
    })
}

/// The exit code. A reader of standard output that has gone ends the command quietly, as it ends any other in a pipe.
fn end(result: Result<()>) -> Result<u8> {
    match result {
        Err(error) if is_gone(&error) => Ok(0),
        result => result.map(|()| 0),
    }
}

fn is_gone(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|source| source.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Runs with signals and the progress line, and says at the end what came of it.
fn run(
    duration: Option<Duration>,
    outputs: &[OutputSpec],
    filters: usize,
    work: impl FnOnce(&Control, &mut dyn FnMut(&Progress)) -> Result<Ended>,
) -> Result<(u8, Stop)> {
    let stop = console::stop_on_signals(console::Again::Ends)?;
    let control = Control::new(duration);
    let mut line = ProgressLine::new(stop.clone(), control.clone(), outputs);
    let result = work(&control, &mut |progress| line.show(progress));
    line.clear();
    let (summary, ended) = result?;
    let quiet = ended.as_ref().is_err_and(|error| is_gone(error) || summary.elapsed.is_zero());
    if !quiet {
        summarise(&summary, filters);
    }
    end(ended).map(|code| (code, stop))
}

/// What came of a run whose first `filters` operators were asked for as filters: each of them has its line, any other where it dropped
/// something.
fn summarise(summary: &Summary, filters: usize) {
    let Summary { events, kept, lost, .. } = summary;
    console::note(&format!("{events} events, {kept} kept; {lost}"));
    if summary.under_way > 0 {
        console::note(&format!("unfinished when the run ended: {}, with their times up to then", summary.under_way));
    }
    for (at, counters) in summary.operators.iter().enumerate() {
        let failures = counters.faults.trapped + counters.faults.exhausted;
        if at < filters || counters.dropped > 0 || failures > 0 {
            console::note(&format!(
                "{}: {} seen, {} kept, {} dropped, {} trapped, {} out of fuel, {:.1?}",
                counters.name,
                counters.seen,
                counters.kept,
                counters.dropped,
                counters.faults.trapped,
                counters.faults.exhausted,
                counters.time,
            ));
        }
    }
}

/// One line on a terminal's standard error, rewritten in place; nothing elsewhere.
struct ProgressLine {
    stop: Stop,
    control: Control,
    shown: bool,
    enabled: bool,
    next: Instant,
}

impl ProgressLine {
    fn new(stop: Stop, control: Control, outputs: &[OutputSpec]) -> Self {
        // Where rows appear on the same terminal, the line would be in their way; profiles come when it is gone.
        let rows = outputs.iter().any(|output| output.path.is_none() && !output.format.is_of_stacks());
        let enabled = std::io::stderr().is_terminal() && !(rows && std::io::stdout().is_terminal());
        Self { stop, control, shown: false, enabled, next: Instant::now() }
    }

    fn show(&mut self, progress: &Progress) {
        if self.stop.requested().is_some() {
            self.control.stop();
        }
        if self.stop.requested().is_some() || progress.left == Some(Duration::ZERO) {
            self.clear();
            self.enabled = false;
        }
        if !self.enabled || self.next > Instant::now() {
            return;
        }
        self.next = Instant::now() + Duration::from_millis(200);
        self.shown = true;
        let left = match progress.left {
            Some(left) => format!("{}s left", left.as_secs_f64().ceil()),
            None => "Ctrl-C ends".to_owned(),
        };
        let lost = progress.lost.unwanted();
        let Progress { events, kept, .. } = progress;
        let _ = write!(std::io::stderr(), "\r\x1b[K{events} events, {kept} kept, {lost} lost, {left}");
        let _ = std::io::stderr().flush();
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
