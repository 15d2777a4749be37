//! `skep inspect`: what a module is, what it asks for, and whether it may run. Nothing of the module runs.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use skep_abi::World;
use skep_admit::{
    Admission, Inspection, KernelFit, Memory, Obstacle, Policy, Rejection, Signature, Slot, admit, inspect,
    read_module, rejections,
};
use skep_error::{Result, ResultExt as _, did_you_mean, one_line};
use skep_runtime::kernel_fit;

use crate::console;

const EXAMPLES: &str = "\
Examples:
  skep inspect filter.wasm                        what it is, and whether it could run at all
  skep inspect filter.wasm --slot filter --policy /etc/skep/policy.toml
  skep inspect filter.wasm --json                 the same for a program

Exit status: 0 the module may run, 1 it is refused, 2 there is no verdict: the module, its signature or the policy
cannot be read, or the policy cannot be trusted.
Without --policy everything is granted. A signature beside the module, FILE.sig, is checked.";

/// The exit code for a module that is refused.
const REFUSED: u8 = 1;
/// The exit code where there is no verdict: a file cannot be read, or the module's bytes are no module.
const UNREADABLE: u8 = 2;

/// Arguments of `skep inspect`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The module
    file: PathBuf,

    /// Where it is to run; without it, every place that its world and its hooks are made for
    #[arg(long, value_parser = parse_slot, value_name = "SLOT")]
    slot: Option<Slot>,

    /// What is allowed, a TOML file
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// A detached signature, where it does not lie beside the module
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,

    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn parse_slot(name: &str) -> Result<Slot, String> {
    let names = || Slot::ALL.iter().map(|slot| slot.name());
    Slot::from_name(name).ok_or_else(|| format!("no slot \"{name}\"; {}", did_you_mean(name, names())))
}

/// A slot that was looked at, and what came of it.
struct Verdict {
    slot: Slot,
    admission: Option<Admission>,
    rejections: Vec<Rejection>,
}

pub(crate) fn run(args: &Args) -> Result<u8> {
    let (policy, module) = match read(args) {
        Ok(read) => read,
        Err(error) => {
            console::show(&error);
            return Ok(UNREADABLE);
        }
    };
    let verdicts: Vec<Verdict> = slots(&module, args.slot)
        .into_iter()
        .map(|slot| Verdict {
            slot,
            admission: admit(&module, slot, &policy).ok(),
            rejections: rejections(&module, slot, &policy),
        })
        .collect();
    let mut out = io::stdout().lock();
    let written = if args.json {
        serde_json::to_writer_pretty(&mut out, &object(&module, &verdicts))
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
    } else {
        out.write_all(text(&args.file, &module, &verdicts, args.policy.as_deref()).as_bytes())
    };
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context(|| "writing the report")?,
    }
    let admitted = !verdicts.is_empty() && verdicts.iter().all(|verdict| verdict.admission.is_some());
    Ok(match admitted {
        _ if module.unreadable() => UNREADABLE,
        true => 0,
        false => REFUSED,
    })
}

/// What is allowed, and the module's inspection with its signature, which is optional unless it is named.
fn read(args: &Args) -> Result<(Policy, Inspection)> {
    let policy = match &args.policy {
        Some(path) => Policy::load(path)?,
        None => Policy::allow_all(),
    };
    let bytes = read_module(&args.file)?;
    let mut module = inspect(&bytes);
    kernel_fit::judge(&mut module, &bytes);
    if let Some(signature) = Signature::of(&args.file, args.signature.as_deref())? {
        module.add_signature(&signature);
    }
    Ok((policy, module))
}

/// The slot asked for, or those that the module is made for.
fn slots(module: &Inspection, asked: Option<Slot>) -> Vec<Slot> {
    if let Some(slot) = asked {
        return vec![slot];
    }
    let Some(world) = module.world else { return Vec::new() };
    let declares = |slot: &Slot| match (world, slot.hook(), &module.metadata) {
        (World::Hooks, Some(hook), Some(metadata)) => metadata.hooks.contains_key(hook.name()),
        _ => true,
    };
    Slot::ALL.iter().copied().filter(|slot| slot.worlds().contains(&world) && declares(slot)).collect()
}

/// Imports, exports, obstacles and reasons that the text shows of each.
const SHOWN: usize = 40;

/// The report, line by line.
#[derive(Default)]
struct Report(String);

