//! What guests log: at most so many lines a second reach the host's log, each with the guest's name.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Takes a line of a guest's log: the guest's name, the line.
pub type LogLines = Arc<dyn Fn(&str, &str) + Send + Sync>;

/// Bytes of a line that are kept.
const LINE: usize = 1024;

/// The log of one guest. How many lines were left out is said with the next one, a second later, or when it is dropped.
pub struct Log {
    name: String,
    lines: LogLines,
    per_second: u32,
    window: Instant,
    in_window: u32,
    /// Since the last line that told of it.
    unreported: u64,
    suppressed: u64,
}

impl Log {
    /// A log of a guest called `name` that hands at most `per_second` lines a second to `lines`.
    pub fn new(name: &str, lines: LogLines, per_second: u32) -> Self {
        Self {
            name: name.to_owned(),
            lines,
            per_second,
            window: Instant::now(),
            in_window: 0,
            unreported: 0,
            suppressed: 0,
        }
    }

    /// Takes a line as the guest gave it. Nothing is allocated for a line that is suppressed.
    pub fn line(&mut self, bytes: &[u8]) {
        if self.window.elapsed() >= Duration::from_secs(1) {
            self.report();
            self.window = Instant::now();
            self.in_window = 0;
        }
        if self.in_window >= self.per_second {
            self.unreported += 1;
            self.suppressed += 1;
            return;
        }
        self.in_window += 1;
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LINE)]);
        // A guest cannot forge a second line or move the terminal's cursor.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        (self.lines)(&self.name, text.trim_end());
    }

    /// Says how many lines were left out since it was said last.
    fn report(&mut self) {
        let suppressed = std::mem::take(&mut self.unreported);
        if suppressed > 0 {
            (self.lines)(&self.name, &format!("({suppressed} lines suppressed)"));
        }
    }

    /// Lines that were left out since the start.
    pub fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

impl Drop for Log {
    /// No line follows that could bring the count along.
    fn drop(&mut self) {
        self.report();
    }
}
