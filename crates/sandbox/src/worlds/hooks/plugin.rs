use std::fmt;

use skep_abi::hooks::{Hook, wire::REPORT};
use skep_admit::{Admission, Failure};
use skep_error::{Error, Kind, Result};
use skep_event::Selection;

use super::{
    RecordLayout, Report, Services, Shaped,
    answer::{Answer, Bad},
    instance::{Instance, Trapped},
};
use crate::{Cache, Engine, Metering, Module, TrapKind};

/// Traps in a row after which a plugin is taken out.
pub const MAX_TRAPS: u32 = 5;

/// Whether a plugin is still asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is.
    Running,
    /// It was taken out after [`MAX_TRAPS`] traps in a row, or because no new instance could be made; why.
    Broken(String),
}

/// Why a batch was handled by the failure policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The guest trapped; the kind is `None` where a host function ended it.
    Trapped(Option<TrapKind>, String),
    /// The guest said that it failed.
    Said(String),
    /// The guest's answer was nonsense.
    Nonsense(String),
    /// The plugin was taken out before.
    Broken,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trapped(_, text) => write!(f, "it trapped: {text}"),
            Self::Said(why) => write!(f, "it says: {why}"),
            Self::Nonsense(what) => write!(f, "it answered with {what}"),
            Self::Broken => f.write_str("it was taken out before"),
        }
    }
}

/// What became of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Calls of the hook.
    pub calls: u64,
    /// Calls that trapped; fuel and time that ran out among them.
    pub traps: u64,
    /// Calls whose answer said that it failed, or was nonsense.
    pub failures: u64,
    /// Records that passed because the plugin failed on them.
    pub failed_open: u64,
    /// Records that were dropped because the plugin failed on them.
    pub failed_closed: u64,
}

/// One plugin in one slot: the hook, its instance, and what happens when it fails.
pub struct Plugin {
    engine: Engine,
    module: Module,
    admission: Admission,
    hook: Hook,
    layout: RecordLayout,
    capacity: usize,
    /// `None` once the plugin is taken out.
    instance: Option<Instance>,
    /// Where records go once there is no instance.
    spare: Vec<u8>,
    /// The records as they came, for a hook `shape` that fails half-way.
    snapshot: Vec<u8>,
    state: State,
    in_a_row: u32,
    counters: Counters,
    last: Option<Failed>,
}

impl Plugin {
    /// Compiles an admitted plugin, makes an instance, and takes its buffers: room for `capacity` records of `layout`.
    ///
    /// # Errors
    /// `Refused` where `wasm` is not what was admitted, or its memory does not suffice; `BadInput` where it does not
    /// compile; `Trap` where it traps before the first batch.
    pub fn new(
        wasm: &[u8],
        admission: Admission,
        layout: RecordLayout,
        capacity: usize,
        services: Services,
        cache: Option<&Cache>,
    ) -> Result<Self> {
        if *blake3::hash(wasm).as_bytes() != admission.hash {
            return Err(Error::new(Kind::Refused, "these bytes are not the module that was admitted"));
        }
        let Some((hook, _)) = admission.hook else {
            return Err(Error::new(Kind::Refused, "the module was not admitted for a hook"));
        };
        if layout.stride == 0 || !layout.stride.is_multiple_of(8) || capacity == 0 {
            let message = format!("{capacity} records of {} bytes make no buffer", layout.stride);
            return Err(Error::new(Kind::Unsupported, message).help("records of a multiple of 8 bytes can be handled"));
        }
        // The stack's limit is the engine's: plugins of one limit share an engine, and all of them a clock.
        let stack = usize::try_from(admission.budget.stack_bytes).unwrap_or(usize::MAX);
        let engine = Engine::shared(Metering::Fuel, stack)?;
        let module = Module::load(&engine, wasm, cache, |_| Ok(()))?;
        let instance = Instance::new(&engine, &module, &admission, hook, &layout, capacity, services)
            .map_err(|failed| failed.0)?;
        Ok(Self {
            engine,
            module,
            admission,
            hook,
            layout,
            capacity,
            instance: Some(instance),
            spare: Vec::new(),
            snapshot: Vec::new(),
            state: State::Running,
            in_a_row: 0,
            counters: Counters::default(),
            last: None,
        })
    }

    /// Room for the records of a batch, in the guest's memory: whoever writes here need not copy.
    pub fn buffer(&mut self) -> &mut [u8] {
        let size = self.capacity * self.layout.stride as usize;
        match &mut self.instance {
            Some(instance) => instance.records_mut(),
            None => {
                self.spare.resize(size, 0);
                &mut self.spare
            }
        }
    }

    /// The first `count` records of the buffer, as the guest left them.
    pub fn records(&self, count: usize) -> &[u8] {
        let count = count.min(self.capacity);
        match &self.instance {
            Some(instance) => instance.records(count),
            None => self.spare.get(..count * self.layout.stride as usize).unwrap_or_default(),
        }
    }

    /// Whether the plugin is still asked.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What became of batches so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Why the last batch that failed did.
    pub fn last_failure(&self) -> Option<&Failed> {
        self.last.as_ref()
    }

    /// What the plugin was lent, its metrics among it; `None` once it is taken out.
    pub fn services(&self) -> Option<&Services> {
        self.instance.as_ref().map(Instance::services)
    }

