//! `skep exec-kernel`: an export of a module, run in the kernel.

use skep_bpf::kernel_wasm::{DEFAULT_FUEL, Outcome};
use skep_error::{Error, Kind, Result, did_you_mean};
use wasmparser::{ExternalKind, ValType};

use super::compile::Module;
use crate::console;

const EXAMPLES: &str = "\
Examples:
  sudo skep exec-kernel add.wasm --invoke add 40 2   prints 42
  sudo skep exec-kernel loop.wasm --invoke spin 7 --fuel 1000

Exit status: 134 when the module trapped, 1 when the compiler turns it down, 71 when the kernel does.";

/// Arguments of `skep exec-kernel`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The export to call
    #[arg(long, value_name = "EXPORT")]
    invoke: String,

    /// What may be spent before the run ends with a trap: one for a short round of a loop, more for long rounds and functions
    #[arg(long, default_value_t = DEFAULT_FUEL)]
    fuel: u64,

    #[command(flatten)]
    module: Module,

    /// The export's arguments: integers
    #[arg(allow_negative_numbers = true)]
    args: Vec<String>,
}

/// Runs the export and prints its results, one a line; what it used goes to standard error.
pub(crate) fn run(args: &Args) -> Result<u8> {
    let (bytes, object) = args.module.compile()?;
    let functions = object.module.exports.iter().filter(|export| export.kind == ExternalKind::Func);
    let names: Vec<&str> = functions.clone().map(|export| export.name.as_str()).collect();
    let function = functions.clone().find(|export| export.name == args.invoke).map(|export| export.index);
    let function = function.ok_or_else(|| {
        Error::new(Kind::NotFound, format!("the module exports no function `{}`", args.invoke))
            .help(did_you_mean(&args.invoke, names.iter().copied()))
    })?;
    let signature = object.module.signature(function).clone();
    if signature.params.len() != args.args.len() {
        let takes: Vec<String> = signature.params.iter().map(ToString::to_string).collect();
        let why = format!("`{}` takes ({}), {} given", args.invoke, takes.join(", "), args.args.len());
        return Err(Error::new(Kind::Usage, why));
    }
    let arguments =
        signature.params.iter().zip(&args.args).map(|(&ty, text)| parse(ty, text)).collect::<Result<Vec<_>>>()?;
    let module = args.module.load(object, &bytes)?;
    let (instance, trap) = module.instantiate(0, &|_, _| None)?;
    if let Some(trap) = trap {
        return Err(Error::new(Kind::Trap, trap.to_string()).context("instantiating the module"));
    }
    let run = module.call(instance, function, &arguments, args.fuel)?;
    console::remark(&format!("fuel used: {} of {}", run.fuel_used, args.fuel));
    match run.outcome {
        Outcome::Returned(values) => {
            for (&ty, value) in signature.results.iter().zip(values) {
                console::print(&format!("{}\n", show(ty, value)))?;
            }
            Ok(0)
        }
        Outcome::Trapped(site) => {
            let name = module.object().module.function_name(site.function).map(str::to_owned);
            let name = name.unwrap_or_else(|| format!("function {}", site.function));
            Err(Error::new(Kind::Trap, format!("{} in {name} at offset {:#x}", site.kind, site.offset)))
        }
    }
}

fn parse(ty: ValType, text: &str) -> Result<u64> {
    let parsed = match ty {
        ValType::I32 => {
            text.parse::<i32>().map(|v| u64::from(v as u32)).or_else(|_| text.parse::<u32>().map(u64::from))
        }
        _ => text.parse::<i64>().map(|v| v as u64).or_else(|_| text.parse::<u64>()),
    };
    parsed.map_err(|error| Error::new(Kind::Usage, format!("{text} is no {ty}: {error}")))
}

fn show(ty: ValType, value: u64) -> String {
    match ty {
        ValType::I32 => (value as i32).to_string(),
        ValType::I64 => (value as i64).to_string(),
        ValType::F32 => f32::from_bits(value as u32).to_string(),
        ValType::F64 => f64::from_bits(value).to_string(),
        _ => format!("{value:#x}"),
    }
}
