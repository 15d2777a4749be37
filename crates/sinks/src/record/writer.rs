use super::block::{self, Kind};
use crate::{Options, Output};
use serde_json::json;
use skep_error::{Error, Kind as ErrorKind, Result};
use skep_event::{Batch, Field, Place, Schema, StackTable};
use skep_flow::{Sink, Summary};
use std::time::{Duration, Instant};

/// Bytes of records in a block before it is written.
const BLOCK: usize = 256 * 1024;
/// Stacks in a block at most.
const STACKS: usize = 1024;
/// The longest that records wait for a block to be full: what a kill of the process costs.
const LONGEST: Duration = Duration::from_secs(1);

/// Writes a record file.
pub(crate) struct RecordSink {
    output: Output,
    stacks: StackTable,
    stacks_written: usize,
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
    pub(crate) fn new(output: Output, _: &Options) -> Self {
        Self {
            output,
            stacks: StackTable::new(),
            stacks_written: 0,
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

    /// Stacks stand before the records that name them.
    fn write_stacks(&mut self) -> Result<()> {
        let new = self.stacks.since(self.stacks_written);
        self.stacks_written += new.len();
        for part in new.chunks(STACKS) {
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

/// The schema without columns.
fn schema_json(schema: &Schema) -> serde_json::Value {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .filter_map(|field| match field.place {
            Place::Record { offset, size } => Some(json!({ "name": field.name, "kind": field.kind as u8,
                "offset": offset, "size": size, "hidden": field.hidden,
                "tags": field.tags, "annotations": field.annotations })),
            Place::Column(_) => None,
        })
        .collect();
    json!({ "name": schema.name(), "stride": schema.stride(), "fields": fields })
}

impl Sink for RecordSink {
    fn name(&self) -> &str {
        "record file"
    }

    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        self.stacks = stacks.clone();
        self.time = schema.find("timestamp_ns").map(|index| schema.fields()[index].clone());
        self.output.write(block::MAGIC)?;
        self.offset = block::MAGIC.len() as u64;
        self.json_block(Kind::Schema, 1, &schema_json(schema))
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        for index in batch.selection().iter() {
            self.records.extend_from_slice(batch.record(index));
            self.count += 1;
            if let Some(time) = self.time.as_ref().and_then(|field| batch.value(index, field).as_u64()) {
                let (first, last) = self.times.get_or_insert((time, time));
                (*first, *last) = ((*first).min(time), (*last).max(time));
            }
            if self.records.len() >= BLOCK {
                self.write_records()?;
            }
        }
        if self.written.elapsed() >= LONGEST {
            self.write_records()?;
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<()> {
        self.write_records()
    }

    fn finish(&mut self, _: &Schema, summary: &Summary) -> Result<()> {
        self.write_records()?;
        self.write_stacks()?;
        let lost = summary.lost;
        let counters = json!({ "events": summary.events, "kept": self.total, "lost_kernel": lost.kernel,
            "lost_filter": lost.filter, "lost_queue": lost.queue, "elapsed_ns": summary.elapsed.as_nanos() as u64 });
        self.json_block(Kind::Counters, 1, &counters)?;
        let (index, at) = (json!({ "blocks": self.index, "counters": counters }), self.offset);
        self.json_block(Kind::Index, self.index.len() as u32, &index)?;
        // Not packed to less: the end block has a fixed size, so that it can be found from the file's end.
        self.block(Kind::End, 0, &at.to_le_bytes())
    }
}
