use super::{FilterCounters, WasmFilter};
use skep_abi::event_context::EventContext;
use skep_error::Result;

/// Filters one after the other, each asked only about what the one before kept.
#[derive(Default)]
pub struct FilterChain {
    filters: Vec<WasmFilter>,
}

impl FilterChain {
    /// A chain of those filters, first to last.
    pub fn new(filters: Vec<WasmFilter>) -> Self {
        Self { filters }
    }

    /// Whether every filter keeps the event. An empty chain keeps everything.
    ///
    /// # Errors
    /// As [`WasmFilter::filter_event`].
    pub fn filter_event(&mut self, event: &EventContext) -> Result<bool> {
        for filter in &mut self.filters {
            if !filter.filter_event(event)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Drops from `events`, in place and in order, those that a filter drops.
    ///
    /// # Errors
    /// As [`WasmFilter::filter_batch`].
    pub fn filter_batch(&mut self, events: &mut Vec<EventContext>) -> Result<()> {
        self.filters.iter_mut().try_for_each(|filter| filter.filter_batch(events))
    }

    /// Each filter's name and counters, first to last.
    pub fn counters(&self) -> Vec<(String, FilterCounters)> {
        self.filters.iter().map(|filter| (filter.name().to_owned(), filter.counters())).collect()
    }
}