    /// Hook `filter`: narrows `selection`, which speaks of the records in the buffer.
    ///
    /// # Errors
    /// `Internal` if the plugin fills another slot, or the selection is longer than the buffer. A plugin that fails is
    /// no error.
    pub fn filter(&mut self, selection: &mut Selection) -> Result<()> {
        let count = self.check(Hook::Filter, selection)?;
        let words = count.div_ceil(64);
        let keep = self.call(count, selection, 0, |answer, result| answer.filter(result, words).map(<[u8]>::to_vec));
        match keep {
            Some(keep) => selection.intersect_bytes(&keep),
            None => self.fail(count, selection),
        }
        Ok(())
    }

    /// Hook `shape`: changes the records in the buffer, adds columns and hides fields.
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn shape(&mut self, selection: &mut Selection) -> Result<Shaped> {
        let count = self.check(Hook::Shape, selection)?;
        self.snapshot.clear();
        if let Some(instance) = &self.instance {
            self.snapshot.extend_from_slice(instance.records(count));
        }
        let shaped = self.call(count, selection, 0, |answer, result| answer.shape(result, count));
        if shaped.is_none() {
            // What was changed before it failed is not what the author wanted either.
            let snapshot = std::mem::take(&mut self.snapshot);
            self.buffer()[..snapshot.len()].copy_from_slice(&snapshot);
            self.snapshot = snapshot;
            self.fail(count, selection);
        }
        Ok(shaped.unwrap_or_default())
    }

    /// Hook `observe`: folds the selected records; with `report`, asks for what there is to show.
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn observe(&mut self, selection: &Selection, report: bool) -> Result<Option<Report>> {
        let count = self.check(Hook::Observe, selection)?;
        let flags = if report { REPORT } else { 0 };
        let seen = self.call(count, selection, flags, |answer, result| answer.observe(result));
        if seen.is_none() {
            // Nothing is narrowed by an observer: only count.
            self.counters.failed_open += selection.count() as u64;
        }
        Ok(seen.filter(|_| report))
    }

    fn check(&self, hook: Hook, selection: &Selection) -> Result<usize> {
        if self.hook != hook {
            let message = format!("a plugin for {} was asked to {}", self.hook.name(), hook.name());
            return Err(Error::new(Kind::Internal, message));
        }
        if selection.len() > self.capacity {
            let message = format!("{} records in a buffer of {}", selection.len(), self.capacity);
            return Err(Error::new(Kind::Internal, message));
        }
        Ok(selection.len())
    }

    /// One call; `None` where the batch is to be handled by the failure policy.
    fn call<T>(
        &mut self,
        count: usize,
        selection: &Selection,
        flags: u32,
        read: impl FnOnce(&mut Answer<'_>, i64) -> Result<T, Bad>,
    ) -> Option<T> {
        let Some(instance) = &mut self.instance else {
            self.last = Some(Failed::Broken);
            return None;
        };
        self.counters.calls += 1;
        let failed = match instance.call(count, selection.words(), flags) {
            Ok(result) => {
                self.in_a_row = 0;
                match read(&mut Answer::new(instance.memory(), self.admission.budget.output_bytes), result) {
                    Ok(value) => return Some(value),
                    Err(Bad::Failed(why)) => Failed::Said(why),
                    Err(Bad::Nonsense(what)) => Failed::Nonsense(what),
                }
            }
            Err(Trapped { kind, text }) => {
                self.counters.traps += 1;
                self.in_a_row += 1;
                let failed = Failed::Trapped(kind, text.clone());
                self.say(&failed);
                self.replace(count, &text);
                self.last = Some(failed);
                return None;
            }
        };
        self.counters.failures += 1;
        self.say(&failed);
        self.last = Some(failed);
        None
    }

    /// Says why the plugin failed, the first time; what comes after is counted.
    fn say(&self, failed: &Failed) {
        let hook = self.hook.name();
        if self.counters.traps + self.counters.failures > 1 {
            return tracing::debug!("a plugin for {hook} failed: {failed}");
        }
        let fate = self.fate();
        tracing::warn!("a plugin for {hook} failed, {fate}: {failed}; more of this are counted");
    }

    fn fate(&self) -> &'static str {
        match self.on_failure() {
            Failure::Open => "its records pass unseen",
            Failure::Closed => "its records are dropped",
        }
    }

    fn fail(&mut self, count: usize, selection: &mut Selection) {
        let selected = selection.count() as u64;
        match self.on_failure() {
            Failure::Open => self.counters.failed_open += selected,
            Failure::Closed => {
                self.counters.failed_closed += selected;
                selection.clear();
            }
        }
        debug_assert!(count >= selection.count());
    }

    fn on_failure(&self) -> Failure {
        self.admission.on_failure
    }

    /// A new instance in place of one that trapped, with the records that lay in it; after too many traps in a row, or
    /// if none can be made, none.
    fn replace(&mut self, count: usize, why: &str) {
        let Some(old) = self.instance.take() else { return };
        let records = old.records(count).to_vec();
        let services = old.into_services();
        if self.in_a_row >= MAX_TRAPS {
            self.take_out(records, format!("it trapped {} times in a row, last: {why}", self.in_a_row));
            return;
        }
        let made = Instance::new(
            &self.engine,
            &self.module,
            &self.admission,
            self.hook,
            &self.layout,
            self.capacity,
            services,
        );
        match made {
            Ok(mut instance) => {
                instance.records_mut()[..records.len()].copy_from_slice(&records);
                self.instance = Some(instance);
            }
            Err(failed) => self.take_out(records, format!("no new instance could be made: {}", failed.0)),
        }
    }

    fn take_out(&mut self, records: Vec<u8>, why: String) {
        tracing::warn!("a plugin for {} is taken out, {}: {why}", self.hook.name(), self.fate());
        self.spare = records;
        self.state = State::Broken(why);
    }
}
