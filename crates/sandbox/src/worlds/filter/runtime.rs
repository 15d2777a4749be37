//! Loading filters and asking them.

use super::{
    check,
    instance::{self, Instance, Template},
    room, run,
};
use crate::{
    Cache, Engine, Metering, Module, TrapKind,
    log::{Log, LogLines},
};
use skep_abi::{
    event_context::{EventContext, SIZE},
    filter::{FUEL, MAX_PAGES},
};
use skep_error::{Error, Kind, Result, ResultExt as _};
use skep_event::Selection;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// What becomes of an event on which the filter traps or runs out of fuel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTrap {
    /// It is kept: nothing is hidden by a broken filter.
    #[default]
    Keep,
    /// It is dropped.
    Drop,
}

/// What a filter may take.
#[derive(Clone)]
pub struct FilterPolicy {
    /// Fuel of one call, about one for each instruction. The public limit is 1,000,000.
    pub fuel: u64,
    /// Pages of 64 KiB, whoever defines the memory. The public limit is 16.
    pub max_pages: u64,
    /// What becomes of an event on which the filter fails.
    pub on_trap: OnTrap,
    /// Lines a second that `env.log` delivers.
    pub log_lines_per_second: u32,
    /// Where they go; to `tracing` at level info by default.
    pub log: LogLines,
}

impl Default for FilterPolicy {
    fn default() -> Self {
        Self {
            fuel: FUEL,
            max_pages: MAX_PAGES,
            on_trap: OnTrap::Keep,
            log_lines_per_second: 20,
            log: Arc::new(|name, line| tracing::info!(target: "filter", "{name}: {line}")),
        }
    }
}

/// What a filter did since it was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterCounters {
    /// Events it was asked about.
    pub seen: u64,
    /// Events kept, by the filter or by the policy.
    pub kept: u64,
    /// Events dropped, by the filter or by the policy.
    pub dropped: u64,
    /// Events on which it failed, by kind; each is also counted as kept or dropped.
    pub trapped: BTreeMap<TrapKind, u64>,
    /// Time in calls that took a batch.
    pub time: Duration,
    /// Lines of `env.log` that were not delivered.
    pub log_suppressed: u64,
}

impl FilterCounters {
    /// Events on which it failed, of any kind.
    pub fn failures(&self) -> u64 {
        self.trapped.values().sum()
    }
}

/// Compiles filters. Cheap to clone.
#[derive(Clone)]
pub struct WasmRuntime {
    engine: Engine,
    policy: FilterPolicy,
    cache: Option<Arc<Cache>>,
}

impl WasmRuntime {
    /// A runtime with the public limits.
    ///
    /// # Errors
    /// `Internal` when this machine cannot run the engine.
    pub fn new() -> Result<Self> {
        Self::with_policy(FilterPolicy::default())
    }

    /// A runtime with limits of one's own.
    ///
    /// # Errors
    /// As [`WasmRuntime::new`].
    pub fn with_policy(policy: FilterPolicy) -> Result<Self> {
        Ok(Self { engine: Engine::new(Metering::FuelAlone)?, policy, cache: None })
    }

    /// The same, keeping compiled modules in `cache`.
    #[must_use]
    pub fn cached(mut self, cache: Cache) -> Self {
        self.cache = Some(Arc::new(cache));
        self
    }

    /// Checks, compiles and instantiates a filter called `filter`.
    ///
    /// # Errors
    /// `BadInput` if it is no module, or lacks `filter` or a memory, or gives it another type; `Refused` if it imports what is
    /// not offered or starts with more memory than allowed; `Trap` if it traps while it starts.
    pub fn load_filter(&self, bytes: &[u8]) -> Result<WasmFilter> {
        self.load_named("filter", bytes)
    }

    /// [`WasmRuntime::load_filter`] with a name for messages and the log.
    ///
    /// # Errors
    /// As there.
    pub fn load_named(&self, name: &str, bytes: &[u8]) -> Result<WasmFilter> {
        self.load(name, bytes).context(|| format!("loading filter {name}"))
    }

