use crate::{
    Options, Output, chrome, flamegraph, folded, histogram, jsonl, parquet, pprof, record, speedscope, table, top,
};
use skep_error::{Error, Kind, Result, did_you_mean, nearest};
use skep_flow::Sink;
use std::path::Path;

macro_rules! formats {
    ($($variant:ident, $name:literal, [$($ending:literal),*], $stacks:literal, $about:literal, $new:path;)*) => {
        /// The sinks, one row each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Format {
            $(#[doc = $about] $variant,)*
        }

        impl Format {
            /// Every sink, in the order of the documentation.
            pub const ALL: &'static [Format] = &[$(Format::$variant,)*];

            /// The name for `--format`.
            pub const fn name(self) -> &'static str {
                match self { $(Format::$variant => $name,)* }
            }

            /// The file endings by which it is chosen, longest first, without the first dot.
            pub const fn endings(self) -> &'static [&'static str] {
                match self { $(Format::$variant => &[$($ending),*],)* }
            }

            /// What it writes, in one line.
            pub const fn about(self) -> &'static str {
                match self { $(Format::$variant => $about,)* }
            }

            /// Whether it shows stacks and their weights, not rows.
            pub const fn is_of_stacks(self) -> bool {
                match self { $(Format::$variant => $stacks,)* }
            }

            /// The sink, writing to `output`.
            pub fn sink(self, output: Output, options: &Options) -> Box<dyn Sink> {
                match self { $(Format::$variant => Box::new($new(output, options)),)* }
            }
        }
    };
}

formats! {
    Top, "top", [], true, "Functions by their own and their total weight", top::Top::new;
    Folded, "folded", ["folded", "txt"], true, "Folded stacks, one a line with its weight", folded::Folded::new;
    FlameGraph, "flamegraph", ["svg"], true, "A flame graph to open in a browser", flamegraph::FlameGraph::new;
    Pprof, "pprof", ["pb.gz", "pprof"], true, "A profile for go tool pprof", pprof::Pprof::new;
    Speedscope, "speedscope", ["speedscope.json"], true, "A profile for speedscope.app", speedscope::Speedscope::new;
    Chrome, "chrome", ["trace.json", "perfetto.json"], false, "A trace for Perfetto and chrome://tracing", chrome::Chrome::new;
    Jsonl, "jsonl", ["jsonl", "ndjson", "json"], false, "One JSON object a line and event", jsonl::Jsonl::new;
    Table, "table", ["table"], false, "Aligned columns, one event a line", table::Table::new;
    Histogram, "histogram", ["hist"], false, "A log2 histogram", histogram::Histogram::new;
    Parquet, "parquet", ["parquet"], false, "Columns for DuckDB, pandas, Spark: Apache Parquet", parquet::Parquet::new;
    Record, "record", ["skep"], false, "A record file for skep replay", record::RecordSink::new;
}

/// Endings that files of many kinds have: what is asked for besides goes before what they say.
const GENERAL: [&str; 2] = ["json", "txt"];

impl Format {
    /// Whether a path's ending is one that files of many kinds have, such as `.json`.
    pub fn is_general(path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ending_of(&name).is_some_and(|(_, ending)| GENERAL.contains(&ending))
    }

    /// Whether it shows a row an event, with fields that can be chosen.
    pub const fn is_of_rows(self) -> bool {
        matches!(self, Self::Chrome | Self::Jsonl | Self::Table | Self::Parquet)
    }

    /// The sink of that name, or the one that writes files of that ending: `svg`, `pb.gz`.
    ///
    /// # Errors
    /// `Usage`, with the nearest name.
    pub fn from_name(name: &str) -> Result<Self> {
        let is_meant = |format: &Self| format.name() == name || format.endings().contains(&name);
        Self::ALL.iter().copied().find(is_meant).ok_or_else(|| {
            Error::new(Kind::Usage, format!("there is no format {name}"))
                .help(did_you_mean(name, Self::ALL.iter().map(|format| format.name())))
        })
    }

    /// The sink that a path's ending asks for; the longest known ending decides.
    ///
    /// # Errors
    /// `Usage` if no ending is known.
    pub fn from_path(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ending_of(&name).map(|(format, _)| format).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().flat_map(|format| format.endings()).copied().collect();
            let ending = name.split_once('.').map_or("", |(_, ending)| ending);
            let near = nearest(ending, known.iter().copied()).map(|near| format!("did you mean .{near}? "));
            let text = format!("{}use one of .{}, or say --format", near.unwrap_or_default(), known.join(", ."));
            Error::new(Kind::Usage, format!("the ending of {} names no format", path.display())).help(text)
        })
    }
}

/// The longest known ending of a file's name, and its format.
fn ending_of(name: &str) -> Option<(Format, &'static str)> {
    let endings = Format::ALL.iter().flat_map(|format| format.endings().iter().map(move |ending| (*format, *ending)));
    let fits = |ending: &str| name.strip_suffix(ending).is_some_and(|stem| stem.ends_with('.'));
    endings.filter(|(_, ending)| fits(ending)).max_by_key(|(_, ending)| ending.len())
}
