//! Admission and world `hooks`: what reading a module costs, and what asking a plugin about a batch costs.

use super::{
    Programs,
    report::{Bar, Row, median},
};
use crate::process::{cargo, output};
use skep_error::{Error, Kind, Result};

/// Times that a bench of a crate is run: where its memory comes to lie is another in each process, which is worth 3 % to a call.
const PROCESSES: usize = 5;

/// Runs a bench of a crate, whose last line holds its figures, and gives what finds their medians by name.
pub(super) fn figures(package: &str, bench: &str) -> Result<impl Fn(&str) -> Result<f64> + use<>> {
    let run = || output(cargo().args(["bench", "--quiet", "--locked", "-p", package, "--bench", bench]));
    let texts = (0..PROCESSES).map(|_| run()).collect::<Result<Vec<_>>>()?;
    let bench = bench.to_owned();
    Ok(move |name: &str| {
        let in_one = |text: &String| {
            let found =
                text.split_whitespace().find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
            found.ok_or_else(|| Error::new(Kind::BadInput, format!("the bench {bench} says no {name}:\n{text}")))
        };
        Ok(median(&texts.iter().map(in_one).collect::<Result<Vec<f64>>>()?))
    })
}

/// Inspection and admission of a module that C or Rust makes, and of one that Go makes.
pub(super) fn inspect(_: &Programs) -> Result<Vec<Row>> {
    let value = figures("skep-admit", "inspect")?;
    let name = |what: &str, kib: f64| format!("inspect and admit {what} of {kib:.0} KiB");
    Ok(vec![
        Row::plain(&name("a Rust module", value("small_kib")?), "ms", value("small_ms")?, Bar::AtMost(1.0)),
        Row::plain(&name("a Go module", value("go_kib")?), "ms", value("go_ms")?, Bar::AtMost(20.0)),
        Row::plain("their peak memory, times the module", "", value("memory")?, Bar::AtMost(2.0)),
    ])
}

/// A filter of world `hooks` on events of 88 bytes, beside the same loop in native code.
pub(super) fn hooks(_: &Programs) -> Result<Vec<Row>> {
    let value = figures("skep-sandbox", "hooks")?;
    let native = value("native")?;
    Ok(vec![
        Row::against(
            "a plugin, events in its memory, an event",
            "ns",
            value("in_place")?,
            native,
            Bar::RatioAtMost(1.15),
        ),
        Row::against("a plugin, one copy in chunks, an event", "ns", value("copied")?, native, Bar::RatioAtMost(3.0)),
    ])
}
