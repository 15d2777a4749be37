//! Which modules of a script belong together: those that import from each other are compiled as one, ahead of the script,
//! and instantiated one by one where it says so. What the suite calls `spectest` is a module like others.

use std::{cell::OnceCell, collections::HashMap};

use skep_bpf::kernel_wasm::{InstanceId, KernelModule};
use wasm2bpf::{
    Options, Reason, Refusal,
    module::{Module, Providers},
};
use wast::{QuoteWat, WastDirective, WastExecute, token::Id};

/// The module that scripts import from without defining it.
const SPECTEST: &str = r#"(module
    (func (export "print")) (func (export "print_i32") (param i32)) (func (export "print_i64") (param i64))
    (func (export "print_f32") (param f32)) (func (export "print_f64") (param f64))
    (func (export "print_i32_f32") (param i32 f32)) (func (export "print_f64_f64") (param f64 f64))
    (global (export "global_i32") i32 (i32.const 666)) (global (export "global_i64") i64 (i64.const 666))
    (global (export "global_f32") f32 (f32.const 666.6)) (global (export "global_f64") f64 (f64.const 666.6))
    (table (export "table") 10 20 funcref) (memory (export "memory") 1 2))"#;

/// What stands for a module of the script.
#[derive(Clone, Debug)]
pub(super) enum Status {
    /// That part of that component.
    Part { component: usize, part: usize },
    /// Its imports do not fit: the suite's words.
    Unlinkable(String),
    /// The compiler turns it down.
    Refused(String),
    /// Something is wrong with the runner or the compiler.
    Failed(String),
}

/// Modules compiled together.
pub(super) struct Component {
    modules: Vec<(Vec<u8>, Providers)>,
    loaded: OnceCell<Result<(KernelModule, InstanceId), Status>>,
}

/// The modules of a script, in its order.
pub(super) struct Plan {
    pub(super) modules: Vec<Status>,
    pub(super) components: Vec<Component>,
}

/// A module before it is known what it belongs to.
struct Found {
    bytes: Vec<u8>,
    module: Result<Module, Status>,
    /// By the names that it imports from, what was registered under them.
    providers: Providers,
    unknown: bool,
}

/// A module directive's module, encoded.
fn encoded(directive: &mut WastDirective<'_>) -> Option<Result<Vec<u8>, wast::Error>> {
    match directive {
        WastDirective::Module(module) => Some(module.encode()),
        WastDirective::AssertTrap { exec: WastExecute::Wat(module), .. } => Some(module.encode()),
        WastDirective::AssertUnlinkable { module, .. } => Some(module.encode()),
        _ => None,
    }
}

