use crate::{Operator, Step};
use skep_error::Result;
use skep_event::{Batch, Column, FieldKind, Schema, Value};

/// How a value becomes text: `None` leaves the text empty.
pub type FormatRule = Box<dyn Fn(&Value<'_>) -> Option<String>>;

/// Adds a column of text made of one field: a name for a number, a duration with its unit.
pub struct Format {
    from: String,
    to: String,
    hide_source: bool,
    rule: FormatRule,
    bound: Option<(usize, usize)>,
}

impl Format {
    /// Field `to` shows field `from` by `rule`; `hide_source` hides the field that it is made of.
    pub fn new(from: impl Into<String>, to: impl Into<String>, hide_source: bool, rule: FormatRule) -> Self {
        Self { from: from.into(), to: to.into(), hide_source, rule, bound: None }
    }
}

impl Operator for Format {
    fn name(&self) -> &str {
        "format"
    }

    fn bind(&mut self, schema: &mut Schema) -> Result<()> {
        let from = schema.require(&self.from)?;
        let column = schema.columns();
        schema.add_column(&self.to, FieldKind::String);
        if self.hide_source
            && self.from != self.to
            && let Some(field) = schema.field_mut(from)
        {
            field.hidden = true;
        }
        self.bound = Some((from, column));
        Ok(())
    }

    fn process(&mut self, schema: &Schema, batch: &mut Batch<'_>) -> Result<Step> {
        let Some((from, column)) = self.bound else { return Ok(Step::Next) };
        let field = &schema.fields()[from];
        let mut texts = vec![String::new(); batch.len()];
        for index in batch.selection().iter() {
            texts[index] = (self.rule)(&batch.value(index, field)).unwrap_or_default();
        }
        batch.set_column(column, Column::Str(texts))?;
        Ok(Step::Next)
    }
}
