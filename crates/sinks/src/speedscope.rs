use crate::{Measure, Options, Output, Row, StackProfile};
use serde_json::{Value, json};
use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Schema, StackTable};
use skep_flow::{Sink, Summary};
use std::collections::{BTreeMap, HashMap};

/// Speedscope's own JSON (`https://www.speedscope.app/file-format-schema.json`), one profile a process.
pub(crate) struct Speedscope {
    output: Output,
    profile: StackProfile,
    options: Options,
}

impl Speedscope {
    pub(crate) fn new(output: Output, options: &Options) -> Self {
        Self { output, profile: StackProfile::new(options), options: options.clone() }
    }

    fn document(&self) -> Value {
        let mut frames = Vec::new();
        let mut known = HashMap::new();
        let mut by_process: BTreeMap<(u64, String), Vec<Sample>> = BTreeMap::new();
        for row in self.profile.rows() {
            let stack = indices(&row, &mut frames, &mut known);
            by_process.entry((row.pid, row.comm)).or_default().push((stack, row.value));
        }
        let unit = if self.options.measure == Measure::Samples { "none" } else { "nanoseconds" };
        let profiles: Vec<Value> = by_process
            .into_iter()
            .map(|((pid, comm), stacks)| {
                let total = stacks.iter().fold(0, |total: u64, (_, weight)| total.saturating_add(*weight));
                let (samples, weights): (Vec<_>, Vec<_>) = stacks.into_iter().unzip();
                json!({ "type": "sampled", "name": format!("{comm} ({pid})"), "unit": unit,
                        "startValue": 0, "endValue": total, "samples": samples, "weights": weights })
            })
            .collect();
        json!({ "$schema": "https://www.speedscope.app/file-format-schema.json", "name": self.options.title,
                "exporter": concat!("skep ", env!("CARGO_PKG_VERSION")),
                "shared": { "frames": frames }, "profiles": profiles, "activeProfileIndex": 0 })
    }
}

/// The indices of a stack's frames, outermost first, and its weight.
type Sample = (Vec<usize>, u64);

fn indices(row: &Row, frames: &mut Vec<Value>, known: &mut HashMap<(String, String, u32), usize>) -> Vec<usize> {
    let index = |frame: &skep_event::Frame| {
        let file = if frame.file.is_empty() { frame.module.clone() } else { frame.file.clone() };
        *known.entry((frame.label(), file.clone(), frame.line)).or_insert_with(|| {
            let mut object = json!({ "name": frame.label() });
            if !file.is_empty() {
                object["file"] = file.into();
            }
            if frame.line > 0 {
                object["line"] = frame.line.into();
            }
            frames.push(object);
            frames.len() - 1
        })
    };
    row.frames.iter().map(index).collect()
}

impl Sink for Speedscope {
    fn name(&self) -> &str {
        "speedscope"
    }

    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        self.profile.bind(schema, stacks)
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        self.profile.add(batch);
        Ok(())
    }

    fn finish(&mut self, _: &Schema, _: &Summary) -> Result<()> {
        let text = serde_json::to_vec(&self.document()).map_err(|error| Error::wrap(Kind::Internal, error))?;
        self.output.write(&text)?;
        self.output.flush()
    }
}
