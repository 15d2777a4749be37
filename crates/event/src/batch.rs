use crate::{FieldKind, Place, Schema, Selection, Value};
use skep_error::{Error, Kind, Result};
use std::borrow::Cow;

/// The values of one added field, one a record of the batch, kept or not.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Not filled yet; every value is `Null`.
    Empty,
    /// Booleans.
    Bool(Vec<bool>),
    /// Signed numbers.
    Int(Vec<i64>),
    /// Signed numbers that some records do not have.
    SomeInt(Vec<Option<i64>>),
    /// Unsigned numbers.
    Uint(Vec<u64>),
    /// Floating-point numbers.
    Float(Vec<f64>),
    /// Texts.
    Str(Vec<String>),
    /// Raw bytes.
    Bytes(Vec<Vec<u8>>),
}

impl Column {
    /// An empty column of `len` records for fields of `kind`.
    pub fn of(kind: FieldKind, len: usize) -> Self {
        use FieldKind::*;
        match kind {
            Bool => Self::Bool(vec![false; len]),
            Int8 | Int16 | Int32 | Int64 => Self::Int(vec![0; len]),
            Uint8 | Uint16 | Uint32 | Uint64 => Self::Uint(vec![0; len]),
            Float32 | Float64 => Self::Float(vec![0.0; len]),
            String | CString => Self::Str(vec![std::string::String::new(); len]),
            Bytes => Self::Bytes(vec![Vec::new(); len]),
        }
    }

    fn get(&self, index: usize) -> Value<'_> {
        let value = match self {
            Self::Empty => None,
            Self::Bool(values) => values.get(index).map(|&value| Value::Bool(value)),
            Self::Int(values) => values.get(index).map(|&value| Value::Int(value)),
            Self::SomeInt(values) => values.get(index).copied().flatten().map(Value::Int),
            Self::Uint(values) => values.get(index).map(|&value| Value::Uint(value)),
            Self::Float(values) => values.get(index).map(|&value| Value::Float(value)),
            Self::Str(values) => values.get(index).map(|value| Value::Str(Cow::Borrowed(value))),
            Self::Bytes(values) => values.get(index).map(|value| Value::Bytes(value)),
        };
        value.unwrap_or(Value::Null)
    }

    /// Bytes that its values take.
    fn bytes(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Bool(values) => values.len(),
            Self::Int(values) => size_of_val(values.as_slice()),
            Self::SomeInt(values) => size_of_val(values.as_slice()),
            Self::Uint(values) => size_of_val(values.as_slice()),
            Self::Float(values) => size_of_val(values.as_slice()),
            Self::Str(values) => values.iter().map(|text| text.len() + size_of::<String>()).sum(),
            Self::Bytes(values) => values.iter().map(|bytes| bytes.len() + size_of::<Vec<u8>>()).sum(),
        }
    }

    fn gather(&self, kept: &[usize]) -> Self {
        fn pick<T: Clone>(values: &[T], kept: &[usize]) -> Vec<T> {
            kept.iter().filter_map(|&at| values.get(at).cloned()).collect()
        }
        match self {
            Self::Empty => Self::Empty,
            Self::Bool(values) => Self::Bool(pick(values, kept)),
            Self::Int(values) => Self::Int(pick(values, kept)),
            Self::SomeInt(values) => Self::SomeInt(pick(values, kept)),
            Self::Uint(values) => Self::Uint(pick(values, kept)),
            Self::Float(values) => Self::Float(pick(values, kept)),
            Self::Str(values) => Self::Str(pick(values, kept)),
            Self::Bytes(values) => Self::Bytes(pick(values, kept)),
        }
    }
}

/// A run of fixed-layout records, the columns that operators added to it, and which records are kept.
///
/// The records are read-only: an operator narrows the selection or adds a column. They may lie in a guest's memory, which
/// that guest could have changed: what must be trusted is kept elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<'a> {
    records: Cow<'a, [u8]>,
    stride: usize,
    columns: Vec<Column>,
    selection: Selection,
}

impl<'a> Batch<'a> {
    /// A batch of the whole records in `records`, all kept; bytes after the last whole record are left out.
    pub fn new(records: impl Into<Cow<'a, [u8]>>, schema: &Schema) -> Self {
        let records = records.into();
        let len = records.len() / schema.stride();
        let selection = Selection::all(len);
        Self { records, stride: schema.stride(), columns: vec![Column::Empty; schema.columns()], selection }
    }

    /// The same with a selection made before.
    ///
    /// # Errors
    /// `Internal` if it speaks of another number of records.
    pub fn with_selection(records: impl Into<Cow<'a, [u8]>>, schema: &Schema, selection: Selection) -> Result<Self> {
        let mut batch = Self::new(records, schema);
        if selection.len() != batch.len() {
            let text = format!("a selection of {} records for a batch of {}", selection.len(), batch.len());
            return Err(Error::new(Kind::Internal, text));
        }
        batch.selection = selection;
        Ok(batch)
    }

    /// How many records it has, kept or not.
    pub fn len(&self) -> usize {
        self.selection.len()
    }

    /// Whether it has no record at all.
    pub fn is_empty(&self) -> bool {
        self.selection.is_empty()
    }

