use crate::{Operator, Step};
use skep_error::Result;
use skep_event::{Batch, Schema};

/// Lets the first `count` records through, then ends the run.
#[derive(Debug)]
pub struct Limit {
    left: u64,
}

impl Limit {
    /// At most `count` records.
    pub fn new(count: u64) -> Self {
        Self { left: count }
    }
}

impl Operator for Limit {
    fn name(&self) -> &str {
        "limit"
    }

    fn process(&mut self, _: &Schema, batch: &mut Batch<'_>) -> Result<Step> {
        batch.selection_mut().retain(|_| {
            let keep = self.left > 0;
            self.left -= u64::from(keep);
            keep
        });
        Ok(if self.left == 0 { Step::Last } else { Step::Next })
    }
}
