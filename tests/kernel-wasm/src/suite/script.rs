//! A script's directives, carried out in order.

use std::collections::{HashMap, HashSet};

use skep_bpf::kernel_wasm::{InstanceId, Instantiated, KernelModule, Outcome};
use wasm2bpf::{Options, Reason, Refusal, module::Part};
use wast::{
    QuoteWat, WastArg, WastDirective, WastExecute, WastInvoke, WastRet,
    core::{NanPattern, WastArgCore, WastRetCore},
    token::Id,
};

use super::{
    Verdict,
    plan::{Plan, Status, is_quoted, reason},
};

/// Fuel for each action: a recursion of long functions is to come to the end of the stack first.
const FUEL: u64 = 10_000_000;

pub(super) struct Script<'a> {
    plan: Plan,
    options: &'a Options,
    /// The next module of the plan.
    next: usize,
    names: HashMap<String, usize>,
    current: usize,
    /// Modules on which an action was left out, for its floats or because it was refused: a difference afterwards may
    /// follow from that.
    diverged: HashSet<usize>,
}

/// What instantiating a module came to.
enum Made {
    Ready,
    Trapped(&'static str),
    Not(Status),
}

/// An instantiated module: the component in the kernel, and which part of it.
struct Live<'a> {
    kernel: &'a KernelModule,
    id: InstanceId,
    part: &'a Part,
}

impl Live<'_> {
    fn export(&self, name: &str) -> Result<u32, Verdict> {
        let exports = &self.kernel.object().module.exports[self.part.exports.clone()];
        let export = exports.iter().find(|export| export.name == name);
        export.map(|export| export.index).ok_or_else(|| Verdict::Failed(format!("no export `{name}`")))
    }
}

impl From<Status> for Verdict {
    fn from(status: Status) -> Self {
        match status {
            Status::Refused(why) => Self::Refused(why),
            Status::Failed(why) | Status::Unlinkable(why) => Self::Failed(why),
            Status::Part { .. } => Self::Failed("it is there".to_owned()),
        }
    }
}

/// The reason at the end of a chain of callees.
fn left_out(module: &KernelModule, function: u32) -> Verdict {
    let refused = &module.object().report.refused;
    let mut at = function;
    for _ in 0..refused.len() {
        match refused.iter().find(|refusal| refusal.function == Some(at)) {
            Some(Refusal { reason: Reason::Callee(callee), .. }) => at = *callee,
            Some(Refusal { reason: Reason::Float(_), .. }) => return Verdict::NotApplicable,
            Some(refusal) => return Verdict::Refused(reason(refusal)),
            None => break,
        }
    }
    Verdict::Refused("not compiled".to_owned())
}

impl<'a> Script<'a> {
    pub(super) fn new(plan: Plan, options: &'a Options) -> Self {
        let mut script = Self { plan, options, next: 0, names: HashMap::new(), current: 0, diverged: HashSet::new() };
        // The suite's own module comes first and is there from the start.
        script.instantiate();
        script
    }

    /// Carries out a directive; none when it asserts nothing.
    pub(super) fn directive(&mut self, directive: WastDirective<'_>) -> Option<Verdict> {
        let acts_on = self.acts_on(&directive);
        let verdict = self.carry_out(directive)?;
        let Some(module) = acts_on else { return Some(verdict) };
        Some(match verdict {
            Verdict::Failed(_) if self.diverged.contains(&module) => {
                Verdict::Refused("follows an action that was left out".to_owned())
            }
            Verdict::NotApplicable | Verdict::Refused(_) => {
                self.diverged.insert(module);
                verdict
            }
            verdict => verdict,
        })
    }

    /// The module that a directive calls or reads.
    fn acts_on(&self, directive: &WastDirective<'_>) -> Option<usize> {
        let id = match directive {
            WastDirective::Invoke(invoke) | WastDirective::AssertExhaustion { call: invoke, .. } => invoke.module,
            WastDirective::AssertReturn { exec, .. } | WastDirective::AssertTrap { exec, .. } => match exec {
                WastExecute::Invoke(invoke) => invoke.module,
                WastExecute::Get { module, .. } => *module,
                WastExecute::Wat(_) => return None,
            },
            _ => return None,
        };
        id.map_or(Some(self.current), |id| self.names.get(id.name()).copied())
    }

