use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a profile counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Measure {
    /// How often: the sum of field `count`.
    #[default]
    Samples,
    /// Time waited: the sum of field `wait_ns`.
    Wait,
    /// Time taken: the sum of field `duration_ns`.
    Duration,
}

impl Measure {
    /// The field that holds the weight of a record.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Samples => "count",
            Self::Wait => "wait_ns",
            Self::Duration => "duration_ns",
        }
    }

    /// The unit, in the words of the formats that name one.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Samples => "samples",
            Self::Wait | Self::Duration => "nanoseconds",
        }
    }
}

/// When the events of a record file came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// When the recording began, in nanoseconds since 1970; 0 if the file does not say.
    pub started_ns: u64,
    /// How long it took, in nanoseconds; 0 if the file does not say, as one that was cut off.
    pub elapsed_ns: u64,
    /// What one sample stands for, in nanoseconds; 0 where samples are no time, or if the file does not say.
    pub sample_period_ns: u64,
}

/// What the sinks are told; each takes of it what it needs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The title of graphs and profiles.
    pub title: String,
    /// What a profile counts.
    pub measure: Measure,
    /// Nanoseconds that one sample stands for; 0 where samples are no time.
    pub sample_period_ns: u64,
    /// When the events came, where that was not just now: what a replay writes is about the recording.
    pub recorded: Option<Recorded>,
    /// A text field that is shown as the innermost frame, such as the system call's name.
    pub leaf: Option<String>,
    /// Tables show the stacks of each row below it.
    pub stacks: bool,
    /// The field of a histogram; the measure's own where there is none.
    pub histogram_field: Option<String>,
    /// A field whose values each have a histogram of their own.
    pub histogram_key: Option<String>,
}

impl Options {
    /// When the events began to come, in nanoseconds since 1970: now, unless they were recorded.
    pub(crate) fn started_ns(&self) -> u64 {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64);
        self.recorded.map_or_else(now, |recorded| recorded.started_ns)
    }

    /// How long they came, of a run that took `elapsed`.
    pub(crate) fn elapsed_ns(&self, elapsed: Duration) -> u64 {
        self.recorded.map_or(elapsed.as_nanos() as u64, |recorded| recorded.elapsed_ns)
    }
}
