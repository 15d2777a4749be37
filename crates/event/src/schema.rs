use crate::Value;
use skep_error::{Error, Kind, Result, did_you_mean};
use std::{borrow::Cow, collections::BTreeMap};

/// How the bytes of a field are read. Little endian; the numbers are those of the `ig` ABI's kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum FieldKind {
    Bool = 1,
    Int8 = 2,
    Int16 = 3,
    Int32 = 4,
    Int64 = 5,
    Uint8 = 6,
    Uint16 = 7,
    Uint32 = 8,
    Uint64 = 9,
    Float32 = 10,
    Float64 = 11,
    /// UTF-8 of any length; only in columns.
    String = 12,
    /// Text up to the first NUL or the field's end.
    CString = 13,
    Bytes = 14,
}

impl FieldKind {
    /// The kind with that number.
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            1 => Self::Bool,
            2 => Self::Int8,
            3 => Self::Int16,
            4 => Self::Int32,
            5 => Self::Int64,
            6 => Self::Uint8,
            7 => Self::Uint16,
            8 => Self::Uint32,
            9 => Self::Uint64,
            10 => Self::Float32,
            11 => Self::Float64,
            12 => Self::String,
            13 => Self::CString,
            14 => Self::Bytes,
            _ => return None,
        })
    }

    /// Bytes that a number of this kind takes; `None` where the length is the field's own.
    pub const fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Int8 | Self::Uint8 => Some(1),
            Self::Int16 | Self::Uint16 => Some(2),
            Self::Int32 | Self::Uint32 | Self::Float32 => Some(4),
            Self::Int64 | Self::Uint64 | Self::Float64 => Some(8),
            Self::String | Self::CString | Self::Bytes => None,
        }
    }

    /// Whether values of this kind are numbers.
    pub const fn is_number(self) -> bool {
        self.size().is_some()
    }

    /// Reads `bytes`, a field's whole extent. `Null` where a number's length is wrong.
    pub fn read(self, bytes: &[u8]) -> Value<'_> {
        macro_rules! number {
            ($ty:ty, $variant:ident, $as:ty) => {
                bytes.try_into().map_or(Value::Null, |bytes| Value::$variant(<$as>::from(<$ty>::from_le_bytes(bytes))))
            };
        }
        match self {
            Self::Bool => bytes.first().map_or(Value::Null, |&byte| Value::Bool(byte != 0)),
            Self::Int8 => number!(i8, Int, i64),
            Self::Int16 => number!(i16, Int, i64),
            Self::Int32 => number!(i32, Int, i64),
            Self::Int64 => number!(i64, Int, i64),
            Self::Uint8 => number!(u8, Uint, u64),
            Self::Uint16 => number!(u16, Uint, u64),
            Self::Uint32 => number!(u32, Uint, u64),
            Self::Uint64 => number!(u64, Uint, u64),
            Self::Float32 => number!(f32, Float, f64),
            Self::Float64 => number!(f64, Float, f64),
            Self::String => Value::Str(String::from_utf8_lossy(bytes)),
            Self::CString => Value::Str(cstr(bytes)),
            Self::Bytes => Value::Bytes(bytes),
        }
    }
}

fn cstr(bytes: &[u8]) -> Cow<'_, str> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end])
}

/// Where a field's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// `size` bytes at `offset` of the record.
    Record {
        /// Bytes from the record's start.
        offset: usize,
        /// Length in bytes.
        size: usize,
    },
    /// In the batch's column of that index.
    Column(usize),
}

/// One named field of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; members of nested structs are joined by dots.
    pub name: String,
    /// How its bytes are read.
    pub kind: FieldKind,
    /// Where its bytes are.
    pub place: Place,
    /// Not shown unless asked for.
    pub hidden: bool,
    /// Whether tables for people show it, where they do not do as other outputs.
    pub in_tables: Option<bool>,
    /// Tags such as `type:gadget_timestamp`.
    pub tags: Vec<String>,
    /// Attributes by key, as in a gadget's `gadget.yaml` (`columns.width`, `description`, …).
    pub annotations: BTreeMap<String, String>,
}

impl Field {
    /// A shown field without tags or attributes.
    pub fn new(name: impl Into<String>, kind: FieldKind, place: Place) -> Self {
        Self {
            name: name.into(),
            kind,
            place,
            hidden: false,
            in_tables: None,
            tags: Vec::new(),
            annotations: BTreeMap::new(),
        }
    }

    /// The same, hidden unless asked for.
    #[must_use]
    pub fn hide(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// What the records of one data source look like, and the columns that operators add to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    name: String,
    stride: usize,
    fields: Vec<Field>,
    /// The fields as they lie in records, whatever stands in their place.
    in_records: Vec<Field>,
    columns: usize,
}

impl Schema {
    /// A schema of records of `stride` bytes.
    ///
    /// # Errors
    /// `BadInput` if `stride` is 0, a field lies outside the record, a number has another length than its kind, or
    /// a name stands twice.
    pub fn new(name: impl Into<String>, stride: usize, fields: Vec<Field>) -> Result<Self> {
        let name = name.into();
        let bad = |why: String| Err(Error::new(Kind::BadInput, format!("schema {name}: {why}")));
        if stride == 0 {
            return bad("records of 0 bytes".into());
        }
        for (at, field) in fields.iter().enumerate() {
            let Place::Record { offset, size } = field.place else {
                return bad(format!("field {} is a column before any operator added one", field.name));
            };
            if offset.checked_add(size).is_none_or(|end| end > stride) {
                return bad(format!("field {} at {offset}+{size} lies outside {stride} bytes", field.name));
            }
            if field.kind.size().is_some_and(|known| known != size) {
                return bad(format!("field {} of {:?} has {size} bytes", field.name, field.kind));
            }
            if fields[..at].iter().any(|other| other.name == field.name) {
                return bad(format!("field {} stands twice", field.name));
            }
        }
        Ok(Self { name, stride, in_records: fields.clone(), fields, columns: 0 })
    }

    /// The data source's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes from one record to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The fields in their order, shown or hidden.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The fields as they lie in records, also those in whose place an operator has put a column.
    pub fn record_fields(&self) -> &[Field] {
        &self.in_records
    }

    /// How many columns operators have added.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The field at `index`, to change what is shown of it.
    pub fn field_mut(&mut self, index: usize) -> Option<&mut Field> {
        self.fields.get_mut(index)
    }

    /// The index of the field of that name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name == name)
    }

    /// The index of the field of that name.
    ///
    /// # Errors
    /// `NotFound`, with the nearest known name.
    pub fn require(&self, name: &str) -> Result<usize> {
        self.find(name).ok_or_else(|| {
            let known: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
            Error::new(Kind::NotFound, format!("{} has no field {name}", self.name)).help(did_you_mean(name, known))
        })
    }

    /// Adds a column, or, where a field of that name stands, puts the column in its place. Returns the field's index.
    pub fn add_column(&mut self, name: impl Into<String>, kind: FieldKind) -> usize {
        let name = name.into();
        let place = Place::Column(self.columns);
        self.columns += 1;
        if let Some(index) = self.find(&name) {
            self.fields[index].kind = kind;
            self.fields[index].place = place;
            return index;
        }
        self.fields.push(Field::new(name, kind, place));
        self.fields.len() - 1
    }
}
