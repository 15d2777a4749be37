//! Figures that `xtask bench` takes up: one a line, on standard output.

use std::fmt;

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// The value itself, at most.
    AtMost(f64),
    /// The value itself, at least.
    AtLeast(f64),
    /// The value divided by the one beside it, at most.
    RatioAtMost(f64),
    /// It is for information.
    None,
}

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Its unit, if any.
    pub unit: &'static str,
    /// The median.
    pub value: f64,
    /// What it is compared with.
    pub beside: Option<f64>,
    /// What it must reach.
    pub bar: Bar,
}

impl Figure {
    /// A figure with nothing beside it.
    pub fn plain(name: impl Into<String>, unit: &'static str, value: f64, bar: Bar) -> Self {
        Self { name: name.into(), unit, value, beside: None, bar }
    }

    /// Whether the bar is missed.
    pub fn missed(&self) -> bool {
        match self.bar {
            Bar::AtMost(bar) => self.value > bar,
            Bar::AtLeast(bar) => self.value < bar,
            Bar::RatioAtMost(bar) => self.beside.is_some_and(|beside| self.value / beside > bar),
            Bar::None => false,
        }
    }
}

/// `figure`, name, unit, value, what is beside it or `-`, the bar's kind and number: separated by tabs.
impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "figure\t{}\t{}\t{}\t", self.name, self.unit, self.value)?;
        match self.beside {
            Some(beside) => write!(f, "{beside}\t")?,
            None => write!(f, "-\t")?,
        }
        match self.bar {
            Bar::AtMost(bar) => write!(f, "at-most\t{bar}"),
            Bar::AtLeast(bar) => write!(f, "at-least\t{bar}"),
            Bar::RatioAtMost(bar) => write!(f, "ratio-at-most\t{bar}"),
            Bar::None => write!(f, "none\t0"),
        }
    }
}
