use crate::{
    Added, Counters, Operator, Sink, Source, Step,
    queue::{Sent, SinkThread},
    stage::Stage,
};
use skep_error::Result;
use skep_event::{Batch, Field, Lost, Schema};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Ends a run: by its deadline, or from another thread or a signal handler through the flag.
#[derive(Clone, Debug, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
    duration: Option<Duration>,
}

impl Control {
    /// A run that ends with its source, or after `duration`.
    pub fn new(duration: Option<Duration>) -> Self {
        Self { stop: Arc::default(), duration }
    }

    /// The flag that ends the run when it is set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Ends the run.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Events that the source handed out, each on its own or in a sum.
    pub events: u64,
    /// Events that went to the sinks.
    pub kept: u64,
    /// What did not come through.
    pub lost: Lost,
    /// Time since the start.
    pub elapsed: Duration,
    /// Time until the deadline.
    pub left: Option<Duration>,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Events that the source handed out, each on its own or in a sum.
    pub events: u64,
    /// Events that went to the sinks.
    pub kept: u64,
    /// What did not come through.
    pub lost: Lost,
    /// Of the source's events, those of something that had not ended when the run did.
    pub under_way: u64,
    /// What each operator did, first to last.
    pub operators: Vec<Counters>,
    /// How long it took.
    pub elapsed: Duration,
}

/// A source, the operators and the sinks.
pub struct Pipeline {
    source: Box<dyn Source>,
    stages: Vec<Stage>,
    sinks: Vec<Box<dyn Sink>>,
}

impl Pipeline {
    /// Bytes of a batch at most, unless one record is longer.
    pub const BATCH_BYTES: usize = 256 * 1024;
    /// The longest a source waits for records before the run looks at its deadline.
    const WAIT: Duration = Duration::from_millis(100);
    /// Records of the first batch: nobody knows yet how long operators take over one.
    const FIRST: usize = 64;
    /// A batch that operators take longer over makes the next one shorter: between two of them the run sees that it should end.
    const LONG: Duration = Duration::from_millis(50);
    /// How long what had been collected by the end may take to go through the operators; the rest is counted as lost.
    const GRACE: Duration = Duration::from_secs(1);

    /// A run that reads `source`.
    pub fn new(source: Box<dyn Source>) -> Self {
        Self { source, stages: Vec::new(), sinks: Vec::new() }
    }

    /// Adds the next operator.
    #[must_use]
    pub fn operator(mut self, operator: Box<dyn Operator>) -> Self {
        self.stages.push(Stage::new(operator));
        self
    }

    /// Adds a sink; each gets every kept record.
    #[must_use]
    pub fn sink(mut self, sink: Box<dyn Sink>) -> Self {
        self.sinks.push(sink);
        self
    }

    /// Runs to the end. `report` is called after each batch and at least ten times a second.
    ///
    /// # Errors
    /// The first of any stage; the sinks have then finished with what had reached them.
    pub fn run(self, control: &Control, report: impl FnMut(&Progress)) -> Result<Summary> {
        let (summary, ended) = self.run_to_end(control, report);
        ended.map(|()| summary)
    }

    /// [`Pipeline::run`], which says what the run did also where it failed.
    pub fn run_to_end(mut self, control: &Control, mut report: impl FnMut(&Progress)) -> (Summary, Result<()>) {
        let mut run = match self.begin() {
            Ok(run) => run,
            Err(error) => return (Summary::default(), Err(error)),
        };
        let outcome = run.drive(self.source.as_mut(), &mut self.stages, control, &mut report);
        let mut summary = run.summary;
        summary.elapsed = run.start.elapsed();
        summary.operators = self.stages.iter().map(|stage| stage.counters.clone()).collect();
        let sunk = run.sinks.finish(summary.clone());
        (summary, outcome.and(sunk))
    }

    /// Binds operators and sinks.
    fn begin(&mut self) -> Result<Run> {
        let mut schema = self.source.schema().clone();
        for stage in &mut self.stages {
            stage.operator.bind(&mut schema)?;
        }
        let schema = Arc::new(schema);
        let sinks = std::mem::take(&mut self.sinks);
        let sinks = SinkThread::start(sinks, schema.clone(), &self.source.stacks(), self.source.live())?;
        let count = schema.find("count").filter(|_| self.source.sums()).map(|index| schema.fields()[index].clone());
        let summary = Summary::default();
        let most = (Self::BATCH_BYTES / schema.stride()).max(1);
        let (start, at_once) = (Instant::now(), Self::FIRST.min(most));
        Ok(Run { schema, count, sinks, summary, lost_in_queue: 0, start, sinks_gone: false, most, at_once })
    }
}

/// A run under way.
struct Run {
    schema: Arc<Schema>,
    /// How many events a record stands for, where it may be many.
    count: Option<Field>,
    sinks: SinkThread,
    summary: Summary,
    /// Events that this run's own queue had no room for.
    lost_in_queue: u64,
    start: Instant,
    sinks_gone: bool,
    /// Records of a batch at most, and those that operators get through in [`Pipeline::LONG`].
    most: usize,
    at_once: usize,
}

