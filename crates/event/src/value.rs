use std::{borrow::Cow, cmp::Ordering, fmt};

/// One field of one record.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// The field is absent: a column that was not filled for this record.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A floating-point number.
    Float(f64),
    /// Text; bytes that are no UTF-8 were replaced.
    Str(Cow<'a, str>),
    /// Raw bytes.
    Bytes(&'a [u8]),
}

impl Value<'_> {
    /// The number as i64 where it is one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Value::Bool(value) => Some(i64::from(value)),
            Value::Int(value) => Some(value),
            Value::Uint(value) => i64::try_from(value).ok(),
            _ => None,
        }
    }

    /// The number as u64 where it is one and fits.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::Bool(value) => Some(u64::from(value)),
            Value::Int(value) => u64::try_from(value).ok(),
            Value::Uint(value) => Some(value),
            _ => None,
        }
    }

    /// Numbers by size across their kinds, text by bytes; other pairs do not compare. `Null` is below everything.
    pub fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        let wide = |value: &Value<'_>| match *value {
            Value::Bool(value) => Some(i128::from(value)),
            Value::Int(value) => Some(i128::from(value)),
            Value::Uint(value) => Some(i128::from(value)),
            _ => None,
        };
        if let (Some(a), Some(b)) = (wide(self), wide(other)) {
            return Some(a.cmp(&b));
        }
        match (self, other) {
            (Value::Null, Value::Null) => Some(Ordering::Equal),
            (Value::Null, _) => Some(Ordering::Less),
            (_, Value::Null) => Some(Ordering::Greater),
            (Value::Str(a), Value::Str(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Float(a), Value::Float(b)) => Some(a.total_cmp(b)),
            (Value::Float(a), b) => wide(b).map(|b| a.total_cmp(&(b as f64))),
            (a, Value::Float(b)) => wide(a).map(|a| (a as f64).total_cmp(b)),
            _ => None,
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => Ok(()),
            Value::Bool(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            Value::Uint(value) => value.fmt(f),
            Value::Float(value) => value.fmt(f),
            Value::Str(value) => value.fmt(f),
            Value::Bytes(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}
