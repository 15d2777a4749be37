use crate::{Options, Output, terminal::shown};
use skep_error::Result;
use skep_event::{Batch, Field, FieldKind, Schema, StackTable};
use skep_flow::{Sink, Summary};

/// Aligned columns, written as events come; a value wider than its column pushes the rest of its line aside, never cut.
pub(crate) struct Table {
    output: Output,
    columns: Vec<(Field, usize)>,
}

impl Table {
    pub(crate) fn new(output: Output, _: &Options) -> Self {
        Self { output, columns: Vec::new() }
    }
}

/// The widest column that a field can ask for.
const WIDEST: usize = 256;

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

fn pad(line: &mut String, text: &str, field: &Field, width: usize) {
    if !line.is_empty() {
        line.push(' ');
    }
    if field.kind.is_number() {
        line.push_str(&format!("{text:>width$}"));
    } else {
        line.push_str(&format!("{text:<width$}"));
    }
}

impl Sink for Table {
    fn name(&self) -> &str {
        "table"
    }

    fn bind(&mut self, schema: &Schema, _: &StackTable) -> Result<()> {
        let columns = schema.fields().iter().filter(|field| !field.hidden);
        self.columns = columns.map(|field| (field.clone(), width(field))).collect();
        let mut line = String::new();
        for (field, width) in &self.columns {
            pad(&mut line, &shown(&field.name.to_uppercase()), field, *width);
        }
        self.output.write(line.trim_end().as_bytes())?;
        self.output.write(b"\n")?;
        self.output.flush()
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        for index in batch.selection().iter() {
            let mut line = String::new();
            for (field, width) in &self.columns {
                pad(&mut line, &shown(&batch.value(index, field).to_string()), field, *width);
            }
            self.output.write(line.trim_end().as_bytes())?;
            self.output.write(b"\n")?;
        }
        self.output.flush()
    }

    fn finish(&mut self, _: &Schema, _: &Summary) -> Result<()> {
        self.output.flush()
    }
}
