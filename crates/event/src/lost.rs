use std::{fmt, ops::AddAssign};

/// What did not come through, by who dropped it. Counts of events since the run began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Dropped in the kernel: no room in a ring buffer or a map.
    pub kernel: u64,
    /// Dropped by a filter, on purpose.
    pub filter: u64,
    /// Dropped in this process because a queue was full, or because the run was over before the operators came to them.
    pub queue: u64,
}

impl Lost {
    /// Events lost against anybody's will: by the kernel or by a full queue.
    pub fn unwanted(self) -> u64 {
        self.kernel + self.queue
    }
}

impl AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.kernel += other.kernel;
        self.filter += other.filter;
        self.queue += other.queue;
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lost: {} in the kernel, {} in a full queue; filtered: {}", self.kernel, self.queue, self.filter)
    }
}
