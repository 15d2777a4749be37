//! Collectors, filters and sinks put together.
//!
//! ```text
//! live():    collector ─▶ filters ─▶ --where ─▶ columns ─▶ sinks
//! replay():  record file ─▶ the same
//! ```
//!
//! Outputs are opened and filters are loaded before anything is attached: what cannot work is said first.

mod hooks;
mod view;

use std::{
    collections::BTreeSet,
    io::Write as _,
    path::{Path, PathBuf},
};

use skep_abi::World;
use skep_admit::{Failure, Policy, Slot};
use skep_bpf::{Collector, CollectorOptions, CollectorSource, Sums};
use skep_error::{Error, Kind, Result, ResultExt as _};
use skep_event::{Batch, Schema};
use skep_flow::{
    Control, Operator, Pipeline, Progress, Source, Step, Summary,
    operators::{Filter, Limit, Sort},
};
use skep_sandbox::{Cache, FilterPolicy, Log, OnTrap, WasmRuntime, worlds::filter::FilterOperator};
use skep_sinks::{Format, Measure, Options, Output, Recorded, record::RecordSource};

use crate::{policy::admitted, program::read_module};

/// Where kept events go.
#[derive(Clone, Debug)]
pub struct OutputSpec {
    /// What is written.
    pub format: Format,
    /// To which file; standard output if none.
    pub path: Option<PathBuf>,
}

impl OutputSpec {
    /// From every `--output` and `--format`: the ending of each output decides, and the format where that says nothing, as for
    /// standard output (`-`, or no output at all), or little (`.json`, `.txt`); `usual` where there is neither. Record files need no
    /// ending where they are usual.
    ///
    /// # Errors
    /// `Usage` if the format or an ending is unknown, the format is for none of the outputs, or one stands twice.
    pub fn choose(paths: &[PathBuf], format: Option<&str>, usual: Format) -> Result<Vec<Self>> {
        let asked = format.map(Format::from_name).transpose()?;
        if paths.is_empty() {
            return Ok(vec![Self { format: asked.unwrap_or(usual), path: None }]);
        }
        if let Some((at, twice)) = paths.iter().enumerate().find(|(at, path)| paths[..*at].contains(path)) {
            let text = format!("{} stands twice among the outputs, as number {}", twice.display(), at + 1);
            return Err(Error::new(Kind::Usage, text).help("name another file"));
        }
        let one = |path: &PathBuf| {
            if path == Path::new("-") {
                return Ok(Self { format: asked.unwrap_or(usual), path: None });
            }
            let format = match (Format::from_path(path), asked) {
                (Ok(_), Some(asked)) if Format::is_general(path) => asked,
                (Ok(named), _) => named,
                (Err(_), Some(asked)) => asked,
                (Err(_), None) if usual == Format::Record => usual,
                (Err(unknown), None) => return Err(unknown),
            };
            Ok(Self { format, path: Some(path.clone()) })
        };
        let outputs: Vec<Self> = paths.iter().map(one).collect::<Result<_>>()?;
        match asked.filter(|asked| outputs.iter().all(|output| output.format != *asked)) {
            None => Ok(outputs),
            Some(asked) => {
                let names =
                    |output: &Self| Some(format!("{} {}", output.format.name(), output.path.as_ref()?.display()));
                let said: Vec<String> = outputs.iter().filter_map(names).collect();
                let text = format!(
                    "--format {} is for none of the outputs: their endings say {}",
                    asked.name(),
                    said.join(", ")
                );
                Err(Error::new(Kind::Usage, text)
                    .help("leave it out, give a file another ending, or add --output - for standard output"))
            }
        }
    }

    fn open(&self) -> Result<Output> {
        match &self.path {
            Some(path) => Output::create(path),
            None => Ok(Output::stdout()),
        }
    }
}