impl Report {
    /// Adds a line: whatever a module's names hold, it is one line.
    fn line(&mut self, line: &str) {
        self.0.push_str(&console::printable(&one_line(line)));
        self.0.push('\n');
    }

    /// Adds a line with its subject in front.
    fn about(&mut self, subject: &str, line: &str) {
        self.line(&format!("{subject:<10} {line}"));
    }

    /// Adds the first of many lines, and how many more there are.
    fn list<T>(&mut self, items: &[T], mut show: impl FnMut(&mut Self, &T)) {
        for item in items.iter().take(SHOWN) {
            show(self, item);
        }
        if items.len() > SHOWN {
            self.line(&format!("  … {} more; --json shows them", items.len() - SHOWN));
        }
    }

    fn module(&mut self, file: &Path, module: &Inspection) {
        self.line(&format!("{}: {} bytes, BLAKE3 {}", file.display(), module.size, module.hash_hex()));
        if module.unreadable() {
            return;
        }
        match module.world {
            Some(world) => self.about("world", &format!("{world}{}: {}", form(module), world.about())),
            None => self.about("world", "none of Skep's"),
        }
        self.contents(module);
        if let Some(metadata) = &module.metadata {
            self.about("plugin", &format!("{} {}: {}", metadata.name, metadata.version, metadata.description));
            for (name, hook) in &metadata.hooks {
                self.line(&format!("  {name}, wire version {}: {}", hook.wire_version, hook.description));
            }
        }
        for key in &module.signers {
            self.about("signed by", &key.to_string());
        }
        self.kernel(&module.kernel);
    }

    fn contents(&mut self, module: &Inspection) {
        let (code, data) = (module.code_size, module.data_size);
        self.about("code", &format!("{} functions, {code} bytes; data {data} bytes", module.functions));
        for memory in &module.memories {
            self.about("memory", &format!("{memory} of {} bytes", 1u64 << memory.page_size_log2));
        }
        for table in &module.tables {
            self.about("table", &table.to_string());
        }
        let features: Vec<&str> = module.features.iter().map(|feature| feature.name()).collect();
        self.about("features", &if features.is_empty() { "none".into() } else { features.join(", ") });
        // Only a world says what capability an import needs.
        let known = module.world.is_some() && !module.imports.is_empty();
        let needs = if known { ", each with the capability it needs" } else { "" };
        self.about("imports", &format!("{}{needs}", module.imports.len()));
        self.list(&module.imports, |report, import| {
            let capability = match capability(module, import) {
                Some(capability) => capability,
                None if known => "unknown",
                None => "",
            };
            report.line(&format!("  {capability:<10} {}.{} {}", import.module, import.name, import.ty));
        });
        self.about("exports", &module.exports.len().to_string());
        self.list(&module.exports, |report, export| report.line(&format!("  {}: {}", export.name, export.ty)));
    }

    fn kernel(&mut self, fit: &KernelFit) {
        if fit.obstacles.is_empty() {
            return self.about("kernel", "its functions can be placed in the kernel");
        }
        self.about("kernel", "it cannot be placed in the kernel as it is:");
        self.list(&fit.obstacles, |report, obstacle| {
            let Obstacle { kind, item, text } = obstacle;
            let item = if item.is_empty() || text.contains(item.as_str()) { "" } else { &format!("{item}: ") };
            report.line(&format!("  {kind:<10} {item}{text}"));
        });
    }

    fn verdict(&mut self, verdict: &Verdict, under: &str) {
        let Some(admission) = &verdict.admission else {
            return self.refused(&format!("in slot {}{under}:", verdict.slot), &verdict.rejections);
        };
        self.about("admitted", &format!("in slot {}{under}", verdict.slot));
        let granted: Vec<&str> = admission.capabilities.iter().map(|capability| capability.name).collect();
        self.line(&format!("  granted  {}", if granted.is_empty() { "nothing".into() } else { granted.join(", ") }));
        for directory in &admission.directories {
            self.line(&format!("  files    below {}", directory.display()));
        }
        let limits = admission.budget.rows();
        let limits: Vec<String> = limits.iter().map(|(name, value, _)| format!("{name} {value}")).collect();
        self.line(&format!("  budget   {}", limits.join(", ")));
    }