    fn load(&self, name: &str, bytes: &[u8]) -> Result<WasmFilter> {
        if !bytes.starts_with(b"\0asm") {
            return Err(Error::new(Kind::BadInput, "it is no WebAssembly module: it does not start with \\0asm")
                .help("give the .wasm file that the compiler made, not its source or its text form"));
        }
        let compiled = |bytes: &[u8]| -> Result<_> {
            Ok(Module::load(&self.engine, bytes, self.cache.as_deref(), |_| Ok(()))?.wasmtime().clone())
        };
        let mut module = compiled(bytes)?;
        let place = check::check(&module, &self.policy)?;
        if check::is_full(&module)
            && let Some(roomy) = room::raise_maximum(bytes)
        {
            module = compiled(&roomy)?;
        }
        let linker = instance::linker(self.engine.wasmtime())?;
        let run = compiled(run::WASM)?;
        let template =
            Template { module, place, linker, run, fuel: self.policy.fuel, max_pages: self.policy.max_pages };
        let instance = template.instantiate(self.policy.log_of(name))?;
        Ok(WasmFilter {
            name: name.to_owned(),
            template,
            instance,
            keep_on_trap: self.policy.on_trap == OnTrap::Keep,
            decided: [0; 2],
            trapped: BTreeMap::new(),
            time: Duration::ZERO,
            policy: self.policy.clone(),
        })
    }
}

/// A loaded filter: one instance, asked by one thread at a time.
pub struct WasmFilter {
    name: String,
    template: Template,
    instance: Instance,
    keep_on_trap: bool,
    /// Events dropped, and events kept: one addition an event.
    decided: [u64; 2],
    trapped: BTreeMap<TrapKind, u64>,
    time: Duration,
    policy: FilterPolicy,
}

impl WasmFilter {
    /// The filter's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the filter keeps the event. A trap or the end of its fuel is counted and decided by the policy; the next event
    /// meets a fresh instance.
    ///
    /// # Errors
    /// Only if that fresh instance cannot be made.
    // Always: through a call of its own the answer goes by way of memory, which is 5 % of the whole.
    #[inline(always)]
    pub fn filter_event(&mut self, event: &EventContext) -> Result<bool> {
        self.ask(|to| event.write_to(to))
    }

    /// Asks about the event in those bytes, in the layout of [`skep_abi::event_context`].
    ///
    /// # Errors
    /// As [`WasmFilter::filter_event`].
    #[inline(always)]
    pub fn filter_bytes(&mut self, event: &[u8; SIZE]) -> Result<bool> {
        self.ask(|to| *to = *event)
    }

    /// Drops from `events`, in place and in order, those that the filter drops.
    ///
    /// # Errors
    /// As [`WasmFilter::filter_event`]; the events that it was not asked about stay.
    pub fn filter_batch(&mut self, events: &mut Vec<EventContext>) -> Result<()> {
        let start = Instant::now();
        let mut kept = 0;
        let mut outcome = Ok(());
        for first in (0..events.len()).step_by(run::EVENTS) {
            let last = (first + run::EVENTS).min(events.len());
            let mut keep = u64::MAX;
            if outcome.is_ok() {
                let pending = self.instance.events();
                pending.clear();
                events[first..last].iter().for_each(|event| pending.push(|to| event.write_to(to)));
                (keep, outcome) = self.ask_all();
            }
            for at in first..last {
                // Copied whether it is kept or not: a branch on what filters say is a branch on random data.
                events[kept] = events[at];
                kept += (keep >> (at - first) & 1) as usize;
            }
        }
        events.truncate(kept);
        self.time += start.elapsed();
        outcome
    }