    fn carry_out(&mut self, directive: WastDirective<'_>) -> Option<Verdict> {
        match directive {
            WastDirective::Module(module) => {
                self.current = self.next;
                self.names.extend(module.name().map(|id| (id.name().to_owned(), self.next)));
                match self.instantiate() {
                    Made::Ready | Made::Not(Status::Refused(_)) => None,
                    Made::Trapped(why) => Some(Verdict::Failed(format!("instantiating it trapped: {why}"))),
                    Made::Not(status) => Some(status.into()),
                }
            }
            WastDirective::AssertInvalid { module, .. } => Some(self.rejects(module, "an invalid")),
            WastDirective::AssertMalformed { module, .. } if is_quoted(&module) => Some(Verdict::NotApplicable),
            WastDirective::AssertMalformed { module, .. } => Some(self.rejects(module, "a malformed")),
            WastDirective::Invoke(invoke) => self.invoke(&invoke).err(),
            WastDirective::AssertReturn { exec, results, .. } => Some(self.assert_return(exec, &results)),
            WastDirective::AssertTrap { exec, message, .. } => Some(self.assert_trap(exec, message)),
            WastDirective::AssertExhaustion { call, .. } => Some(match self.invoke(&call) {
                Ok(Outcome::Trapped(site)) if site.kind == wasm2bpf::TrapKind::Stack => Verdict::Passed,
                Ok(other) => Verdict::Failed(format!("{other:?} instead of exhaustion")),
                Err(verdict) => verdict,
            }),
            WastDirective::AssertUnlinkable { message, .. } => Some(match self.instantiate() {
                Made::Not(Status::Unlinkable(why)) => says(&why, message),
                Made::Not(status) => status.into(),
                Made::Ready | Made::Trapped(_) => Verdict::Failed("it was linked".to_owned()),
            }),
            _ => None,
        }
    }

    /// A module that the compiler must call invalid.
    fn rejects(&self, mut module: QuoteWat<'_>, what: &str) -> Verdict {
        let Ok(bytes) = module.encode() else { return Verdict::NotApplicable };
        match wasm2bpf::compile(&bytes, self.options) {
            Err(Refusal { reason: Reason::Invalid(_), .. }) => Verdict::Passed,
            Err(other) => Verdict::Failed(format!("refused, but not as invalid: {other}")),
            Ok(_) => Verdict::Failed(format!("{what} module was compiled")),
        }
    }

    /// Instantiates the next module of the plan.
    fn instantiate(&mut self) -> Made {
        let index = self.next;
        self.next += 1;
        let (component, part) = match &self.plan.modules[index] {
            Status::Part { component, part } => (*component, *part),
            other => return Made::Not(other.clone()),
        };
        let (kernel, id) = match self.plan.components[component].loaded(self.options) {
            Ok(loaded) => loaded,
            Err(status) => return self.becomes(index, status),
        };
        let start = kernel.object().module.parts[part].start;
        if let Some(start) = start.filter(|start| !kernel.object().report.functions.iter().any(|f| f.index == *start)) {
            let why = match left_out(kernel, start) {
                Verdict::Refused(why) => why,
                _ => "its start function uses floats".to_owned(),
            };
            return self.becomes(index, Status::Refused(why));
        }
        match kernel.instantiate_part(id, part, &|_, _| None) {
            Ok(Instantiated::Ready) => Made::Ready,
            Ok(Instantiated::Trapped(trap)) => Made::Trapped(trap.message()),
            Ok(Instantiated::Unlinkable) => {
                self.becomes(index, Status::Unlinkable("incompatible import type".to_owned()))
            }
            Err(error) => self.becomes(index, Status::Failed(error.to_string())),
        }
    }

    fn becomes(&mut self, index: usize, status: Status) -> Made {
        self.plan.modules[index] = status.clone();
        Made::Not(status)
    }

    fn live(&self, id: Option<Id<'_>>) -> Result<Live<'_>, Verdict> {
        let index = match id {
            Some(id) => *self.names.get(id.name()).ok_or_else(|| Verdict::Failed("no such module".to_owned()))?,
            None => self.current,
        };
        match &self.plan.modules[index] {
            Status::Part { component, part } => {
                let (kernel, id) = self.plan.components[*component].loaded(self.options)?;
                Ok(Live { kernel, id, part: &kernel.object().module.parts[*part] })
            }
            other => Err(other.clone().into()),
        }
    }

    fn invoke(&self, invoke: &WastInvoke<'_>) -> Result<Outcome, Verdict> {
        let live = self.live(invoke.module)?;
        let function = live.export(invoke.name)?;
        if !live.kernel.object().report.functions.iter().any(|compiled| compiled.index == function) {
            return Err(left_out(live.kernel, function));
        }
        let arguments: Option<Vec<u64>> = invoke.args.iter().map(argument).collect();
        let arguments = arguments.ok_or(Verdict::NotApplicable)?;
        let run = live.kernel.call(live.id, function, &arguments, FUEL);
        run.map(|run| run.outcome).map_err(|error| Verdict::Failed(error.to_string()))
    }

    fn execute(&self, exec: WastExecute<'_>) -> Result<Outcome, Verdict> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Get { module, global, .. } => {
                let live = self.live(module)?;
                let value = live.kernel.global(live.id, live.export(global)?);
                value.map(|value| Outcome::Returned(vec![value])).map_err(|e| Verdict::Failed(e.to_string()))
            }
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
        if let WastExecute::Wat(_) = exec {
            return match self.instantiate() {
                Made::Trapped(why) => says(why, message),
                Made::Ready => Verdict::Failed("it was instantiated".to_owned()),
                Made::Not(status) => status.into(),
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
