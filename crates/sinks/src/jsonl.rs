use crate::{Options, Output};
use serde_json::{Map, Value as Json};
use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Frame, Schema, StackTable, Value};
use skep_flow::{Sink, Summary};

/// One JSON object a line: every field that is not hidden, and the stacks as arrays of names, innermost first.
pub(crate) struct Jsonl {
    output: Output,
    stacks: StackTable,
}

impl Jsonl {
    pub(crate) fn new(output: Output, _: &Options) -> Self {
        Self { output, stacks: StackTable::new() }
    }
}

pub(crate) fn json(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::Str(value) => Json::from(value.as_ref()),
        Value::Bytes(_) => Json::from(value.to_string()),
    }
}

impl Sink for Jsonl {
    fn name(&self) -> &str {
        "JSON lines"
    }

    fn bind(&mut self, _: &Schema, stacks: &StackTable) -> Result<()> {
        self.stacks = stacks.clone();
        Ok(())
    }

    fn write(&mut self, schema: &Schema, batch: &Batch<'_>) -> Result<()> {
        for index in batch.selection().iter() {
            let mut object = Map::new();
            for field in schema.fields().iter().filter(|field| !field.hidden) {
                let value = batch.value(index, field);
                object.insert(field.name.clone(), json(&value));
                // A field `x_stack_id` names a stack, shown as `x_stack`.
                if let Some(name) = field.name.strip_suffix("_id").filter(|name| name.ends_with("_stack"))
                    && let Some(frames) = value.as_i64().filter(|id| *id >= 0).and_then(|id| self.stacks.get(id))
                {
                    object.insert(name.to_owned(), frames.iter().map(Frame::label).collect());
                }
            }
            let mut line = serde_json::to_vec(&object).map_err(|error| Error::wrap(Kind::Internal, error))?;
            line.push(b'\n');
            self.output.write(&line)?;
        }
        self.output.flush()
    }

    fn finish(&mut self, _: &Schema, _: &Summary) -> Result<()> {
        self.output.flush()
    }
}
