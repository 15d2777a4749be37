use crate::{Options, Output, StackProfile};
use inferno::flamegraph::{self, Palette, color::BasicPalette};
use skep_error::{Error, Kind, Result};
use skep_event::{Batch, Schema, StackTable};
use skep_flow::{Sink, Summary};

/// A flame graph as one SVG with its own script: search and zoom work in any browser, offline.
pub(crate) struct FlameGraph {
    output: Output,
    profile: StackProfile,
    options: Options,
}

impl FlameGraph {
    pub(crate) fn new(output: Output, options: &Options) -> Self {
        Self { output, profile: StackProfile::new(options), options: options.clone() }
    }
}

impl Sink for FlameGraph {
    fn name(&self) -> &str {
        "flame graph"
    }

    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        self.profile.bind(schema, stacks)
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        self.profile.add(batch);
        Ok(())
    }

    fn finish(&mut self, _: &Schema, summary: &Summary) -> Result<()> {
        let mut options = flamegraph::Options::default();
        options.title = self.options.title.clone();
        options.count_name = self.options.measure.unit().into();
        options.colors = Palette::Basic(BasicPalette::Hot);
        options.hash = true;
        if summary.lost.unwanted() > 0 {
            options.subtitle = Some(summary.lost.to_string());
        }
        let mut lines = self.profile.folded();
        // What has no width cannot be drawn, and a graph of nothing else is an error to what draws it.
        lines.retain(|line| !line.ends_with(" 0"));
        check_sum(lines.iter().map(String::as_str), MAX_SUM)?;
        let svg = draw(&mut options, &lines)?;
        self.output.write(&svg)?;
        self.output.flush()
    }
}

/// What the weights of a graph may add up to: more does not fit into what it is drawn with. As nanoseconds a century.
const MAX_SUM: u64 = 1 << 62;

/// Refuses folded lines whose weights add up to more than `most`.
pub(crate) fn check_sum<'a>(mut lines: impl Iterator<Item = &'a str>, most: u64) -> Result<()> {
    let weight = |line: &str| line.rsplit_once(' ').and_then(|(_, weight)| weight.trim_end().parse().ok()).unwrap_or(0);
    let sum = lines.try_fold(0u64, |sum, line| sum.checked_add(weight(line)).filter(|sum| *sum <= most));
    let refusal =
        || Error::new(Kind::BadInput, format!("its weights add up to more than {most}, which no graph shows"));
    sum.map(drop).ok_or_else(refusal)
}

/// Draws folded lines; a graph that says so where there are none.
pub(crate) fn draw(options: &mut flamegraph::Options<'_>, lines: &[String]) -> Result<Vec<u8>> {
    let mut svg = Vec::new();
    let nothing = ["[nothing was sampled] 1".to_owned()];
    let lines = if lines.is_empty() { &nothing[..] } else { lines };
    flamegraph::from_lines(options, lines.iter().map(String::as_str), &mut svg)
        .map_err(|error| Error::wrap(Kind::Internal, error).context("drawing the flame graph"))?;
    Ok(svg)
}
