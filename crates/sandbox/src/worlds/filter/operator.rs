use super::WasmFilter;
use crate::TrapKind;
use skep_abi::event_context::{MEMBERS, SIZE};
use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Place, Schema};
use skep_flow::{Faults, Operator, Step};

/// A filter as an operator of a flow. The records must start with the filter's event; what follows it stays with the host.
pub struct FilterOperator {
    filter: WasmFilter,
}

impl FilterOperator {
    /// The operator that asks `filter`.
    pub fn new(filter: WasmFilter) -> Self {
        Self { filter }
    }
}

impl Operator for FilterOperator {
    fn name(&self) -> &str {
        self.filter.name()
    }

    fn bind(&mut self, schema: &mut Schema) -> Result<()> {
        for member in MEMBERS {
            let field = &schema.fields()[schema.require(member.name)?];
            if field.place != (Place::Record { offset: member.offset, size: member.ty.size() }) {
                let text = format!("field {} of {} is not where a filter reads it", member.name, schema.name());
                return Err(Error::new(Kind::BadInput, text));
            }
        }
        if schema.stride() < SIZE {
            return Err(Error::new(Kind::BadInput, format!("records of {} are shorter than an event", schema.name())));
        }
        Ok(())
    }

    fn process(&mut self, _: &Schema, batch: &mut Batch<'_>) -> Result<Step> {
        let mut selection = batch.selection().clone();
        let stride = batch.stride();
        self.filter.filter_records(batch.records(), stride, &mut selection)?;
        *batch.selection_mut() = selection;
        Ok(Step::Next)
    }

    fn faults(&self) -> Faults {
        let counters = self.filter.counters();
        let exhausted = counters.trapped.get(&TrapKind::OutOfFuel).copied().unwrap_or(0);
        Faults { trapped: counters.failures() - exhausted, exhausted }
    }
}
