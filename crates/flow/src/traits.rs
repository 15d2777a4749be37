use crate::Summary;
use skep_error::Result;
use skep_event::{Batch, Column, Schema, Selection, StackTable};
use std::time::Duration;

/// What a source wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fill {
    /// Whole records written, from the buffer's start.
    pub records: usize,
    /// Whether nothing will follow.
    pub end: bool,
}

/// Where records come from.
pub trait Source {
    /// What its records look like.
    fn schema(&self) -> &Schema;

    /// Writes whole records to `buffer`, as many as are there and fit; waits at most `wait` for the first. `buffer` has
    /// room for at least one record.
    ///
    /// # Errors
    /// Those of reading the kernel's buffers or a file; the run ends with them.
    fn fill(&mut self, buffer: &mut [u8], wait: Duration) -> Result<Fill>;

    /// Ends the making of records; called once when a run is over. Returns whether what is left is to be taken: then
    /// [`Source::fill`] hands it out and says when it ends.
    ///
    /// # Errors
    /// Those of talking to the kernel.
    fn stop(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// Events that the kernel dropped since the run began.
    fn lost(&self) -> u64 {
        0
    }

    /// Events that were lost in a full queue before they came to this source, as it knows now: those of a recording.
    fn lost_in_queue(&self) -> u64 {
        0
    }

    /// Of the records handed out, those of something that had not ended when the run did.
    fn under_way(&self) -> u64 {
        0
    }

    /// Whether a record may stand for many events, so many as its field `count` says.
    fn sums(&self) -> bool {
        false
    }

    /// Whether events are lost when nobody takes them. False for files: there a full queue makes the source wait.
    fn live(&self) -> bool {
        true
    }

    /// The stacks that its records name; filled before the records are handed out.
    fn stacks(&self) -> StackTable {
        StackTable::new()
    }
}

/// What becomes of a batch after an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What is selected goes on.
    Next,
    /// The operator took what is selected and lets it go in [`Operator::finish`]; nothing goes on now.
    Held,
    /// What is selected goes on, and the run ends after it.
    Last,
}

/// What went wrong with single records, by kind; none of it ends a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The guest trapped.
    pub trapped: u64,
    /// The guest used up its fuel or its time.
    pub exhausted: u64,
}

/// What an operator made of a batch that lies in its own memory.
#[derive(Clone, Debug, Default)]
pub struct Added {
    /// Which records are kept; all of them when the operator is called.
    pub selection: Selection,
    /// The columns it filled, by index.
    pub columns: Vec<(usize, Column)>,
}

/// Narrows the selection of batches or adds columns.
pub trait Operator {
    /// Its name in counters and messages.
    fn name(&self) -> &str;

    /// Sees the schema before the first batch, and adds its columns.
    ///
    /// # Errors
    /// `NotFound` or `BadInput` if it cannot work with that schema.
    fn bind(&mut self, schema: &mut Schema) -> Result<()> {
        let _ = schema;
        Ok(())
    }

    /// Works on one batch. `schema` is the one of the whole run, with all columns.
    ///
    /// # Errors
    /// Any error ends the run; faults of single records are counted in [`Operator::faults`] instead.
    fn process(&mut self, schema: &Schema, batch: &mut Batch<'_>) -> Result<Step>;

    /// Lets go what it held, after the last batch.
    ///
    /// # Errors
    /// As [`Operator::process`].
    fn finish(&mut self, schema: &Schema) -> Result<Vec<Batch<'static>>> {
        let _ = schema;
        Ok(Vec::new())
    }

    /// Faults since the run began.
    fn faults(&self) -> Faults {
        Faults::default()
    }

    /// This operator as the first stage, where it has memory that a source can write to.
    fn head(&mut self) -> Option<&mut dyn Head> {
        None
    }
}

/// An operator whose memory the source fills, so that the first stage copies nothing.
pub trait Head {
    /// Room for records of that stride, for at most `bytes`; at least one record.
    ///
    /// # Errors
    /// If its memory cannot be had.
    fn buffer(&mut self, stride: usize, bytes: usize) -> Result<&mut [u8]>;

    /// [`Operator::process`] on the first `records` records of the buffer.
    ///
    /// # Errors
    /// As [`Operator::process`].
    fn process_in_place(&mut self, schema: &Schema, records: usize, added: &mut Added) -> Result<Step>;

    /// The first `records` records of the buffer, as they are now.
    fn records(&self, stride: usize, records: usize) -> &[u8];
}

/// Where kept records end.
pub trait Sink: Send {
    /// Its name in messages.
    fn name(&self) -> &str;

    /// Sees the schema and the stacks before the first batch.
    ///
    /// # Errors
    /// `NotFound` if the schema lacks a field that it needs; `Io`, `Permission` if its output cannot be opened.
    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()>;

    /// Takes the kept records of a batch.
    ///
    /// # Errors
    /// Any error ends the sink, and is what the run returns at its end; other sinks go on.
    fn write(&mut self, schema: &Schema, batch: &Batch<'_>) -> Result<()>;

    /// Nothing came for a second: what is held back to be written together need not wait longer.
    ///
    /// # Errors
    /// As [`Sink::write`].
    fn idle(&mut self) -> Result<()> {
        Ok(())
    }

    /// Writes what remains.
    ///
    /// # Errors
    /// Those of writing.
    fn finish(&mut self, schema: &Schema, summary: &Summary) -> Result<()>;
}