fn name_of(directive: &WastDirective<'_>) -> Option<String> {
    match directive {
        WastDirective::Module(module) => module.name().map(|id: Id<'_>| id.name().to_owned()),
        _ => None,
    }
}

impl Found {
    fn new(bytes: Vec<u8>, registered: &HashMap<String, usize>) -> Self {
        let module = Module::parse(&bytes).map_err(|refusal| match refusal.reason {
            Reason::Invalid(why) => Status::Refused(format!("a proposal of WebAssembly 3: {why}")),
            _ => Status::Refused(reason(&refusal)),
        });
        let (mut providers, mut unknown) = (Providers::new(), false);
        if let Ok(module) = &module {
            let spaces = [
                &module.imported_functions,
                &module.imported_globals,
                &module.imported_tables,
                &module.imported_memories,
            ];
            for import in spaces.into_iter().flatten() {
                match registered.get(&import.module) {
                    Some(&index) => {
                        providers.insert(import.module.clone(), index);
                    }
                    None => unknown = true,
                }
            }
        }
        Self { bytes, module, providers, unknown }
    }
}

/// Reads a script up to where names are registered and modules defined.
fn find(directives: &mut [WastDirective<'_>]) -> Vec<Result<Found, Status>> {
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut registered: HashMap<String, usize> = HashMap::from([("spectest".to_owned(), 0)]);
    let spectest = wat::parse_str(SPECTEST).map_err(|error| Status::Failed(error.to_string()));
    let mut found = vec![spectest.map(|bytes| Found::new(bytes, &HashMap::new()))];
    let mut current = None;
    for directive in directives {
        if let WastDirective::Register { name, module, .. } = directive {
            let index = module.map_or(current, |id| names.get(id.name()).copied());
            registered.extend(index.map(|index| ((*name).to_owned(), index)));
        }
        let Some(bytes) = encoded(directive) else { continue };
        if let WastDirective::Module(_) = directive {
            current = Some(found.len());
            names.extend(name_of(directive).map(|name| (name, found.len())));
        }
        found.push(
            bytes.map(|b| Found::new(b, &registered)).map_err(|e| Status::Failed(format!("it does not encode: {e}"))),
        );
    }
    found
}

impl Plan {
    pub(super) fn new(directives: &mut [WastDirective<'_>], options: &Options) -> Self {
        let found = find(directives);
        let mut root: Vec<usize> = (0..found.len()).collect();
        let top = |root: &[usize], mut at: usize| {
            while root[at] != at {
                at = root[at];
            }
            at
        };
        for (index, found) in found.iter().enumerate() {
            for &provider in found.iter().flat_map(|found| found.providers.values()) {
                let (a, b) = (top(&root, index), top(&root, provider));
                root[a.max(b)] = a.min(b);
            }
        }
        let mut plan = Self { modules: Vec::new(), components: Vec::new() };
        let mut by_root: HashMap<usize, (usize, Vec<Module>)> = HashMap::new();
        for (index, found) in found.into_iter().enumerate() {
            let (number, linked) = by_root.entry(top(&root, index)).or_insert_with(|| {
                plan.components.push(Component { modules: Vec::new(), loaded: OnceCell::new() });
                (plan.components.len() - 1, Vec::new())
            });
            let status = found.map_or_else(|status| status, |found| plan.place(found, *number, linked, options));
            plan.modules.push(status);
        }
        plan
    }

    /// Adds a module to its component, if it can be linked.
    fn place(&mut self, found: Found, component: usize, linked: &mut Vec<Module>, options: &Options) -> Status {
        let module = match found.module {
            Ok(module) => module,
            Err(status) => return status,
        };
        if found.unknown {
            return Status::Unlinkable("unknown import".to_owned());
        }
        let granted = u64::from(options.max_memory_pages);
        if let Some(memory) = module.memories.iter().find(|memory| memory.min > granted && !memory.grows) {
            return Status::Refused(format!("needs {} pages of memory", memory.min));
        }
        let mut providers = Providers::new();
        for (name, index) in found.providers {
            match &self.modules[index] {
                Status::Part { part, .. } => providers.insert(name, *part),
                Status::Refused(why) => return Status::Refused(why.clone()),
                other => return other.clone(),
            };
        }
        linked.push(module);
        let parts = &mut self.components[component].modules;
        parts.push((found.bytes, providers));
        let names: Vec<&Providers> = parts.iter().map(|(_, providers)| providers).collect();
        match Module::link(linked, &names) {
            Ok(_) => Status::Part { component, part: parts.len() - 1 },
            Err(refusal) => {
                linked.pop();
                parts.pop();
                match refusal.reason {
                    Reason::Import { why, .. } => Status::Unlinkable(why.to_string()),
                    _ => Status::Refused(reason(&refusal)),
                }
            }
        }
    }
}

impl Component {
    /// The component in the kernel, with nothing instantiated at first.
    pub(super) fn loaded(&self, options: &Options) -> Result<(&KernelModule, InstanceId), Status> {
        let loaded = self.loaded.get_or_init(|| self.load(options));
        loaded.as_ref().map(|(module, id)| (module, *id)).map_err(Clone::clone)
    }

    fn load(&self, options: &Options) -> Result<(KernelModule, InstanceId), Status> {
        let modules: Vec<(&[u8], &Providers)> = self.modules.iter().map(|(b, p)| (b.as_slice(), p)).collect();
        let object = wasm2bpf::link(&modules, options).map_err(|refusal| Status::Refused(reason(&refusal)))?;
        let bytes: Vec<u8> = modules.iter().flat_map(|&(bytes, _)| bytes).copied().collect();
        let refused = |error: skep_error::Error| {
            Status::Failed(format!("the kernel refused a compiled module: {}", error.report(8)))
        };
        let module = KernelModule::load(object, &bytes, 1, false).map_err(refused)?;
        let id = module.prepare(0).map_err(refused)?;
        Ok((module, id))
    }
}

/// Why, in words that do not name a function, so that reasons can be counted.
pub(super) fn reason(refusal: &Refusal) -> String {
    match &refusal.reason {
        Reason::UnboundImport(..) => "imports a function of another module".to_owned(),
        Reason::Limit(limit) => format!("limit: {limit:?}").replace(|c: char| c.is_ascii_digit(), ""),
        Reason::Feature(what) => what.clone(),
        other => format!("{other:?}"),
    }
}

/// Whether a directive's module is quoted text that must not parse.
pub(super) fn is_quoted(module: &QuoteWat<'_>) -> bool {
    matches!(module, QuoteWat::QuoteModule(..))
}