    fn refused(&mut self, place: &str, reasons: &[Rejection]) {
        self.about("refused", place);
        self.list(reasons, |report, reason| {
            report.line(&format!("  {}: {reason}", reason.kind.code()));
            report.line(&format!("    help: {}", reason.help()));
        });
    }
}

fn text(file: &Path, module: &Inspection, verdicts: &[Verdict], policy: Option<&Path>) -> String {
    let mut report = Report::default();
    report.module(file, module);
    let under = match policy {
        Some(policy) => format!(" under {}", policy.display()),
        None => " without a policy: everything is granted".to_owned(),
    };
    for verdict in verdicts {
        report.verdict(verdict, &under);
    }
    if verdicts.is_empty() {
        report.refused("everywhere:", &module.reasons);
    }
    report.0
}

fn form(module: &Inspection) -> String {
    match module.form.map(|form| form.name) {
        None | Some("") => String::new(),
        Some(name) => format!(" ({name})"),
    }
}

fn capability(module: &Inspection, import: &skep_admit::Import) -> Option<&'static str> {
    module.capability_of(import).map(|capability| capability.name)
}

fn memory(memory: &Memory) -> Value {
    json!({
        "min": memory.min,
        "max": memory.max,
        "page_size": 1u64 << memory.page_size_log2,
        "wide": memory.wide,
        "shared": memory.shared,
    })
}

fn rejection(rejection: &Rejection) -> Value {
    json!({
        "kind": rejection.kind.code(),
        "item": rejection.item,
        "expected": rejection.expected,
        "found": rejection.found,
        "text": rejection.to_string(),
        "help": rejection.help(),
    })
}

fn object(module: &Inspection, verdicts: &[Verdict]) -> Value {
    let imports = module.imports.iter().map(|import| {
        json!({
            "module": import.module,
            "name": import.name,
            "type": import.ty.to_string(),
            "capability": capability(module, import),
        })
    });
    let exports = module.exports.iter().map(|export| json!({ "name": export.name, "type": export.ty.to_string() }));
    let sections = module.sections.iter().map(|section| json!({ "name": section.name, "size": section.size }));
    let fingerprints = module.fingerprints.iter().map(|fingerprint| {
        json!({
            "hook": fingerprint.hook.name(),
            "wire_version": fingerprint.wire_version,
            "hash": fingerprint.hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        })
    });
    let obstacles = module
        .kernel
        .obstacles
        .iter()
        .map(|obstacle| json!({ "kind": obstacle.kind, "item": obstacle.item, "text": obstacle.text }));
    json!({
        "size": module.size,
        "hash": module.hash_hex(),
        "world": module.world.map(World::name),
        "form": module.form.map(|form| form.name).filter(|name| !name.is_empty()),
        "reasons": module.reasons.iter().map(rejection).collect::<Vec<_>>(),
        "imports": imports.collect::<Vec<_>>(),
        "exports": exports.collect::<Vec<_>>(),
        "memories": module.memories.iter().map(memory).collect::<Vec<_>>(),
        "tables": module.tables.iter().map(|t| json!({ "min": t.min, "max": t.max })).collect::<Vec<_>>(),
        "sections": sections.collect::<Vec<_>>(),
        "metadata": module.metadata,
        "fingerprints": fingerprints.collect::<Vec<_>>(),
        "features": module.features.iter().map(|feature| feature.name()).collect::<Vec<_>>(),
        "start": module.start,
        "functions": module.functions,
        "code_size": module.code_size,
        "data_size": module.data_size,
        "kernel": { "judged": module.kernel.judged, "obstacles": obstacles.collect::<Vec<_>>() },
        "signers": module.signers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "verdicts": verdicts.iter().map(verdict).collect::<Vec<_>>(),
    })
}

fn verdict(verdict: &Verdict) -> Value {
    let budget = verdict.admission.as_ref().map(|admission| {
        admission.budget.rows().into_iter().map(|(name, value, _)| (name.to_owned(), value.into())).collect()
    });
    json!({
        "slot": verdict.slot.name(),
        "admitted": verdict.admission.is_some(),
        "rejections": verdict.rejections.iter().map(rejection).collect::<Vec<_>>(),
        "budget": budget.map(Value::Object),
        "directories": verdict.admission.as_ref().map(|admission| &admission.directories),
        "capabilities": verdict.admission.as_ref().map(|admission| {
            admission.capabilities.iter().map(|capability| capability.name).collect::<Vec<_>>()
        }),
    })
}