/// What happens to events between their source and the outputs.
#[derive(Clone, Debug, Default)]
pub struct Through {
    /// Wasm filters of world `filter` or `hooks`, first to last.
    pub filters: Vec<PathBuf>,
    /// The policy that has to admit each of them to the slot `filter`; without one everything is granted.
    pub policy: Option<PathBuf>,
    /// What becomes of events on which a filter fails. If none, they are kept, and a plugin of world `hooks` has what it declares.
    pub on_trap: Option<OnTrap>,
    /// Pages of memory that a filter may have, as far as the policy allows. If none, the public limit of 16, and a plugin of world
    /// `hooks` has what it asks for.
    pub max_pages: Option<u64>,
    /// Lines a second of a filter's log that are shown; 20 if none.
    pub log_lines: Option<u32>,
    /// A native filter: `duration_ns>1000000,comm==nginx`.
    pub condition: Option<String>,
    /// Fields to sort by.
    pub sort: Option<String>,
    /// Ends after so many events.
    pub limit: Option<u64>,
    /// The fields that rows show, in place of the usual ones.
    pub fields: Option<Vec<String>>,
    /// Tables show stacks below their rows.
    pub stacks: bool,
    /// A field whose values each have a histogram of their own.
    pub histogram_key: Option<String>,
    /// Neither reads nor writes the cache of compiled modules.
    pub no_cache: bool,
}

/// What a run did, and whether anything went wrong after it had begun: an output that failed takes no other with it.
pub type Ended = (Summary, Result<()>);

/// Runs a collector.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn live(
    collector: Collector,
    mut collect: CollectorOptions,
    through: &Through,
    outputs: &[OutputSpec],
    control: &Control,
    report: impl FnMut(&Progress),
) -> Result<Ended> {
    collect.sums = sums_for(through, outputs);
    // Only samples of the CPU stand for a time.
    let frequency = if collector == Collector::Cpu { u64::from(collect.frequency) } else { 0 };
    let shown = Shown {
        name: collector.name(),
        sample_period_ns: 1_000_000_000u64.checked_div(frequency).unwrap_or(0),
        recorded: None,
        arguments: collect.arguments,
    };
    let prepared = Prepared::new(&shown, through, outputs)?;
    let source = CollectorSource::start(collector, &collect)?;
    Ok(prepared.run(Box::new(source), control, report))
}

/// What may be added up in the kernel, when nobody looks at single events.
fn sums_for(through: &Through, outputs: &[OutputSpec]) -> Sums {
    /// Fields that events keep in [`Sums::Slots`].
    const KEPT: [&str; 5] = ["syscall", "syscall_id", "comm", "pid", "cgroup_id"];
    let all = |fits: fn(&OutputSpec) -> bool| outputs.iter().all(fits);
    let by = through.histogram_key.as_deref();
    if !through.filters.is_empty() || through.condition.is_some() || through.limit.is_some() || through.sort.is_some() {
        Sums::None
    } else if all(|output| output.format.is_of_stacks()) {
        Sums::Stacks
    } else if all(|output| output.format == Format::Histogram) && by.is_none_or(|by| KEPT.contains(&by)) {
        Sums::Slots
    } else {
        Sums::None
    }
}

/// Sends the events of a record file through filters to outputs. Needs no privilege.
///
/// # Errors
/// Whatever keeps the file from being opened, or a filter or an output from being used.
pub fn replay(
    file: &std::path::Path,
    start_at: Option<u64>,
    through: &Through,
    outputs: &[OutputSpec],
    control: &Control,
    report: impl FnMut(&Progress),
) -> Result<Ended> {
    let mut source = RecordSource::open(file)?;
    let mut through = through.clone();
    if let Some(time) = start_at {
        // The index leaves out whole batches, and the first one that is read began earlier.
        source.start_at(time)?;
        let since = format!("timestamp_ns>={time}");
        through.condition = Some(through.condition.map_or(since.clone(), |condition| format!("{since},{condition}")));
    }
    outputs.iter().filter_map(|output| output.path.as_deref()).try_for_each(|path| Output::check_apart(path, file))?;
    let name = Source::schema(&source).name().to_owned();
    let recorded = source.info().recorded;
    let period = recorded.sample_period_ns;
    let arguments = Source::schema(&source).find("arg0").is_some();
    let shown = Shown { name: &name, sample_period_ns: period, recorded: Some(recorded), arguments };
    Ok(Prepared::new(&shown, &through, outputs)?.run(Box::new(source), control, report))
}

