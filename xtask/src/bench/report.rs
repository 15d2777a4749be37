use std::{fmt::Write as _, fs, process::Command};

/// What a measurement must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bar {
    /// The value, at least.
    AtLeast(f64),
    /// The value, at most.
    AtMost(f64),
    /// The value divided by the native one, at least.
    RatioAtLeast(f64),
    /// The same, at most.
    RatioAtMost(f64),
    /// It is for information.
    None,
}

/// One line of the report.
#[derive(Debug)]
pub(super) struct Row {
    name: String,
    unit: String,
    value: f64,
    native: Option<f64>,
    bar: Bar,
}

impl Row {
    /// A value with nothing beside it; `unit` may be a remark.
    pub(super) fn plain(name: &str, unit: &str, value: f64, bar: Bar) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), value, native: None, bar }
    }

    /// A value beside the native one.
    pub(super) fn against(name: &str, unit: &str, value: f64, native: f64, bar: Bar) -> Self {
        Self { native: Some(native), ..Self::plain(name, unit, value, bar) }
    }

    /// Whether the bar was missed.
    pub(super) fn missed(&self) -> bool {
        let ratio = self.native.map_or(f64::NAN, |native| self.value / native);
        match self.bar {
            Bar::AtLeast(bar) => self.value < bar,
            Bar::AtMost(bar) => self.value > bar,
            Bar::RatioAtLeast(bar) => ratio < bar,
            Bar::RatioAtMost(bar) => ratio > bar,
            Bar::None => false,
        }
    }
}

/// The middle of the values; the mean of the two middle ones of an even number.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// The whole report.
pub(super) fn markdown(rows: &[Row], rounds: usize) -> String {
    let mut text = "# Results\n\nWritten by `make bench`. Medians of ".to_owned();
    _ = writeln!(text, "{rounds} rounds (7 for the stream of records), Skep and native in turn in one run: trust the");
    text.push_str("ratios, the machine may be shared. [README.md](README.md) says what each program does.\n\n");
    for line in machine() {
        _ = writeln!(text, "- {line}");
    }
    text.push_str("\n| measurement | Skep | native | ratio | bar | |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let native = row.native.map_or(String::new(), number);
        let ratio = row.native.map_or(String::new(), |native| format!("{:.2}", row.value / native));
        let (bar, met) = match row.bar {
            Bar::AtLeast(bar) => (format!("at least {}", number(bar)), true),
            Bar::AtMost(bar) => (format!("at most {}", number(bar)), true),
            Bar::RatioAtLeast(bar) => (format!("ratio at least {bar}"), true),
            Bar::RatioAtMost(bar) => (format!("ratio at most {bar}"), true),
            Bar::None => (String::new(), false),
        };
        let verdict = match (met, row.missed()) {
            (false, _) => "",
            (true, false) => "met",
            (true, true) => "**missed**",
        };
        let value = format!("{} {}", number(row.value), row.unit);
        _ = writeln!(text, "| {} | {} | {native} | {ratio} | {bar} | {verdict} |", row.name, value.trim());
    }
    text
}

/// Three significant digits, whole numbers as they are.
fn number(value: f64) -> String {
    if value.fract() == 0.0 || value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// What the figures were taken on.
fn machine() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let processors = cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse::<f64>().ok());
    let commit = Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let commit = commit.map(|output| output.stdout).unwrap_or_default();
    let rustc = Command::new("rustc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    vec![
        format!("{model}, {processors} processors, {:.0} GiB of memory", memory.unwrap_or(0.0) / 1048576.0),
        format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        format!(
            "{}, load average {}",
            String::from_utf8_lossy(&rustc).trim(),
            read("/proc/loadavg").split(' ').next().unwrap_or("")
        ),
        format!("commit {}", String::from_utf8_lossy(&commit).trim()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_on_the_value_or_on_the_ratio() {
        assert!(!Row::against("x", "ns", 110.0, 100.0, Bar::RatioAtMost(1.15)).missed());
        assert!(Row::against("x", "ns", 120.0, 100.0, Bar::RatioAtMost(1.15)).missed());
        assert!(Row::against("x", "", 6.0, 10.0, Bar::RatioAtLeast(0.7)).missed());
        assert!(Row::plain("x", "", 99.0, Bar::AtLeast(100.0)).missed());
        assert!(!Row::plain("x", "", 5.0, Bar::AtMost(5.0)).missed());
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
