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

/// What the sinks are told; each takes of it what it needs.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The title of graphs and profiles.
    pub title: String,
    /// What a profile counts.
    pub measure: Measure,
    /// Nanoseconds that one sample stands for; 0 where samples are no time.
    pub sample_period_ns: u64,
    /// A text field that is shown as the innermost frame, such as the system call's name.
    pub leaf: Option<String>,
    /// The field of a histogram; the measure's own where there is none.
    pub histogram_field: Option<String>,
    /// A field whose values each have a histogram of their own.
    pub histogram_key: Option<String>,
}
