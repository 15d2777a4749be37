use crate::{Measure, Options};
use skep_error::Result;
use skep_event::{Batch, Field, Frame, Schema, StackTable};
use std::{collections::HashMap, sync::Arc};

/// Stacks and their weights: what all sinks of stacks are made of. Its memory grows with distinct stacks, not with
/// events.
#[derive(Default)]
pub struct StackProfile {
    measure: Measure,
    leaf: Option<String>,
    fields: Option<Fields>,
    stacks: StackTable,
    weights: HashMap<Key, Weight>,
}

struct Fields {
    comm: Field,
    pid: Field,
    user: Field,
    kernel: Field,
    count: Field,
    weight: Field,
    leaf: Option<Field>,
    unfinished: Option<Field>,
}

/// The innermost frame of what had not ended when the run did: a mark, not a function.
pub(crate) const UNFINISHED: &str = "[unfinished]";

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    comm: String,
    pid: u64,
    user: i64,
    kernel: i64,
    leaf: String,
    unfinished: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    count: u64,
    value: u64,
}

/// One stack of a finished profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The thread's name.
    pub comm: String,
    /// The process.
    pub pid: u64,
    /// Outermost frame first; kernel frames follow those of user space.
    pub frames: Vec<Frame>,
    /// Events.
    pub count: u64,
    /// The sum of the measure.
    pub value: u64,
}

impl StackProfile {
    /// An empty profile of the options' measure.
    pub fn new(options: &Options) -> Self {
        Self { measure: options.measure, leaf: options.leaf.clone(), ..Self::default() }
    }

    /// Finds the fields that it needs.
    ///
    /// # Errors
    /// `NotFound` if one is missing.
    pub fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        let field = |name: &str| schema.require(name).map(|index| schema.fields()[index].clone());
        self.fields = Some(Fields {
            comm: field("comm")?,
            pid: field("pid")?,
            user: field("user_stack_id")?,
            kernel: field("kernel_stack_id")?,
            count: field("count")?,
            weight: field(self.measure.field())?,
            leaf: self.leaf.as_deref().map(field).transpose()?,
            unfinished: field("unfinished").ok(),
        });
        self.stacks = stacks.clone();
        Ok(())
    }

    /// Adds the kept records of a batch.
    pub fn add(&mut self, batch: &Batch<'_>) {
        let Some(fields) = &self.fields else { return };
        for index in batch.selection().iter() {
            let number = |field| batch.value(index, field).as_u64().unwrap_or(0);
            let id = |field| batch.value(index, field).as_i64().unwrap_or(-1);
            let key = Key {
                comm: batch.value(index, &fields.comm).to_string(),
                pid: number(&fields.pid),
                user: id(&fields.user),
                kernel: id(&fields.kernel),
                leaf: fields.leaf.as_ref().map_or_else(String::new, |leaf| batch.value(index, leaf).to_string()),
                unfinished: fields.unfinished.as_ref().is_some_and(|field| number(field) != 0),
            };
            let weight = self.weights.entry(key).or_default();
            weight.count = weight.count.saturating_add(number(&fields.count));
            weight.value = weight.value.saturating_add(number(&fields.weight));
        }
    }

    /// The stacks with their frames, heaviest first, equal ones by name.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<_> = self.weights.iter().map(|(key, weight)| (key, self.row(key, *weight))).collect();
        rows.sort_by_cached_key(|(key, row)| {
            let labels: Vec<String> = row.frames.iter().map(Frame::label).collect();
            // Different addresses may have the same names.
            (std::cmp::Reverse(row.value), row.comm.clone(), row.pid, labels, key.user, key.kernel, key.unfinished)
        });
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn row(&self, key: &Key, weight: Weight) -> Row {
        let none: Arc<[Frame]> = Arc::new([]);
        let stack = |id: i64| if id < 0 { none.clone() } else { self.stacks.get(id).unwrap_or(none.clone()) };
        let (user, kernel) = (stack(key.user), stack(key.kernel));
        let mut frames: Vec<Frame> = user.iter().rev().chain(kernel.iter().rev()).cloned().collect();
        if frames.is_empty() {
            frames.push(Frame { name: "[no stack]".into(), ..Frame::default() });
        }
        if !key.leaf.is_empty() {
            frames.push(Frame { name: key.leaf.clone(), ..Frame::default() });
        }
        if key.unfinished {
            frames.push(Frame { name: UNFINISHED.into(), ..Frame::default() });
        }
        Row { comm: key.comm.clone(), pid: key.pid, frames, count: weight.count, value: weight.value }
    }

    /// The stacks in folded form, sorted: `comm;outermost;…;innermost weight`, kernel frames marked `_[k]`.
    pub fn folded(&self) -> Vec<String> {
        let mut lines: HashMap<String, u64> = HashMap::new();
        for row in self.rows() {
            let mut line = clean(&row.comm);
            for frame in &row.frames {
                line.push(';');
                line.push_str(&clean(&frame.label()));
                if frame.kernel {
                    line.push_str("_[k]");
                }
            }
            let weight = lines.entry(line).or_default();
            *weight = weight.saturating_add(row.value);
        }
        let mut lines: Vec<String> = lines.into_iter().map(|(line, weight)| format!("{line} {weight}")).collect();
        lines.sort();
        lines
    }
}

/// A name that cannot break a folded line.
fn clean(name: &str) -> String {
    name.chars().map(|c| if c == ';' || c.is_control() { '_' } else { c }).collect()
}