impl Run {
    fn drive(
        &mut self,
        source: &mut dyn Source,
        stages: &mut [Stage],
        control: &Control,
        report: &mut dyn FnMut(&Progress),
    ) -> Result<()> {
        let mut own = Vec::new();
        let mut added = Added::default();
        // The time is over, and what had been collected by then is taken.
        let mut draining = false;
        let mut patience = Instant::now();
        loop {
            let left = control.duration.map(|duration| duration.saturating_sub(self.start.elapsed()));
            let over = control.stopped() || left == Some(Duration::ZERO);
            let wait = if over { Duration::ZERO } else { left.unwrap_or(Pipeline::WAIT).min(Pipeline::WAIT) };
            let (filled, end) = self.turn(source, stages, wait, &mut own, &mut added)?;
            self.account(source, stages);
            report(&Progress {
                events: self.summary.events,
                kept: self.summary.kept,
                lost: self.summary.lost,
                elapsed: self.start.elapsed(),
                left,
            });
            if end || self.sinks_gone {
                break;
            }
            if draining && filled == 0 {
                break;
            }
            if over && !draining {
                draining = source.stop()?;
                patience = Instant::now() + Pipeline::GRACE;
                if !draining {
                    break;
                }
            }
            if draining && Instant::now() > patience {
                self.count_the_rest(source, &mut own)?;
                break;
            }
        }
        for at in 0..stages.len() {
            for mut batch in stages[at].finish(&self.schema)? {
                self.pass(&mut stages[at + 1..], &mut batch)?;
            }
        }
        self.account(source, stages);
        Ok(())
    }

    /// What the operators had no time for: events of the source that nobody sees.
    fn count_the_rest(&mut self, source: &mut dyn Source, own: &mut Vec<u8>) -> Result<()> {
        let schema = self.schema.clone();
        own.resize(self.most * schema.stride(), 0);
        loop {
            let fill = source.fill(own, Duration::ZERO)?;
            let batch = Batch::new(&own[..(fill.records * schema.stride()).min(own.len())], &schema);
            let events = self.events(&batch);
            self.summary.events += events;
            self.lost_in_queue += events;
            if fill.records == 0 || fill.end {
                return Ok(());
            }
        }
    }

    /// Makes the next batch as long as the operators get through in time, by how long they took over this one.
    fn pace(&mut self, records: usize, took: Duration) {
        self.at_once = if took > Pipeline::LONG {
            let share = Pipeline::LONG.as_secs_f64() / took.as_secs_f64();
            ((records as f64 * share) as usize).max(1)
        } else {
            (2 * self.at_once).min(self.most)
        };
    }

    /// One batch from the source through the operators. Returns the records filled, and whether the run ends.
    fn turn(
        &mut self,
        source: &mut dyn Source,
        stages: &mut [Stage],
        wait: Duration,
        own: &mut Vec<u8>,
        added: &mut Added,
    ) -> Result<(usize, bool)> {
        let schema = self.schema.clone();
        let stride = schema.stride();
        let room = self.at_once * stride;
        if let Some((first, rest)) = stages.split_first_mut()
            && let Some(head) = first.operator.head()
        {
            let fill = source.fill(head.buffer(stride, room)?, wait)?;
            self.summary.events += fill.records as u64;
            if fill.records == 0 {
                return Ok((0, fill.end));
            }
            added.selection.reset(fill.records);
            added.columns.clear();
            let start = Instant::now();
            let step = head.process_in_place(&schema, fill.records, added)?;
            let time = start.elapsed();
            let records = head.records(stride, fill.records);
            let mut batch = Batch::with_selection(records, &schema, std::mem::take(&mut added.selection))?;
            for (index, column) in added.columns.drain(..) {
                batch.set_column(index, column)?;
            }
            let kept = batch.selection().count();
            let over = match step {
                Step::Held => false,
                Step::Next | Step::Last => self.pass(rest, &mut batch)? || step == Step::Last,
            };
            drop(batch);
            first.count(fill.records, kept, step, time);
            self.pace(fill.records, start.elapsed());
            return Ok((fill.records, fill.end || over));
        }
        own.resize(room, 0);
        let fill = source.fill(own, wait)?;
        let mut batch = Batch::new(&own[..(fill.records * stride).min(room)], &schema);
        self.summary.events += self.events(&batch);
        let start = Instant::now();
        let over = fill.records > 0 && self.pass(stages, &mut batch)?;
        drop(batch);
        self.pace(fill.records, start.elapsed());
        Ok((fill.records, fill.end || over))
    }

    /// Takes a batch through the operators to the sinks; returns whether the run ends after it.
    fn pass(&mut self, stages: &mut [Stage], batch: &mut Batch<'_>) -> Result<bool> {
        let mut last = false;
        for stage in stages {
            match stage.process(&self.schema, batch)? {
                Step::Next => {}
                Step::Held => return Ok(last),
                Step::Last => last = true,
            }
        }
        if batch.selection().count() == 0 {
            return Ok(last);
        }
        let events = self.events(batch);
        match self.sinks.send(batch.compact()) {
            Sent::Queued => self.summary.kept += events,
            Sent::Lost => self.lost_in_queue += events,
            Sent::Gone => {
                self.lost_in_queue += events;
                self.sinks_gone = true;
            }
        }
        Ok(last)
    }

    /// The events that the selected records stand for.
    fn events(&self, batch: &Batch<'_>) -> u64 {
        let selected = batch.selection();
        match &self.count {
            Some(count) => selected.iter().map(|index| batch.value(index, count).as_u64().unwrap_or(1)).sum(),
            None => selected.count() as u64,
        }
    }

    fn account(&mut self, source: &dyn Source, stages: &[Stage]) {
        self.summary.lost.kernel = source.lost();
        self.summary.lost.queue = self.lost_in_queue + source.lost_in_queue();
        self.summary.under_way = source.under_way();
        self.summary.lost.filter = stages.iter().map(|stage| stage.counters.dropped).sum();
    }
}
