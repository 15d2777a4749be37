use crate::{Options, Output, terminal::push_shown};
use skep_error::Result;
use skep_event::{Batch, Field, FieldKind, Schema, StackTable, Value};
use skep_flow::{Sink, Summary};
use std::{borrow::Cow, fmt::Write as _};

/// Aligned columns, written as events come; a value wider than its column pushes the rest of its line aside, never cut. Stacks stand
/// below their row where they are asked for, innermost frame first, those of the kernel before those of user space.
pub(crate) struct Table {
    output: Output,
    columns: Vec<(Field, usize)>,
    with_stacks: bool,
    stacks: StackTable,
    /// The fields that name stacks.
    stack_fields: Vec<Field>,
    /// The line under way, kept for its room.
    line: String,
}

impl Table {
    pub(crate) fn new(output: Output, options: &Options) -> Self {
        Self {
            output,
            columns: Vec::new(),
            with_stacks: options.stacks,
            stacks: StackTable::new(),
            stack_fields: Vec::new(),
            line: String::new(),
        }
    }
}

/// The widest column that a field can ask for.
const WIDEST: usize = BLANKS.len();
const BLANKS: &str = match str::from_utf8(&[b' '; 256]) {
    Ok(blanks) => blanks,
    Err(_) => "",
};

/// The width that a field asks for (`columns.width`), or one that most values of its kind fit.
fn width(field: &Field) -> usize {
    let asked = field.annotations.get("columns.width").and_then(|text| text.parse().ok());
    let usual = match field.kind {
        FieldKind::Bool => 5,
        FieldKind::Int8 | FieldKind::Uint8 => 4,
        FieldKind::Int16 | FieldKind::Uint16 => 6,
        FieldKind::Int32 | FieldKind::Uint32 => 8,
        FieldKind::Int64 | FieldKind::Uint64 | FieldKind::Float32 | FieldKind::Float64 => 12,
        FieldKind::String | FieldKind::CString => 16,
        FieldKind::Bytes => 24,
    };
    asked.unwrap_or(usual).max(field.name.len()).min(WIDEST)
}

/// Adds a column to the line: numbers to the right, text to the left. A process may make a million lines a second, so
/// nothing is put together elsewhere first.
fn push(line: &mut String, value: &Value<'_>, field: &Field, width: usize) {
    if !line.is_empty() {
        line.push(' ');
    }
    let start = line.len();
    match value {
        Value::Str(text) => push_shown(line, text),
        // A `String` takes everything.
        other => drop(write!(line, "{other}")),
    }
    let added = &line[start..];
    let len = if added.is_ascii() { added.len() } else { added.chars().count() };
    let blanks = &BLANKS[..width.saturating_sub(len)];
    if field.kind.is_number() {
        line.insert_str(start, blanks);
    } else {
        line.push_str(blanks);
    }
}

/// The fields that name stacks, innermost first.
const STACKS: [&str; 2] = ["kernel_stack_id", "user_stack_id"];

impl Table {
    fn push_stacks(&mut self, batch: &Batch<'_>, index: usize) -> Result<()> {
        let ids = self.stack_fields.iter().filter_map(|field| batch.value(index, field).as_i64().filter(|id| *id >= 0));
        for frame in
            ids.filter_map(|id| self.stacks.get(id)).collect::<Vec<_>>().iter().flat_map(|frames| frames.iter())
        {
            self.line.clear();
            self.line.push_str("    ");
            push_shown(&mut self.line, &frame.label());
            if frame.kernel {
                self.line.push_str(" [kernel]");
            }
            self.end_line()?;
        }
        Ok(())
    }

    fn end_line(&mut self) -> Result<()> {
        self.line.truncate(self.line.trim_end().len());
        self.line.push('\n');
        self.output.write(self.line.as_bytes())
    }
}

impl Sink for Table {
    fn name(&self) -> &str {
        "table"
    }

    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        if self.with_stacks {
            self.stacks = stacks.clone();
            let fields = STACKS.iter().filter_map(|name| schema.find(name));
            self.stack_fields = fields.map(|index| schema.fields()[index].clone()).collect();
        }
        let columns = schema.fields().iter().filter(|field| field.in_tables.unwrap_or(!field.hidden));
        self.columns = columns.map(|field| (field.clone(), width(field))).collect();
        self.line.clear();
        for (field, width) in &self.columns {
            push(&mut self.line, &Value::Str(Cow::Owned(field.name.to_uppercase())), field, *width);
        }
        self.end_line()?;
        self.output.flush()
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        for index in batch.selection().iter() {
            self.line.clear();
            for (field, width) in &self.columns {
                push(&mut self.line, &batch.value(index, field), field, *width);
            }
            self.end_line()?;
            self.push_stacks(batch, index)?;
        }
        self.output.flush()
    }

    fn finish(&mut self, _: &Schema, _: &Summary) -> Result<()> {
        self.output.flush()
    }
}
