use crate::{Measure, Options, Output, terminal::shown};
use skep_error::Result;
use skep_event::{Batch, Field, Schema, StackTable};
use skep_flow::{Sink, Summary};
use std::collections::BTreeMap;

/// Width of the longest bar.
const BAR: u64 = 40;

/// How often a field lies in `[2^n, 2^(n+1))`, of all events or of each value of a key.
pub(crate) struct Histogram {
    output: Output,
    field: String,
    key: Option<String>,
    bound: Option<(Field, Option<Field>, Field)>,
    slots: BTreeMap<String, [u64; 64]>,
}

impl Histogram {
    pub(crate) fn new(output: Output, options: &Options) -> Self {
        let usual = if options.measure == Measure::Wait { "wait_ns" } else { "duration_ns" };
        Self {
            output,
            field: options.histogram_field.clone().unwrap_or_else(|| usual.to_owned()),
            key: options.histogram_key.clone(),
            bound: None,
            slots: BTreeMap::new(),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (key, slots) in &self.slots {
            if let Some(name) = &self.key {
                text.push_str(&format!("{name} = {}\n", shown(key)));
            }
            let first = slots.iter().position(|&count| count > 0).unwrap_or(0);
            let last = slots.iter().rposition(|&count| count > 0).unwrap_or(0);
            let most = slots.iter().copied().max().unwrap_or(0).max(1);
            text.push_str(&format!("{:>26} : count     distribution\n", self.field));
            for (slot, &count) in slots.iter().enumerate().take(last + 1).skip(first) {
                let low = if slot == 0 { 0 } else { 1u64 << slot };
                let high = (1u64 << slot).wrapping_mul(2).wrapping_sub(1);
                let bar = "*".repeat((u128::from(count) * u128::from(BAR) / u128::from(most)) as usize);
                text.push_str(&format!("{low:>12} -> {high:<10} : {count:<9}|{bar:<40}|\n"));
            }
        }
        if self.slots.is_empty() {
            text.push_str("no events\n");
        }
        text
    }
}

impl Sink for Histogram {
    fn name(&self) -> &str {
        "histogram"
    }

    fn bind(&mut self, schema: &Schema, _: &StackTable) -> Result<()> {
        let field = |name: &str| schema.require(name).map(|index| schema.fields()[index].clone());
        let key = self.key.as_deref().map(field).transpose()?;
        self.bound = Some((field(&self.field)?, key, field("count")?));
        Ok(())
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        let Some((field, key, count)) = &self.bound else { return Ok(()) };
        for index in batch.selection().iter() {
            let key = key.as_ref().map_or_else(String::new, |key| batch.value(index, key).to_string());
            let times = batch.value(index, count).as_u64().unwrap_or(1).max(1);
            // A record that stands for many events holds their sum: the slot is that of their mean.
            let value = batch.value(index, field).as_u64().unwrap_or(0) / times;
            let slot = value.checked_ilog2().unwrap_or(0) as usize;
            let slot = &mut self.slots.entry(key).or_insert([0; 64])[slot];
            *slot = slot.saturating_add(times);
        }
        Ok(())
    }

    fn finish(&mut self, _: &Schema, _: &Summary) -> Result<()> {
        let text = self.text();
        self.output.write(text.as_bytes())?;
        self.output.flush()
    }
}