/// What a profile of each collector counts.
pub fn measure_of(collector: &str) -> Measure {
    match collector {
        "lock" | "offcpu" => Measure::Wait,
        "syscall" => Measure::Duration,
        _ => Measure::Samples,
    }
}

/// What is asked for in vain is said, not passed over.
fn check(shown: &Shown<'_>, through: &Through, outputs: &[OutputSpec]) -> Result<()> {
    let any = |fits: fn(Format) -> bool| outputs.iter().any(|output| fits(output.format));
    let histogram = any(|format| format == Format::Histogram);
    if histogram && measure_of(shown.name) == Measure::Samples {
        return Err(Error::new(Kind::Usage, "samples of a CPU take no time that a histogram could show")
            .help("offcpu, lock and syscall have times; for samples there are top, folded and flamegraph"));
    }
    if through.histogram_key.is_some() && !histogram {
        return Err(
            Error::new(Kind::Usage, "--by makes histograms, and no output is one").help("add --format histogram")
        );
    }
    let condition = through.condition.iter().flat_map(|condition| condition.split(','));
    let named = through.fields.iter().flatten().map(String::as_str).chain(condition);
    if !shown.arguments && shown.name == "syscall" && { named }.any(|name| name.trim().starts_with("arg")) {
        let text = "arguments of system calls are not among these events";
        return Err(Error::new(Kind::Usage, text).help("add --arguments where they are collected"));
    }
    if through.fields.is_some() && !any(Format::is_of_rows) {
        return Err(Error::new(Kind::Usage, "--fields chooses what rows show, and no output has rows")
            .help("formats with rows: table, jsonl, chrome, parquet"));
    }
    Ok(())
}

/// What is known of events before they come.
struct Shown<'a> {
    /// The collector's name.
    name: &'a str,
    sample_period_ns: u64,
    /// When the events came, if they come from a file.
    recorded: Option<Recorded>,
    /// Whether system calls come with their arguments.
    arguments: bool,
}

/// Operators and sinks, ready before the source is.
struct Prepared {
    operators: Vec<Box<dyn Operator>>,
    sinks: Vec<Box<dyn skep_flow::Sink>>,
}

impl Prepared {
    fn new(shown: &Shown<'_>, through: &Through, outputs: &[OutputSpec]) -> Result<Self> {
        check(shown, through, outputs)?;
        let mut operators: Vec<Box<dyn Operator>> = filters(through)?;
        let condition = through.condition.as_deref().map(Filter::new).transpose()?;
        let sort = through.sort.as_deref().map(Sort::new).transpose()?;
        let mut added = BTreeSet::new();
        if let Some(filter) = condition {
            let columns = view::named_columns(shown.name, filter.fields(), &mut added);
            operators.push(Box::new(Where { columns, filter }));
        }
        if let Some(sort) = sort {
            operators.extend(view::named_columns(shown.name, sort.fields(), &mut added));
            operators.push(Box::new(sort));
        }
        if let Some(limit) = through.limit {
            operators.push(Box::new(Limit::new(limit)));
        }
        let with_tables = outputs.iter().any(|output| output.format == Format::Table);
        operators.extend(view::operators(shown.name, with_tables, shown.arguments, through.fields.as_deref(), &added));
        let options = Options {
            title: format!("skep profile {}", shown.name),
            measure: measure_of(shown.name),
            sample_period_ns: shown.sample_period_ns,
            recorded: shown.recorded,
            leaf: (shown.name == "syscall").then(|| "syscall".to_owned()),
            stacks: through.stacks,
            histogram_field: None,
            histogram_key: through.histogram_key.clone(),
        };
        let sink = |output: &OutputSpec| Ok(output.format.sink(output.open()?, &options));
        let sinks = outputs.iter().map(sink).collect::<Result<_>>()?;
        Ok(Self { operators, sinks })
    }

