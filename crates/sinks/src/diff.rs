//! Two profiles as one differential flame graph: red grew, blue shrank.

use crate::flamegraph::{check_sum, draw};
use inferno::{differential, flamegraph};
use skep_error::{Error, Kind, Result, ResultExt as _};

/// What the weights of a profile may add up to: the colours of differences are reckoned with numbers 150 times as large.
const MAX_SUM: u64 = 1 << 55;

/// The SVG of `after` against `before`, both folded stacks; widths are those of `after`. The weights of `before` are scaled to
/// the same sum, so that runs of different length compare.
///
/// # Errors
/// `BadInput` if a line is no folded stack, or the weights of one profile add up to more than a graph can show.
pub fn svg(before: &str, after: &str, title: &str) -> Result<Vec<u8>> {
    for (which, text) in [("the first profile", before), ("the second profile", after)] {
        if let Some((number, line)) = text.lines().enumerate().find(|(_, line)| !is_folded(line)) {
            let message = format!("line {} is no folded stack: {line:.60}", number + 1);
            return Err(Error::new(Kind::BadInput, message)
                .context(format!("reading {which}"))
                .help("make it with: skep profile cpu --output before.folded"));
        }
        check_sum(text.lines(), MAX_SUM)
            .map_err(|error| error.help("divide all its weights by one number: a difference shows shares"))
            .context(|| format!("reading {which}"))?;
    }
    let mut lines = Vec::new();
    let options = differential::Options { normalize: true, ..differential::Options::default() };
    differential::from_readers(options, before.as_bytes(), after.as_bytes(), &mut lines)
        .map_err(|error| Error::wrap(Kind::BadInput, error).context("comparing the profiles"))?;
    let lines: Vec<String> = String::from_utf8_lossy(&lines).lines().map(str::to_owned).collect();
    let mut options = flamegraph::Options::default();
    options.title = title.to_owned();
    draw(&mut options, &lines)
}

fn is_folded(line: &str) -> bool {
    line.trim().is_empty()
        || line.rsplit_once(' ').is_some_and(|(stack, weight)| !stack.is_empty() && weight.parse::<u64>().is_ok())
}
