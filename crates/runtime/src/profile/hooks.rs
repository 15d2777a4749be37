//! A plugin of world `hooks` as a filter of a flow: one call a batch, and as the first stage its memory is where the source writes.

use skep_admit::Admission;
use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Schema};
use skep_flow::{Added, Faults, Head, Operator, Pipeline, Step};
use skep_sandbox::worlds::hooks::{Plugin, RecordLayout, Services};

/// A plugin that fills the slot `filter`.
pub(super) struct HooksFilter {
    name: String,
    wasm: Vec<u8>,
    admission: Admission,
    /// Made when the records' layout is known.
    plugin: Option<Plugin>,
    capacity: usize,
}

impl HooksFilter {
    /// A plugin that was admitted.
    pub(super) fn new(name: String, wasm: Vec<u8>, admission: Admission) -> Self {
        Self { name, wasm, admission, plugin: None, capacity: 0 }
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
        let services = Services::with_directories(admission.directories.clone());
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
        plugin.filter(&mut selection)?;
        *batch.selection_mut() = selection;
        Ok(Step::Next)
    }

    fn faults(&self) -> Faults {
        let counters = self.plugin.as_ref().map(Plugin::counters).unwrap_or_default();
        Faults { trapped: counters.traps + counters.failures, exhausted: 0 }
    }

    fn head(&mut self) -> Option<&mut dyn Head> {
        Some(self)
    }
}

impl Head for HooksFilter {
    fn buffer(&mut self, stride: usize, _: usize) -> Result<&mut [u8]> {
        let room = self.capacity * stride;
        let buffer = self.plugin()?.buffer();
        let room = room.min(buffer.len() / stride * stride);
        Ok(&mut buffer[..room])
    }

    fn process_in_place(&mut self, _: &Schema, _: usize, added: &mut Added) -> Result<Step> {
        self.plugin()?.filter(&mut added.selection)?;
        Ok(Step::Next)
    }

    fn records(&self, _: usize, records: usize) -> &[u8] {
        self.plugin.as_ref().map(|plugin| plugin.records(records)).unwrap_or_default()
    }
}
