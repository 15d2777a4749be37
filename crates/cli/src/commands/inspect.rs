//! `skep inspect`: what a module is, what it asks for, and whether it may run. Nothing of the module runs.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use skep_abi::{Capability, Func, World};
use skep_admit::{
    Admission, Inspection, KernelFit, Policy, Rejection, SIGNATURE_EXTENSION, Signature, Slot, admit, inspect,
    rejections,
};
use skep_error::{Error, Result, ResultExt as _, did_you_mean};

use crate::console;

const EXAMPLES: &str = "\
Examples:
  skep inspect filter.wasm                        what it is, and whether it could run at all
  skep inspect filter.wasm --slot filter --policy /etc/skep/policy.toml
  skep inspect filter.wasm --json                 the same for a program

Exit status: 0 the module may run, 1 it is refused, 2 it cannot be read.
Without --policy everything is granted. A signature beside the module, FILE.sig, is checked.";

/// The exit code for a module that is refused.
const REFUSED: u8 = 1;
/// The exit code for a file that cannot be read, or whose bytes are no module.
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
    let policy = match &args.policy {
        Some(path) => Policy::load(path)?,
        None => Policy::allow_all(),
    };
    let module = match read(&args.file, args.signature.as_deref()) {
        Ok(module) => module,
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
        text(&mut out, &args.file, &module, &verdicts, args.policy.is_some())
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

/// The module's inspection with its signature, which is optional unless it is named.
fn read(file: &Path, signature: Option<&Path>) -> Result<Inspection> {
    let bytes = fs::read(file).context(|| format!("reading {}", file.display()))?;
    let mut module = inspect(&bytes);
    let beside = PathBuf::from(format!("{}.{SIGNATURE_EXTENSION}", file.display()));
    let path = signature.unwrap_or(&beside);
    match fs::read_to_string(path) {
        Ok(text) => {
            let found = text.parse::<Signature>().context(|| format!("reading {}", path.display()))?;
            module.add_signature(&found);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && signature.is_none() => {}
        Err(error) => return Err(Error::io(error).context(format!("reading {}", path.display()))),
    }
    Ok(module)
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

fn text(out: &mut impl Write, file: &Path, module: &Inspection, verdicts: &[Verdict], policy: bool) -> io::Result<()> {
    writeln!(out, "{}: {} bytes, BLAKE3 {}", file.display(), module.size, module.hash_hex())?;
    match module.world {
        Some(world) => writeln!(out, "world      {world}{}: {}", form(module), world.about())?,
        None if !module.unreadable() => writeln!(out, "world      none")?,
        None => {}
    }
    if !module.unreadable() {
        contents(out, module)?;
    }
    if let Some(metadata) = &module.metadata {
        writeln!(out, "plugin     {} {}: {}", metadata.name, metadata.version, metadata.description)?;
        for (name, hook) in &metadata.hooks {
            writeln!(out, "  hook     {name}, wire version {}: {}", hook.wire_version, hook.description)?;
        }
    }
    for key in &module.signers {
        writeln!(out, "signed by  {key}")?;
    }
    if module.world.is_some() {
        kernel(out, &module.kernel)?;
    }
    if verdicts.is_empty() {
        return reasons(out, "refused", &module.reasons);
    }
    let under = if policy { "" } else { " (no policy: everything is granted)" };
    for verdict in verdicts {
        match &verdict.admission {
            Some(admission) => {
                writeln!(out, "admitted   slot {}{under}", verdict.slot)?;
                let limits = admission.budget.rows();
                let limits: Vec<String> = limits.iter().map(|(name, value, _)| format!("{name} {value}")).collect();
                writeln!(out, "  budget   {}", limits.join(", "))?;
            }
            None => reasons(out, &format!("refused    slot {}{under}", verdict.slot), &verdict.rejections)?,
        }
    }
    Ok(())
}

fn form(module: &Inspection) -> String {
    match module.form.map(|form| form.name) {
        None | Some("") => String::new(),
        Some(name) => format!(" ({name})"),
    }
}

fn contents(out: &mut impl Write, module: &Inspection) -> io::Result<()> {
    writeln!(
        out,
        "code       {} functions, {} bytes; data {} bytes",
        module.functions, module.code_size, module.data_size
    )?;
    for memory in &module.memories {
        writeln!(out, "memory     {memory}")?;
    }
    for table in &module.tables {
        writeln!(out, "table      {table}")?;
    }
    let features: Vec<&str> = module.features.iter().map(|feature| feature.name()).collect();
    writeln!(out, "features   {}", if features.is_empty() { "none".into() } else { features.join(", ") })?;
    writeln!(out, "imports    {}", module.imports.len())?;
    for import in &module.imports {
        let capability = capability(module, import).map_or("unknown", |capability| capability.name);
        writeln!(out, "  {:<13} {}.{} {}", capability, import.module, import.name, import.ty)?;
    }
    writeln!(out, "exports    {}", module.exports.len())?;
    for export in module.exports.iter().take(SHOWN) {
        writeln!(out, "  {} {}", export.name, export.ty)?;
    }
    if module.exports.len() > SHOWN {
        writeln!(out, "  … {} more; --json shows them", module.exports.len() - SHOWN)?;
    }
    Ok(())
}

/// Exports that the text shows.
const SHOWN: usize = 40;

fn capability(module: &Inspection, import: &skep_admit::Import) -> Option<&'static Capability> {
    let world = module.world?;
    let current = world.surface().module(&import.module);
    let named = |func: &&Func| func.module == current && func.name == import.name;
    world.surface().functions().find(named).and_then(Capability::of)
}

fn kernel(out: &mut impl Write, fit: &KernelFit) -> io::Result<()> {
    let asked = if fit.judged { "" } else { " at a first look" };
    if fit.obstacles.is_empty() {
        return writeln!(out, "kernel     nothing stands against it{asked}");
    }
    writeln!(out, "kernel     cannot be placed there{asked}:")?;
    for obstacle in fit.obstacles.iter().take(8) {
        let item = if obstacle.item.is_empty() { String::new() } else { format!("{}: ", obstacle.item) };
        writeln!(out, "  {:<8} {item}{}", obstacle.kind, obstacle.text)?;
    }
    if fit.obstacles.len() > 8 {
        writeln!(out, "  … {} more", fit.obstacles.len() - 8)?;
    }
    Ok(())
}

fn reasons(out: &mut impl Write, headline: &str, reasons: &[Rejection]) -> io::Result<()> {
    writeln!(out, "{headline}")?;
    for reason in reasons {
        writeln!(out, "  {}: {reason}", reason.kind.code())?;
        writeln!(out, "    help: {}", reason.help())?;
    }
    Ok(())
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
            "capability": capability(module, import).map(|capability| capability.name),
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
        "memories": module.memories.iter().map(|m| json!({ "min": m.min, "max": m.max })).collect::<Vec<_>>(),
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
        "capabilities": verdict.admission.as_ref().map(|admission| {
            admission.capabilities.iter().map(|capability| capability.name).collect::<Vec<_>>()
        }),
    })
}
