//! WebAssembly in the kernel: the figures that `tests/kernel-wasm` measures and prints, a line each.

use super::{
    Programs,
    report::{Bar, Row},
};
use crate::process::{cargo, output, root, target};
use skep_error::{Error, Kind, Result};
use std::process::Command;

/// The page whose tables they write.
const PAGE: &str = "docs/src/wasm-in-the-kernel-figures.md";

/// The test suite; speed, what the verifier walks, compilation, also of hostile modules, loading. Built together with `skep`, so that both share
/// what they are built from.
pub(super) fn wasm(_: &Programs) -> Result<Vec<Row>> {
    let packages = ["-p", "skep-cli", "-p", "skep-kernel-wasm"];
    let build =
        ["build", "--quiet", "--release", "--locked", "--bin", "suite", "--bin", "programs", "--bin", "hostile"];
    crate::process::succeed(cargo().args(build).args(packages))?;
    let mut rows = Vec::new();
    for (program, has_tables) in [("suite", true), ("programs", true), ("hostile", false)] {
        let mut command = Command::new(target().join("release").join(program));
        command.arg("--figures");
        if has_tables {
            command.arg("--write").arg(root().join(PAGE));
        }
        let text = output(&mut command)?;
        let before = rows.len();
        rows.extend(text.lines().filter_map(figure));
        if rows.len() == before {
            let why = format!("{program} of tests/kernel-wasm prints no figures:\n{text}");
            return Err(Error::new(Kind::BadInput, why));
        }
    }
    Ok(rows)
}

/// `figure`, name, unit, value, what is beside it or `-`, the bar's kind and number: separated by tabs.
fn figure(line: &str) -> Option<Row> {
    let fields: Vec<&str> = line.split('\t').collect();
    let ["figure", name, unit, value, beside, kind, bar] = fields[..] else { return None };
    let (value, bar) = (value.parse().ok()?, bar.parse().ok()?);
    let bar = match kind {
        "at-most" => Bar::AtMost(bar),
        "at-least" => Bar::AtLeast(bar),
        "ratio-at-most" => Bar::RatioAtMost(bar),
        _ => Bar::None,
    };
    Some(match beside.parse() {
        Ok(beside) => Row::against(name, unit, value, beside, bar),
        Err(_) => Row::plain(name, unit, value, bar),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_lines_of_seven_fields() {
        assert!(figure("figure\tspeed\tMB/s\t4.5\t-\tat-least\t5").unwrap().missed());
        assert!(!figure("figure\tspeed\t\t3\t2\tratio-at-most\t1.5").unwrap().missed());
        assert!(figure("figure\tspeed\t\tx\t-\tnone\t0").is_none());
        assert!(figure("| a table | 1 |").is_none());
    }
}
