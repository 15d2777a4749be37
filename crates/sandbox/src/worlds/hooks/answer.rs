//! What a plugin answers, read out of its memory: bounds checked, and no more than its budget of output.

use skep_abi::{
    hooks::wire::{Column, FilterResponse, Metric, MetricKind, ObserveResponse, ShapeResponse, Status},
    layout::{Layout, List, Wire},
    operator::FieldKind,
};

/// A column that hook `shape` added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedColumn {
    /// Its name.
    pub name: String,
    /// How a value's bytes are read; texts end at the first NUL.
    pub kind: FieldKind,
    /// Bytes of a value.
    pub width: usize,
    /// One value for each record of the batch.
    pub values: Vec<u8>,
}

/// What hook `shape` made of a batch, besides the records that it changed in place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shaped {
    /// Columns it added.
    pub columns: Vec<AddedColumn>,
    /// The names of fields and columns that are not to be shown.
    pub hidden: Vec<String>,
}

/// A metric of hook `observe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricValue {
    /// Its name.
    pub name: String,
    /// `key=value`, apart by commas.
    pub labels: String,
    /// What it is.
    pub kind: MetricKind,
    /// The value; of a histogram, the sum of what was measured.
    pub value: i64,
    /// A histogram's upper bounds.
    pub bounds: Vec<u64>,
    /// A histogram's counts: one more than bounds.
    pub counts: Vec<u64>,
}

/// What hook `observe` has to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Metrics.
    pub metrics: Vec<MetricValue>,
    /// A text.
    pub text: String,
}

/// Why an answer was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// The guest itself says that it failed, and why.
    Failed(String),
    /// The answer is nonsense.
    Nonsense(String),
}

/// A response's reader.
pub(super) struct Answer<'a> {
    memory: &'a [u8],
    /// Bytes that may still be read.
    left: u64,
}

fn nonsense(what: impl Into<String>) -> Bad {
    Bad::Nonsense(what.into())
}

impl<'a> Answer<'a> {
    pub(super) fn new(memory: &'a [u8], output_bytes: u64) -> Self {
        Self { memory, left: output_bytes }
    }

    /// The response behind a hook's result, `ptr << 32 | len`.
    fn response<T: Layout + Wire>(&mut self, result: i64) -> Result<T, Bad> {
        let result = result.cast_unsigned();
        let (at, len) = ((result >> 32) as u32, result as u32);
        if len as usize != T::DESC.size {
            return Err(nonsense(format!("a response of {len} bytes, {} are one", T::DESC.size)));
        }
        T::read_from(self.bytes(at, u64::from(len))?).ok_or_else(|| nonsense("a status that is none"))
    }

    fn bytes(&mut self, at: u32, len: u64) -> Result<&'a [u8], Bad> {
        self.left = self.left.checked_sub(len).ok_or_else(|| nonsense("more output than its budget allows"))?;
        let start = at as usize;
        usize::try_from(len)
            .ok()
            .and_then(|len| self.memory.get(start..start.checked_add(len)?))
            .ok_or_else(|| nonsense(format!("{len} bytes at {at:#x}, which do not lie in its memory")))
    }

    fn list<T>(&mut self, list: List<T>, size: usize) -> Result<&'a [u8], Bad> {
        if list.len == 0 {
            return Ok(&[]);
        }
        self.bytes(list.at, u64::from(list.len) * size as u64)
    }

    fn values<T: Layout + Wire>(&mut self, list: List<T>) -> Result<Vec<T>, Bad> {
        let size = T::DESC.size;
        let read = |bytes| T::read_from(bytes).ok_or_else(|| nonsense("a number that means nothing"));
        self.list(list, size)?.chunks_exact(size).map(read).collect()
    }

    fn text(&mut self, list: List<u8>) -> Result<String, Bad> {
        let bytes = self.list(list, 1)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| nonsense("a text that is not UTF-8"))
    }

    fn status(&mut self, status: Status, error: List<u8>) -> Result<(), Bad> {
        match status {
            Status::Done => Ok(()),
            Status::Failed => Err(Bad::Failed(String::from_utf8_lossy(self.list(error, 1)?).into_owned())),
        }
    }

    /// The bitmap of hook `filter`, at least `words` words.
    pub(super) fn filter(&mut self, result: i64, words: usize) -> Result<&'a [u8], Bad> {
        let response: FilterResponse = self.response(result)?;
        self.status(response.status, response.error)?;
        if (response.keep.len as usize) < words {
            return Err(nonsense(format!("a bitmap of {} words for {words}", response.keep.len)));
        }
        self.list(List::<u64>::new(response.keep.at, words as u32), 8)
    }

    pub(super) fn shape(&mut self, result: i64, count: usize) -> Result<Shaped, Bad> {
        let response: ShapeResponse = self.response(result)?;
        self.status(response.status, response.error)?;
        let mut shaped = Shaped::default();
        for column in self.values::<Column>(response.columns)? {
            shaped.columns.push(self.column(&column, count)?);
        }
        for name in self.lists(response.hidden)? {
            shaped.hidden.push(self.text(name)?);
        }
        Ok(shaped)
    }

    fn lists(&mut self, lists: List<List<u8>>) -> Result<Vec<List<u8>>, Bad> {
        let bytes = self.list(lists, 8)?;
        Ok(bytes.chunks_exact(8).filter_map(List::read_from).collect())
    }

    fn column(&mut self, column: &Column, count: usize) -> Result<AddedColumn, Bad> {
        let name = self.text(column.name)?;
        let width = column.width as usize;
        let fits = match column.kind.size() {
            Some(size) => width == size,
            None => width > 0 && column.kind != FieldKind::Invalid,
        };
        if name.is_empty() || !fits || u64::from(column.values.len) != width as u64 * count as u64 {
            return Err(nonsense(format!("a column \"{name}\" whose name, width or length is wrong")));
        }
        Ok(AddedColumn { name, kind: column.kind, width, values: self.list(column.values, 1)?.to_vec() })
    }

    pub(super) fn observe(&mut self, result: i64) -> Result<Report, Bad> {
        let response: ObserveResponse = self.response(result)?;
        self.status(response.status, response.error)?;
        let mut report = Report { metrics: Vec::new(), text: self.text(response.text)? };
        for metric in self.values::<Metric>(response.metrics)? {
            let value = MetricValue {
                name: self.text(metric.name)?,
                labels: self.text(metric.labels)?,
                kind: metric.kind,
                value: metric.value,
                bounds: self.values(metric.bounds)?,
                counts: self.values(metric.counts)?,
            };
            let whole = value.kind != MetricKind::Histogram || value.counts.len() == value.bounds.len() + 1;
            if value.name.is_empty() || !whole {
                return Err(nonsense(format!("a metric \"{}\" whose name or counts are wrong", value.name)));
            }
            report.metrics.push(value);
        }
        Ok(report)
    }
}