    /// Bytes from one record to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Bytes that its records and columns take.
    pub fn bytes(&self) -> usize {
        self.records.len() + self.columns.iter().map(Column::bytes).sum::<usize>()
    }

    /// The bytes of all records, one after the other.
    pub fn records(&self) -> &[u8] {
        &self.records[..self.len() * self.stride]
    }

    /// The bytes of record `index`; empty past the end.
    pub fn record(&self, index: usize) -> &[u8] {
        self.records.get(index * self.stride..(index + 1) * self.stride).unwrap_or_default()
    }

    /// Which records are kept.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Which records are kept, to be narrowed.
    pub fn selection_mut(&mut self) -> &mut Selection {
        &mut self.selection
    }

    /// Fills column `index`, counted as in [`Place::Column`].
    ///
    /// # Errors
    /// `Internal` if the schema has no such column.
    pub fn set_column(&mut self, index: usize, column: Column) -> Result<()> {
        let count = self.columns.len();
        match self.columns.get_mut(index) {
            Some(slot) => *slot = column,
            None => return Err(Error::new(Kind::Internal, format!("column {index} of {count}"))),
        }
        Ok(())
    }

    /// The value of a field of record `index`; `field` is of the schema the batch was made with.
    pub fn value(&self, index: usize, field: &crate::Field) -> Value<'_> {
        match field.place {
            Place::Column(column) => self.columns.get(column).map_or(Value::Null, |column| column.get(index)),
            Place::Record { offset, size } => {
                self.record(index).get(offset..offset + size).map_or(Value::Null, |bytes| field.kind.read(bytes))
            }
        }
    }

    /// A batch that owns only the kept records and their columns.
    pub fn compact(&self) -> Batch<'static> {
        let kept: Vec<usize> = self.selection.iter().collect();
        self.gather(&kept)
    }

    /// A batch that owns the records of those indices, in that order, all kept.
    pub fn gather(&self, indices: &[usize]) -> Batch<'static> {
        let mut records = Vec::with_capacity(indices.len() * self.stride);
        let indices: Vec<usize> = indices.iter().copied().filter(|&at| at < self.len()).collect();
        for &at in &indices {
            records.extend_from_slice(self.record(at));
        }
        Batch {
            records: Cow::Owned(records),
            stride: self.stride,
            columns: self.columns.iter().map(|column| column.gather(&indices)).collect(),
            selection: Selection::all(indices.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Field;

    fn schema() -> Schema {
        let record = |name, kind, offset, size| Field::new(name, kind, Place::Record { offset, size });
        Schema::new("test", 16, vec![record("pid", FieldKind::Uint32, 0, 4), record("comm", FieldKind::CString, 4, 12)])
            .unwrap()
    }

    fn bytes(count: u32) -> Vec<u8> {
        (0..count).flat_map(|pid| [&pid.to_le_bytes()[..], b"shell\0junk\0\0"].concat()).collect()
    }

    #[test]
    fn fields_are_read_from_records_and_columns() {
        let mut schema = schema();
        let name = schema.add_column("name", FieldKind::String);
        let mut batch = Batch::new(bytes(3), &schema);
        assert_eq!(batch.value(2, &schema.fields()[0]), Value::Uint(2));
        assert_eq!(batch.value(2, &schema.fields()[1]), Value::Str("shell".into()));
        assert_eq!(batch.value(2, &schema.fields()[name]), Value::Null);
        batch.set_column(0, Column::Str(vec!["a".into(), "b".into(), "c".into()])).unwrap();
        batch.selection_mut().retain(|index| index != 1);
        let kept = batch.compact();
        assert_eq!(kept.len(), 2);
        assert_eq!(kept.value(1, &schema.fields()[name]), Value::Str("c".into()));
        assert_eq!(kept.value(1, &schema.fields()[0]), Value::Uint(2));
        assert_eq!(kept.value(2, &schema.fields()[0]), Value::Null, "past the end");
        assert_eq!(kept.bytes(), 2 * 16 + 2 * (size_of::<String>() + 1));
    }

    #[test]
    fn a_column_can_stand_for_a_record_field() {
        let mut schema = schema();
        assert_eq!(schema.add_column("pid", FieldKind::String), 0);
        let mut batch = Batch::new(bytes(1), &schema);
        batch.set_column(0, Column::Str(vec!["init".into()])).unwrap();
        assert_eq!(batch.value(0, &schema.fields()[0]), Value::Str("init".into()));
        assert!(batch.set_column(1, Column::Empty).is_err());
    }

    #[test]
    fn a_part_of_a_record_is_left_out() {
        let schema = schema();
        let mut cut = bytes(2);
        cut.pop();
        assert_eq!(Batch::new(cut, &schema).len(), 1);
    }

    #[test]
    fn bad_schemas_are_refused() {
        let field = |offset, size| Field::new("a", FieldKind::Uint32, Place::Record { offset, size });
        for fields in [vec![field(6, 4)], vec![field(0, 8)], vec![field(0, 4), field(4, 4)], vec![field(usize::MAX, 4)]]
        {
            assert_eq!(Schema::new("x", 8, fields).unwrap_err().kind(), Kind::BadInput);
        }
        assert!(Schema::new("x", 0, vec![]).is_err());
        assert!(schema().require("pdi").unwrap_err().help_text().unwrap().contains("pid"));
    }
}