    fn run(self, source: Box<dyn Source>, control: &Control, report: impl FnMut(&Progress)) -> Ended {
        let mut pipeline = Pipeline::new(source);
        for operator in self.operators {
            pipeline = pipeline.operator(operator);
        }
        for sink in self.sinks {
            pipeline = pipeline.sink(sink);
        }
        pipeline.run_to_end(control, report)
    }
}

/// A condition, and the columns with names that it speaks of.
struct Where {
    columns: Vec<Box<dyn Operator>>,
    filter: Filter,
}

impl Operator for Where {
    fn name(&self) -> &str {
        self.filter.name()
    }

    fn bind(&mut self, schema: &mut Schema) -> Result<()> {
        self.columns.iter_mut().try_for_each(|column| column.bind(schema))?;
        self.filter.bind(schema)
    }

    fn process(&mut self, schema: &Schema, batch: &mut Batch<'_>) -> Result<Step> {
        for column in &mut self.columns {
            column.process(schema, batch)?;
        }
        self.filter.process(schema, batch)
    }
}

fn filters(through: &Through) -> Result<Vec<Box<dyn Operator>>> {
    if through.filters.is_empty() {
        return Ok(Vec::new());
    }
    let policy = match &through.policy {
        Some(path) => Policy::load(path)?,
        None => {
            let mut policy = Policy::allow_all();
            policy.ceiling.pages = through.max_pages;
            policy
        }
    };
    let load = |path: &PathBuf| filter(path, through, &policy).context(|| path.display().to_string());
    through.filters.iter().map(load).collect()
}

fn filter(path: &Path, through: &Through, policy: &Policy) -> Result<Box<dyn Operator>> {
    let name = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let wasm = read_module(path)?;
    let mut inspection = skep_admit::inspect(&wasm);
    let usual = FilterPolicy::default();
    let mut limits = FilterPolicy {
        on_trap: through.on_trap.unwrap_or_default(),
        max_pages: through.max_pages.unwrap_or(usual.max_pages),
        log_lines_per_second: through.log_lines.unwrap_or(usual.log_lines_per_second),
        // Where nobody reads it, nobody can be told.
        log: std::sync::Arc::new(|name, line| drop(writeln!(std::io::stderr(), "{name}: {line}"))),
        ..usual
    };
    if inspection.world == Some(World::Hooks) {
        // Who runs a plugin asks in its place: a policy's ceiling holds all the same.
        if let (Some(pages), Some(metadata)) = (through.max_pages, &mut inspection.metadata) {
            metadata.budget.pages = Some(pages);
        }
        let mut admission = admitted(&mut inspection, path, Slot::Filter, policy)?;
        admission.on_failure = match through.on_trap {
            Some(OnTrap::Keep) => Failure::Open,
            Some(OnTrap::Drop) => Failure::Closed,
            None => admission.on_failure,
        };
        let log = Log::new(&name, limits.log, limits.log_lines_per_second);
        return Ok(Box::new(hooks::HooksFilter::new(name, wasm, admission, log)));
    }
    // Without a policy the loader of filters alone says what is wrong with a module, and how many pages it may have.
    if through.policy.is_some() {
        let budget = admitted(&mut inspection, path, Slot::Filter, policy)?.budget;
        limits.fuel = budget.fuel;
        limits.max_pages = through.max_pages.map_or(budget.pages, |asked| asked.min(budget.pages));
    }
    let mut runtime = WasmRuntime::with_policy(limits)?;
    if !through.no_cache
        && let Some(cache) = Cache::for_user()
    {
        runtime = runtime.cached(cache);
    }
    Ok(Box::new(FilterOperator::new(runtime.load_named(&name, &wasm)?)))
}
