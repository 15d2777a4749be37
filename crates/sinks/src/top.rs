use crate::{Measure, Options, Output, StackProfile, stack_profile::UNFINISHED, terminal::shown};
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use skep_error::Result;
use skep_event::{Batch, Schema, StackTable};
use skep_flow::{Sink, Summary};
use std::collections::{HashMap, HashSet};

/// Functions shown at most.
const SHOWN: usize = 25;

/// Functions by the weight of stacks that end in them (self) and that pass through them (total).
pub(crate) struct Top {
    output: Output,
    profile: StackProfile,
    options: Options,
}

impl Top {
    pub(crate) fn new(output: Output, options: &Options) -> Self {
        Self { output, profile: StackProfile::new(options), options: options.clone() }
    }

    fn text(&self) -> String {
        let rows = self.profile.rows();
        let all = rows.iter().fold(0, |all: u64, row| all.saturating_add(row.value));
        let mut functions: HashMap<String, (u64, u64)> = HashMap::new();
        for row in &rows {
            let mut seen = HashSet::new();
            // The mark of what had not ended spends nothing of its own.
            let innermost = row.frames.iter().rposition(|frame| frame.name != UNFINISHED);
            for (at, frame) in row.frames.iter().enumerate().rev() {
                let name = frame.label() + if frame.kernel { " [kernel]" } else { "" };
                if seen.insert(name.clone()) {
                    let (own, total) = functions.entry(name).or_default();
                    *own = own.saturating_add(if Some(at) == innermost { row.value } else { 0 });
                    *total = total.saturating_add(row.value);
                }
            }
        }
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let hidden = functions.len().saturating_sub(SHOWN);
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(["SELF", "%", "TOTAL", "%", "FUNCTION"]);
        for (name, (own, total)) in functions.into_iter().take(SHOWN) {
            let amounts = [self.amount(own), share(own, all), self.amount(total), share(total, all)];
            table.add_row(amounts.into_iter().chain([shown(&name)]));
        }
        for column in table.column_iter_mut().take(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = table.trim_fmt();
        text.push('\n');
        if hidden > 0 {
            text.push_str(&format!("… and {hidden} more functions\n"));
        }
        text
    }

    fn amount(&self, value: u64) -> String {
        if self.options.measure == Measure::Samples { value.to_string() } else { duration_text(value) }
    }
}

fn share(part: u64, all: u64) -> String {
    format!("{:.1}", part as f64 * 100.0 / all.max(1) as f64)
}

/// Nanoseconds with the unit that leaves one to three digits before the point.
pub fn duration_text(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{:.1}us", ns as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1}ms", ns as f64 / 1e6),
        _ => format!("{:.2}s", ns as f64 / 1e9),
    }
}

impl Sink for Top {
    fn name(&self) -> &str {
        "top"
    }

    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        self.profile.bind(schema, stacks)
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        self.profile.add(batch);
        Ok(())
    }

    fn finish(&mut self, _: &Schema, _: &Summary) -> Result<()> {
        let text = self.text();
        self.output.write(text.as_bytes())?;
        self.output.flush()
    }
}
