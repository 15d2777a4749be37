use crate::{Faults, Operator, Step};
use skep_error::{Result, ResultExt as _};
use skep_event::{Batch, Schema};
use std::time::{Duration, Instant};

/// What one operator did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The operator's name.
    pub name: String,
    /// Records that were selected when it got them.
    pub seen: u64,
    /// Records that went on.
    pub kept: u64,
    /// Records that it dropped: seen, neither kept nor held.
    pub dropped: u64,
    /// Faults of single records.
    pub faults: Faults,
    /// Time spent in it.
    pub time: Duration,
}

/// An operator with its counters.
pub(crate) struct Stage {
    pub(crate) operator: Box<dyn Operator>,
    pub(crate) counters: Counters,
}

impl Stage {
    pub(crate) fn new(operator: Box<dyn Operator>) -> Self {
        let counters = Counters { name: operator.name().to_owned(), ..Counters::default() };
        Self { operator, counters }
    }

    /// Runs the operator on a batch, and counts.
    pub(crate) fn process(&mut self, schema: &Schema, batch: &mut Batch<'_>) -> Result<Step> {
        let seen = batch.selection().count();
        if seen == 0 {
            return Ok(Step::Next);
        }
        let start = Instant::now();
        let step = self.operator.process(schema, batch).context(|| self.counters.name.clone())?;
        self.count(seen, batch.selection().count(), step, start.elapsed());
        Ok(step)
    }

    pub(crate) fn count(&mut self, seen: usize, kept: usize, step: Step, time: Duration) {
        self.counters.seen += seen as u64;
        self.counters.time += time;
        self.counters.faults = self.operator.faults();
        self.counters.dropped += (seen - kept.min(seen)) as u64;
        if step != Step::Held {
            self.counters.kept += kept as u64;
        }
    }

    /// What the operator held back, counted as kept.
    pub(crate) fn finish(&mut self, schema: &Schema) -> Result<Vec<Batch<'static>>> {
        let batches = self.operator.finish(schema).context(|| self.counters.name.clone())?;
        let kept: usize = batches.iter().map(|batch| batch.selection().count()).sum();
        self.counters.kept += kept as u64;
        self.counters.dropped = self.counters.seen.saturating_sub(self.counters.kept);
        Ok(batches)
    }
}
