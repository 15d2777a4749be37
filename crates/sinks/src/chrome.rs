use crate::{Options, Output, jsonl::json};
use serde_json::json as object;
use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Field, Frame, Schema, StackTable};
use skep_flow::{Sink, Summary};
use std::collections::HashMap;

/// Trace events as JSON, for Perfetto and `chrome://tracing`: a system call, a wait or a time off the CPU is a bar on its thread, a sample
/// an instant. Threads have their names.
///
/// The array is written as it grows; both viewers read one that lacks its end.
pub(crate) struct Chrome {
    output: Output,
    stacks: StackTable,
    fields: Option<Fields>,
    /// The names of threads that were written, by process and thread.
    names: HashMap<(u64, u64), String>,
    any: bool,
}

struct Fields {
    time: Field,
    kind: Field,
    pid: Field,
    tid: Field,
    wait: Field,
    duration: Field,
    comm: Field,
    label: Option<Field>,
    user: Field,
}

/// Names of columns that say what a bar is; a time off the CPU has none.
const LABELS: [&str; 2] = ["syscall", "lock"];
const OFF_CPU: &str = "off the CPU";

impl Chrome {
    pub(crate) fn new(output: Output, _: &Options) -> Self {
        Self { output, stacks: StackTable::new(), fields: None, names: HashMap::new(), any: false }
    }

    fn event(&mut self, event: &serde_json::Value) -> Result<()> {
        let mut line = if self.any { b",\n".to_vec() } else { b"\n".to_vec() };
        line.extend(serde_json::to_vec(event).map_err(|error| Error::wrap(Kind::Internal, error))?);
        self.any = true;
        self.output.write(&line)
    }

    /// Says what a thread is called, when that is not known yet. A process has the name of its first thread.
    fn name(&mut self, pid: u64, tid: u64, comm: String) -> Result<()> {
        if self.names.get(&(pid, tid)) == Some(&comm) {
            return Ok(());
        }
        for (what, is_meant) in [("thread_name", true), ("process_name", pid == tid)] {
            if is_meant {
                self.event(&object!({ "name": what, "ph": "M", "pid": pid, "tid": tid, "args": { "name": comm } }))?;
            }
        }
        self.names.insert((pid, tid), comm);
        Ok(())
    }
}

impl Sink for Chrome {
    fn name(&self) -> &str {
        "trace"
    }

    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        let field = |name: &str| schema.require(name).map(|index| schema.fields()[index].clone());
        self.fields = Some(Fields {
            time: field("timestamp_ns")?,
            kind: field("event_type")?,
            pid: field("pid")?,
            tid: field("tid")?,
            wait: field("wait_ns")?,
            duration: field("duration_ns")?,
            comm: field("comm")?,
            label: LABELS.iter().find_map(|name| field(name).ok()),
            user: field("user_stack_id")?,
        });
        self.stacks = stacks.clone();
        self.output.write(b"[")
    }

    fn write(&mut self, schema: &Schema, batch: &Batch<'_>) -> Result<()> {
        let Some(fields) = self.fields.take() else { return Ok(()) };
        let written = self.rows(schema, batch, &fields);
        self.fields = Some(fields);
        written
    }

    fn finish(&mut self, _: &Schema, _: &Summary) -> Result<()> {
        self.output.write(b"\n]\n")?;
        self.output.flush()
    }
}

impl Chrome {
    fn rows(&mut self, schema: &Schema, batch: &Batch<'_>, fields: &Fields) -> Result<()> {
        for index in batch.selection().iter() {
            let number = |field| batch.value(index, field).as_u64().unwrap_or(0);
            let took = number(&fields.wait).max(number(&fields.duration));
            let id = batch.value(index, &fields.user).as_i64().unwrap_or(-1);
            let top = self.stacks.get(id).and_then(|frames| frames.first().map(Frame::label));
            let label = fields.label.as_ref().map(|field| batch.value(index, field).to_string());
            // Samples and times off the CPU are of one type: a sample takes no time.
            let sample = number(&fields.kind) == 0 && took == 0;
            let comm = batch.value(index, &fields.comm).to_string();
            let name = match (label, sample) {
                (_, true) => top.unwrap_or_else(|| comm.clone()),
                (Some(label), false) => label,
                (None, false) => OFF_CPU.to_owned(),
            };
            self.name(number(&fields.pid), number(&fields.tid), comm)?;
            let args: serde_json::Map<_, _> = schema
                .fields()
                .iter()
                .filter(|field| !field.hidden)
                .map(|field| (field.name.clone(), json(&batch.value(index, field))))
                .collect();
            let micros = |ns: u64| ns as f64 / 1e3;
            let start = number(&fields.time).saturating_sub(took);
            let mut event = object!({ "name": name, "cat": "skep", "pid": number(&fields.pid), "tid": number(&fields.tid),
                "ts": micros(start), "args": args });
            if sample {
                event["ph"] = "i".into();
                event["s"] = "t".into();
            } else {
                event["ph"] = "X".into();
                event["dur"] = micros(took).into();
            }
            self.event(&event)?;
        }
        Ok(())
    }
}
