use crate::{Options, Output, StackProfile};
use skep_error::Result;
use skep_event::{Batch, Schema, StackTable};
use skep_flow::{Sink, Summary};

/// Folded stacks: the input of flame graph tools, and easy to grep.
pub(crate) struct Folded {
    output: Output,
    profile: StackProfile,
}

impl Folded {
    pub(crate) fn new(output: Output, options: &Options) -> Self {
        Self { output, profile: StackProfile::new(options) }
    }
}

impl Sink for Folded {
    fn name(&self) -> &str {
        "folded stacks"
    }

    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        self.profile.bind(schema, stacks)
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        self.profile.add(batch);
        Ok(())
    }

    fn finish(&mut self, _: &Schema, _: &Summary) -> Result<()> {
        for line in self.profile.folded() {
            self.output.write(line.as_bytes())?;
            self.output.write(b"\n")?;
        }
        self.output.flush()
    }
}
