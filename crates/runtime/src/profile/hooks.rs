//! A plugin of world `hooks` as a filter of a flow: one call a batch, and as the first stage its memory is where the source writes.

use skep_admit::Admission;
use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Schema, Selection};
use skep_flow::{Added, Faults, Head, Operator, Pipeline, Step};
use skep_sandbox::{
    Log, TrapKind,
    worlds::hooks::{Failed, NoKernel, Plugin, RecordLayout, Services},
};

/// A plugin that fills the slot `filter`.
pub(super) struct HooksFilter {
    name: String,
    wasm: Vec<u8>,
    admission: Admission,
    /// Goes to the plugin when that is made.
    log: Option<Log>,
    /// Made when the records' layout is known.
    plugin: Option<Plugin>,
    capacity: usize,
    /// Events on which it failed.
    faults: Faults,
}

/// The last of the levels (0 error … 4 trace) whose lines everybody sees; the others are for `-v`.
const SHOWN: u32 = 2;

impl HooksFilter {
    /// A plugin that was admitted.
    pub(super) fn new(name: String, wasm: Vec<u8>, admission: Admission, log: Log) -> Self {
        Self { name, wasm, admission, log: Some(log), plugin: None, capacity: 0, faults: Faults::default() }
    }

    /// What it is lent: its log, and the directories of its admission.
    fn services(&mut self) -> Services {
        let mut log = self.log.take();
        let lines = move |level: u32, line: &str| match &mut log {
            Some(log) if level <= SHOWN => log.line(line.as_bytes()),
            _ => tracing::debug!(target: "plugin", "{line}"),
        };
        Services::new(lines, Box::new(NoKernel), self.admission.directories.clone())
    }

    /// Asks the plugin about the records in its buffer. One that fails does so on all of a batch's records.
    fn ask(&mut self, selection: &mut Selection) -> Result<()> {
        let plugin = self.plugin()?;
        let failed = |plugin: &Plugin| plugin.counters().failed_open + plugin.counters().failed_closed;
        let before = failed(plugin);
        plugin.filter(selection)?;
        let events = failed(plugin) - before;
        let exhausted = matches!(
            plugin.last_failure(),
            Some(Failed::Trapped(Some(TrapKind::OutOfFuel | TrapKind::Interrupted), _))
        );
        let faults = if exhausted { &mut self.faults.exhausted } else { &mut self.faults.trapped };
        *faults += events;
        Ok(())
    }

    fn plugin(&mut self) -> Result<&mut Plugin> {
        self.plugin.as_mut().ok_or_else(|| Error::new(Kind::Internal, "a plugin was asked before it was bound"))
    }
}

impl Operator for HooksFilter {
    fn name(&self) -> &str {
        &self.name
    }

    fn bind(&mut self, schema: &mut Schema) -> Result<()> {
        let layout = RecordLayout::of(schema)
            .ok_or_else(|| Error::new(Kind::Unsupported, "records whose size is no multiple of 8 fit no plugin"))?;
        self.capacity = (Pipeline::BATCH_BYTES / schema.stride()).max(1);
        let admission = self.admission.clone();
        let services = self.services();
        self.plugin = Some(Plugin::new(&self.wasm, admission, layout, self.capacity, services, None)?);
        Ok(())
    }

    fn process(&mut self, _: &Schema, batch: &mut Batch<'_>) -> Result<Step> {
        let (capacity, stride) = (self.capacity, batch.stride());
        if batch.len() > capacity {
            return Err(Error::new(Kind::Internal, format!("a batch of {} records for a plugin", batch.len())));
        }
        let mut selection = batch.selection().clone();
        let plugin = self.plugin()?;
        plugin.buffer()[..batch.len() * stride].copy_from_slice(batch.records());
        self.ask(&mut selection)?;
        *batch.selection_mut() = selection;
        Ok(Step::Next)
    }

    fn faults(&self) -> Faults {
        self.faults
    }

    fn head(&mut self) -> Option<&mut dyn Head> {
        Some(self)
    }
}

impl Head for HooksFilter {
    fn buffer(&mut self, stride: usize, bytes: usize) -> Result<&mut [u8]> {
        let room = (self.capacity * stride).min(bytes.max(stride));
        let buffer = self.plugin()?.buffer();
        let room = room.min(buffer.len() / stride * stride);
        Ok(&mut buffer[..room])
    }

    fn process_in_place(&mut self, _: &Schema, _: usize, added: &mut Added) -> Result<Step> {
        self.ask(&mut added.selection)?;
        Ok(Step::Next)
    }

    fn records(&self, _: usize, records: usize) -> &[u8] {
        self.plugin.as_ref().map(|plugin| plugin.records(records)).unwrap_or_default()
    }
}
