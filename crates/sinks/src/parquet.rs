use crate::{Options, Output};
use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, FloatType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::types::Type,
};
use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Field, FieldKind, Frame, Schema, StackTable, Value};
use skep_flow::{Sink, Summary};
use std::{mem, sync::Arc};

/// Rows of a row group; what is held in memory at most.
const GROUP: usize = 64 * 1024;

/// Apache Parquet: a column for each field that is not hidden, and the stacks as text, outermost frame first, joined by `;`.
///
/// What was lost stands in the file's metadata: `skep.lost_kernel`, `skep.lost_queue`.
pub(crate) struct Parquet {
    output: Option<Output>,
    writer: Option<SerializedFileWriter<Output>>,
    stacks: StackTable,
    columns: Vec<Column>,
    rows: usize,
}

/// A column of the file, with its rows that are not written yet.
struct Column {
    name: String,
    field: Field,
    /// The names of the stack that the field's number stands for, in place of the number.
    stack: bool,
    values: Values,
    /// 1 where there is a value, 0 where there is none.
    levels: Vec<i16>,
}

enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Text(Vec<ByteArray>),
}

impl Parquet {
    pub(crate) fn new(output: Output, _: &Options) -> Self {
        Self { output: Some(output), writer: None, stacks: StackTable::new(), columns: Vec::new(), rows: 0 }
    }

    fn write_group(&mut self) -> Result<()> {
        let Some(writer) = self.writer.as_mut().filter(|_| self.rows > 0) else { return Ok(()) };
        let mut group = writer.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            if let Some(to) = group.next_column().map_err(failed)? {
                column.write(to).map_err(failed)?;
            }
        }
        group.close().map_err(failed)?;
        self.rows = 0;
        Ok(())
    }
}

/// An error of the writer: one of the output below it keeps its kind.
fn failed(error: ParquetError) -> Error {
    match error {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => Error::io(*error),
            Err(error) => Error::new(Kind::Io, error.to_string()),
        },
        error => Error::new(Kind::Io, error.to_string()),
    }
    .context("writing Parquet")
}

impl Values {
    fn of(kind: FieldKind) -> Self {
        use FieldKind::*;
        match kind {
            Bool => Self::Bool(Vec::new()),
            Int8 | Int16 | Int32 | Uint8 | Uint16 | Uint32 => Self::Int32(Vec::new()),
            Int64 | Uint64 => Self::Int64(Vec::new()),
            Float32 => Self::Float(Vec::new()),
            Float64 => Self::Double(Vec::new()),
            String | CString | Bytes => Self::Text(Vec::new()),
        }
    }

    const fn physical(&self) -> Physical {
        match self {
            Self::Bool(_) => Physical::BOOLEAN,
            Self::Int32(_) => Physical::INT32,
            Self::Int64(_) => Physical::INT64,
            Self::Float(_) => Physical::FLOAT,
            Self::Double(_) => Physical::DOUBLE,
            Self::Text(_) => Physical::BYTE_ARRAY,
        }
    }

    /// False if the value is none, or of another kind.
    fn push(&mut self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Bool(values), Value::Bool(value)) => values.push(*value),
            // An unsigned number keeps its bits; the column's logical type says how they are read.
            (Self::Int32(values), Value::Int(value)) => values.push(*value as i32),
            (Self::Int32(values), Value::Uint(value)) => values.push(*value as i32),
            (Self::Int64(values), Value::Int(value)) => values.push(*value),
            (Self::Int64(values), Value::Uint(value)) => values.push(*value as i64),
            (Self::Float(values), Value::Float(value)) => values.push(*value as f32),
            (Self::Double(values), Value::Float(value)) => values.push(*value),
            (Self::Text(values), Value::Str(value)) => values.push(value.as_bytes().to_vec().into()),
            (Self::Text(values), Value::Bytes(value)) => values.push(value.to_vec().into()),
            _ => return false,
        }
        true
    }
}

