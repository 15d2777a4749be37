use core::{cell::UnsafeCell, fmt};

use skep_abi::{
    hooks::wire::{Metric, MetricKind, ObserveResponse, REPORT, Status},
    layout::List,
};

use super::{
    Record,
    memory::Arena,
    record::{Binding, bind, gather, request},
    reply::{Place, list},
};

/// The most metrics of one report.
const MAX_METRICS: usize = 64;
/// Bytes of the longest text of a report.
const MAX_TEXT: usize = 16 << 10;

/// What a hook `observe` remembers between batches.
pub trait Observer: 'static {
    /// What it remembers at first.
    const NEW: Self;

    /// Says what there is to show.
    fn report(&self, report: &mut Report);
}

/// A place for an [`Observer`], for the attribute's use.
pub struct Cell<T>(UnsafeCell<T>);

// SAFETY: a plugin's instance runs on one thread.
unsafe impl<T> Sync for Cell<T> {}

impl<T: Observer> Cell<T> {
    /// The observer at first.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(UnsafeCell::new(T::NEW))
    }
}

/// Metrics and a text.
pub struct Report {
    metrics: [Metric; MAX_METRICS],
    len: usize,
    text: [u8; MAX_TEXT],
    text_len: usize,
    arena: Arena,
}

const NO_METRIC: Metric = Metric {
    name: List::new(0, 0),
    labels: List::new(0, 0),
    kind: MetricKind::Counter,
    reserved: 0,
    value: 0,
    bounds: List::new(0, 0),
    counts: List::new(0, 0),
};
const NONE: ObserveResponse =
    ObserveResponse { status: Status::Done, error: List::new(0, 0), metrics: List::new(0, 0), text: List::new(0, 0) };

static PENDING: Place<Report> = Place::new(Report {
    metrics: [NO_METRIC; MAX_METRICS],
    len: 0,
    text: [0; MAX_TEXT],
    text_len: 0,
    arena: Arena::new(),
});
static RESPONSE: Place<ObserveResponse> = Place::new(NONE);

impl Report {
    fn push(&mut self, metric: Metric) -> bool {
        let place = self.metrics.get_mut(self.len);
        let fits = place.is_some();
        if let Some(place) = place {
            *place = metric;
            self.len += 1;
        }
        fits
    }

    /// A sum that only grows. `labels` are `key=value`, apart by commas. False where there is no more room, here and
    /// below.
    pub fn counter(&mut self, name: &'static str, labels: &'static str, value: u64) -> bool {
        let value = value as i64;
        self.push(Metric { name: list(name.as_bytes()), labels: list(labels.as_bytes()), value, ..NO_METRIC })
    }

    /// A value that comes and goes.
    pub fn gauge(&mut self, name: &'static str, labels: &'static str, value: i64) -> bool {
        let kind = MetricKind::Gauge;
        self.push(Metric { name: list(name.as_bytes()), labels: list(labels.as_bytes()), kind, value, ..NO_METRIC })
    }

    /// Counts by upper bound: `counts` has one more than `bounds`, for what lies above the last.
    pub fn histogram(&mut self, name: &'static str, sum: u64, bounds: &[u64], counts: &[u64]) -> bool {
        let (Some(to_bounds), Some(to_counts)) =
            (self.arena.values::<u64>(bounds.len()), self.arena.values::<u64>(counts.len()))
        else {
            return false;
        };
        to_bounds.copy_from_slice(bounds);
        to_counts.copy_from_slice(counts);
        self.push(Metric {
            name: list(name.as_bytes()),
            kind: MetricKind::Histogram,
            value: sum as i64,
            bounds: list(to_bounds),
            counts: list(to_counts),
            ..NO_METRIC
        })
    }
}

/// Text goes to the report's text; what does not fit is an error.
impl fmt::Write for Report {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let to = self.text.get_mut(self.text_len..self.text_len + text.len()).ok_or(fmt::Error)?;
        to.copy_from_slice(text.as_bytes());
        self.text_len += text.len();
        Ok(())
    }
}

fn failed(error: List<u8>) -> i64 {
    RESPONSE.answer(ObserveResponse { status: Status::Failed, error, ..NONE })
}

/// What `skep_observe` does.
///
/// # Safety
/// `address` and `len` are the host's arguments; `state` is used by this alone.
pub unsafe fn observe<S: Observer, R: Record>(
    address: u32,
    len: u32,
    state: &'static Cell<S>,
    mut fold: impl FnMut(&mut S, &R),
) -> i64 {
    // SAFETY: the host's arguments.
    let Some(request) = (unsafe { request(address, len) }) else {
        return failed(list(b"a request of another version"));
    };
    // SAFETY: one thread, and nothing else uses the state.
    let state = unsafe { &mut *state.0.get() };
    // SAFETY: the request is the host's.
    let binding = unsafe { bind::<R>(request) };
    if let Binding::Nowhere(why) = binding {
        return failed(why);
    }
    // SAFETY: the host's bitmap.
    let words = unsafe {
        core::slice::from_raw_parts(request.selected.at as usize as *const u64, request.selected.len as usize)
    };
    for (at, word) in words.iter().enumerate() {
        let mut left = *word;
        while left != 0 {
            let index = at * 64 + left.trailing_zeros() as usize;
            left &= left - 1;
            let record = (request.records.at as usize + index * request.stride as usize) as *const u8;
            match &binding {
                // SAFETY: a record of the request that the offsets were bound to.
                Binding::Gathered(offsets) => fold(state, &unsafe { gather::<R>(record, offsets) }),
                // SAFETY: a record of the request, laid out as `R` is.
                _ => fold(state, unsafe { &*record.cast::<R>() }),
            }
        }
    }
    if request.flags & REPORT == 0 {
        return RESPONSE.answer(NONE);
    }
    // SAFETY: taken here only, and the host never calls into a call.
    let report = unsafe { PENDING.get() };
    (report.len, report.text_len) = (0, 0);
    report.arena.reset();
    state.report(report);
    RESPONSE.answer(ObserveResponse {
        metrics: list(&report.metrics[..report.len]),
        text: list(&report.text[..report.text_len]),
        ..NONE
    })
}