    /// Narrows `selection` to the kept ones of `records`, of `stride` bytes each, which start with an event.
    ///
    /// # Errors
    /// As [`WasmFilter::filter_event`]; `Internal` if a record is shorter than an event.
    pub fn filter_records(&mut self, records: &[u8], stride: usize, selection: &mut Selection) -> Result<()> {
        let start = Instant::now();
        let mut outcome = Ok(());
        // A word of the selection speaks of as many records as a run has events.
        for at in 0..selection.words().len() {
            let word = selection.words()[at];
            if word == 0 {
                continue;
            }
            let pending = self.instance.events();
            pending.clear();
            let mut left = word;
            while left != 0 {
                let index = at * run::EVENTS + left.trailing_zeros() as usize;
                left &= left - 1;
                match records.get(index * stride..).and_then(<[u8]>::first_chunk::<SIZE>) {
                    Some(event) => pending.push(|to| *to = *event),
                    None => return Err(Error::new(Kind::Internal, "a record shorter than an event")),
                }
            }
            let keep;
            (keep, outcome) = self.ask_all();
            selection.keep_in_word(at, keep);
            if outcome.is_err() {
                break;
            }
        }
        self.time += start.elapsed();
        outcome
    }

    /// What it did so far.
    pub fn counters(&self) -> FilterCounters {
        let [dropped, kept] = self.decided;
        FilterCounters {
            seen: dropped + kept,
            kept,
            dropped,
            trapped: self.trapped.clone(),
            time: self.time,
            log_suppressed: self.instance.store.data().log.suppressed(),
        }
    }

    /// Bytes of its linear memory now.
    pub fn memory_bytes(&self) -> usize {
        self.instance.memory_bytes()
    }

    /// The way of each event: nothing is here that does not have to be.
    #[inline(always)]
    fn ask(&mut self, write: impl FnOnce(&mut [u8; SIZE])) -> Result<bool> {
        let keep = match self.instance.ask(write) {
            Ok(keep) => keep,
            Err(error) => self.failed(&error)?,
        };
        self.decided[usize::from(keep)] += 1;
        Ok(keep)
    }

    /// Asks about the events that were pushed. Returns a bit for each that is kept; one that was not asked about, because of the error, is
    /// kept.
    fn ask_all(&mut self) -> (u64, Result<()>) {
        let mut before = 0;
        let outcome = loop {
            let Err(error) = self.instance.ask_all(&self.template) else { break Ok(()) };
            let asked = self.instance.events().asked();
            if asked == before {
                // It failed before it met an event, and would again.
                break Err(
                    Error::new(Kind::Internal, format!("{error:#}")).context(format!("asking filter {}", self.name))
                );
            }
            before = asked;
            match self.failed(&error) {
                Ok(keep) => self.instance.events().decide_last(keep),
                Err(error) => break Err(error),
            }
        };
        let events = self.instance.events();
        let (asked, kept) = (events.asked(), events.kept());
        let yes = u64::from(kept.count_ones());
        self.decided[0] += asked as u64 - yes;
        self.decided[1] += yes;
        let unasked = u64::MAX.checked_shl(asked as u32).unwrap_or(0);
        (kept | unasked, outcome)
    }

    /// Counts a failure and puts a fresh instance in the place of the one that failed: a trap leaves a guest's own stack pointer where
    /// it was. Where that fails too, the old one is never run again: each call of it fails at once, and comes here.
    #[cold]
    #[inline(never)]
    fn failed(&mut self, error: &wasmtime::Error) -> Result<bool> {
        let kind = TrapKind::of(error).unwrap_or(TrapKind::Other);
        let count = self.trapped.entry(kind).or_default();
        *count += 1;
        if *count == 1 {
            let fate = if self.keep_on_trap { "kept" } else { "dropped" };
            tracing::warn!("filter {}: {}; the event is {fate}, and more of this are counted", self.name, kind.text());
        }
        self.instance.spend();
        let log = self.instance.replace_log(self.policy.log_of(&self.name));
        let mut fresh = self.template.instantiate(log).context(|| format!("restarting filter {}", self.name))?;
        std::mem::swap(fresh.events(), self.instance.events());
        self.instance = fresh;
        Ok(self.keep_on_trap)
    }
}

impl FilterPolicy {
    fn log_of(&self, name: &str) -> Log {
        Log::new(name, self.log.clone(), self.log_lines_per_second)
    }
}