fn logical(kind: FieldKind) -> Option<LogicalType> {
    use FieldKind::*;
    let integer = |bits, signed| Some(LogicalType::integer(bits, signed));
    match kind {
        Int8 => integer(8, true),
        Int16 => integer(16, true),
        Int32 => integer(32, true),
        Int64 => integer(64, true),
        Uint8 => integer(8, false),
        Uint16 => integer(16, false),
        Uint32 => integer(32, false),
        Uint64 => integer(64, false),
        String | CString => Some(LogicalType::String),
        Bool | Float32 | Float64 | Bytes => None,
    }
}

impl Column {
    fn new(field: &Field) -> Self {
        let values = Values::of(field.kind);
        Self { name: field.name.clone(), field: field.clone(), stack: false, values, levels: Vec::new() }
    }

    fn of_stack(field: &Field, name: &str) -> Self {
        let values = Values::of(FieldKind::String);
        Self { name: name.to_owned(), field: field.clone(), stack: true, values, levels: Vec::new() }
    }

    fn schema(&self) -> Result<Arc<Type>> {
        let kind = if self.stack { FieldKind::String } else { self.field.kind };
        Type::primitive_type_builder(&self.name, self.values.physical())
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical(kind))
            .build()
            .map(Arc::new)
            .map_err(failed)
    }

    fn push(&mut self, value: &Value<'_>, stacks: &StackTable) {
        let there = if self.stack {
            match value.as_i64().filter(|id| *id >= 0).and_then(|id| stacks.get(id)) {
                Some(frames) => {
                    let names: Vec<String> = frames.iter().rev().map(Frame::label).collect();
                    self.values.push(&Value::Str(names.join(";").into()))
                }
                None => false,
            }
        } else {
            self.values.push(value)
        };
        self.levels.push(i16::from(there));
    }

    fn write(&mut self, mut to: SerializedColumnWriter<'_>) -> parquet::errors::Result<()> {
        let levels = mem::take(&mut self.levels);
        let levels = Some(levels.as_slice());
        match &mut self.values {
            Values::Bool(values) => to.typed::<BoolType>().write_batch(&mem::take(values), levels, None),
            Values::Int32(values) => to.typed::<Int32Type>().write_batch(&mem::take(values), levels, None),
            Values::Int64(values) => to.typed::<Int64Type>().write_batch(&mem::take(values), levels, None),
            Values::Float(values) => to.typed::<FloatType>().write_batch(&mem::take(values), levels, None),
            Values::Double(values) => to.typed::<DoubleType>().write_batch(&mem::take(values), levels, None),
            Values::Text(values) => to.typed::<ByteArrayType>().write_batch(&mem::take(values), levels, None),
        }?;
        to.close()
    }
}

impl Sink for Parquet {
    fn name(&self) -> &str {
        "Parquet"
    }

    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        self.stacks = stacks.clone();
        for field in schema.fields().iter().filter(|field| !field.hidden) {
            self.columns.push(Column::new(field));
            // A field `x_stack_id` names a stack, shown as `x_stack`.
            if let Some(name) = field.name.strip_suffix("_id").filter(|name| name.ends_with("_stack")) {
                self.columns.push(Column::of_stack(field, name));
            }
        }
        let fields = self.columns.iter().map(Column::schema).collect::<Result<_>>()?;
        let root = Type::group_type_builder(schema.name()).with_fields(fields).build().map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::LZ4_RAW)
            .set_created_by(concat!("skep ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let Some(output) = self.output.take() else { return Ok(()) };
        let writer = SerializedFileWriter::new(output, Arc::new(root), Arc::new(properties)).map_err(failed)?;
        self.writer = Some(writer);
        Ok(())
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        for index in batch.selection().iter() {
            for column in &mut self.columns {
                let value = batch.value(index, &column.field);
                column.push(&value, &self.stacks);
            }
            self.rows += 1;
            if self.rows >= GROUP {
                self.write_group()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &Schema, summary: &Summary) -> Result<()> {
        self.write_group()?;
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        for (key, count) in [("skep.lost_kernel", summary.lost.kernel), ("skep.lost_queue", summary.lost.queue)] {
            writer.append_key_value_metadata(KeyValue::new(key.to_owned(), count.to_string()));
        }
        let mut output = writer.into_inner().map_err(failed)?;
        output.flush()
    }
}
