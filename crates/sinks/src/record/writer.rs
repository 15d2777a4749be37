use super::block::{self, Kind};
use crate::{Options, Output};
use serde_json::json;
use skep_error::{Error, Kind as ErrorKind, Result};
use skep_event::{Batch, Field, Place, Schema, StackTable};
use skep_flow::{Sink, Summary};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// Bytes of records in a block before it is written.
const BLOCK: usize = 256 * 1024;
/// Stacks in a block at most.
const STACKS: usize = 1024;
/// The fields whose values name stacks.
const STACK_IDS: [&str; 2] = ["user_stack_id", "kernel_stack_id"];
/// The longest that records wait for a block to be full: what a kill of the process costs.
const LONGEST: Duration = Duration::from_secs(1);

/// Writes a record file.
pub(crate) struct RecordSink {
    output: Output,
    options: Options,
    started_ns: u64,
    stacks: StackTable,
    /// The fields that name stacks.
    stack_fields: Vec<Field>,
    /// Stacks that records named.
    named: HashSet<i64>,
    /// Those of them that are not written yet, in the order in which they were named.
    unwritten: Vec<i64>,
    time: Option<Field>,
    records: Vec<u8>,
    count: u32,
    offset: u64,
    index: Vec<serde_json::Value>,
    total: u64,
    times: Option<(u64, u64)>,
    /// When records were written last.
    written: Instant,
}

impl RecordSink {
    pub(crate) fn new(output: Output, options: &Options) -> Self {
        Self {
            output,
            options: options.clone(),
            started_ns: options.started_ns(),
            stacks: StackTable::new(),
            stack_fields: Vec::new(),
            named: HashSet::new(),
            unwritten: Vec::new(),
            time: None,
            records: Vec::new(),
            count: 0,
            offset: 0,
            index: Vec::new(),
            total: 0,
            times: None,
            written: Instant::now(),
        }
    }

    fn block(&mut self, kind: Kind, items: u32, plain: &[u8]) -> Result<()> {
        let bytes = block::encode(kind, items, plain)?;
        self.output.write(&bytes)?;
        self.output.flush()?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn json_block(&mut self, kind: Kind, items: u32, value: &serde_json::Value) -> Result<()> {
        let text = serde_json::to_vec(value).map_err(|error| Error::wrap(ErrorKind::Internal, error))?;
        self.block(kind, items, &text)
    }

    /// Stacks stand before the records that name them. Which are written does not depend on how far the source is ahead.
    fn write_stacks(&mut self) -> Result<()> {
        let mut known = Vec::new();
        // A stack that the source could not read may still come with a later record.
        self.unwritten.retain(|id| self.stacks.get(*id).map(|frames| known.push((*id, frames))).is_none());
        for part in known.chunks(STACKS) {
            let stacks: Vec<_> = part
                .iter()
                .map(|(id, frames)| {
                    let frames: Vec<_> = frames
                        .iter()
                        .map(|f| {
                            json!([f.address, f.name, f.module, f.build_id, f.file_offset, f.file, f.line, f.kernel])
                        })
                        .collect();
                    json!([id, frames])
                })
                .collect();
            self.index.push(json!([Kind::Stacks as u8, self.offset, part.len(), 0, 0]));
            self.json_block(Kind::Stacks, part.len() as u32, &json!(stacks))?;
        }
        Ok(())
    }

    fn write_records(&mut self) -> Result<()> {
        self.written = Instant::now();
        if self.count == 0 {
            return Ok(());
        }
        self.write_stacks()?;
        let records = std::mem::take(&mut self.records);
        let (first, last) = self.times.take().unwrap_or_default();
        self.index.push(json!([Kind::Batch as u8, self.offset, self.count, first, last]));
        self.block(Kind::Batch, self.count, &records)?;
        self.records = records;
        self.records.clear();
        self.total += u64::from(self.count);
        self.count = 0;
        Ok(())
    }
}

/// The schema without columns, and what is known of the events before they come.
fn schema_json(schema: &Schema, started_ns: u64, sample_period_ns: u64) -> serde_json::Value {
    let fields: Vec<_> = schema
        .record_fields()
        .iter()
        .filter_map(|field| match field.place {
            Place::Record { offset, size } => Some(json!({ "name": field.name, "kind": field.kind as u8,
                "offset": offset, "size": size, "hidden": field.hidden,
                "tags": field.tags, "annotations": field.annotations })),
            Place::Column(_) => None,
        })
        .collect();
    json!({ "name": schema.name(), "stride": schema.stride(), "fields": fields, "started_ns": started_ns,
        "sample_period_ns": sample_period_ns })
}

impl Sink for RecordSink {
    fn name(&self) -> &str {
        "record file"
    }

    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        self.stacks = stacks.clone();
        let names_stack = |field: &&Field| STACK_IDS.contains(&field.name.as_str());
        self.stack_fields = schema.fields().iter().filter(names_stack).cloned().collect();
        self.time = schema.find("timestamp_ns").map(|index| schema.fields()[index].clone());
        self.output.write(block::MAGIC)?;
        self.offset = block::MAGIC.len() as u64;
        let schema = schema_json(schema, self.started_ns, self.options.sample_period_ns);
        self.json_block(Kind::Schema, 1, &schema)
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        for index in batch.selection().iter() {
            self.records.extend_from_slice(batch.record(index));
            self.count += 1;
            for field in &self.stack_fields {
                if let Some(id) = batch.value(index, field).as_i64().filter(|id| *id >= 0)
                    && self.named.insert(id)
                {
                    self.unwritten.push(id);
                }
            }
            if let Some(time) = self.time.as_ref().and_then(|field| batch.value(index, field).as_u64()) {
                let (first, last) = self.times.get_or_insert((time, time));
                (*first, *last) = ((*first).min(time), (*last).max(time));
            }
            if self.records.len() >= BLOCK {
                self.write_records()?;
            }
        }
        if self.written.elapsed() >= LONGEST { self.idle() } else { Ok(()) }
    }

    fn idle(&mut self) -> Result<()> {
        // A replay can be had again, and gives the same file however long it took.
        if self.options.recorded.is_some() { Ok(()) } else { self.write_records() }
    }

    fn finish(&mut self, _: &Schema, summary: &Summary) -> Result<()> {
        self.write_records()?;
        self.write_stacks()?;
        let (lost, elapsed_ns) = (summary.lost, self.options.elapsed_ns(summary.elapsed));
        let counters = json!({ "events": summary.events, "kept": self.total, "lost_kernel": lost.kernel,
            "lost_filter": lost.filter, "lost_queue": lost.queue, "elapsed_ns": elapsed_ns });
        self.json_block(Kind::Counters, 1, &counters)?;
        let (index, at) = (json!({ "blocks": self.index, "counters": counters }), self.offset);
        self.json_block(Kind::Index, self.index.len() as u32, &index)?;
        // Not packed to less: the end block has a fixed size, so that it can be found from the file's end.
        self.block(Kind::End, 0, &at.to_le_bytes())
    }
}
