//! The stages in order, and what is decided between functions: which are compiled, where their frames stand.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    Object, Options, Reason, Refusal, Report, Target,
    analysis::{bounds, forks, known, liveness},
    elf, emit,
    emit::{STEP, assemble::Code},
    entry::{self, Entry},
    fuel, inline,
    ir::{Check, Function, Op, ROUTINES, Term},
    layout::Layout,
    lower::{
        Lowering,
        indirect::Targets,
        routines::{Routines, granted_pages},
    },
    merge::{self, Functions},
    module::{Module, Providers},
    refusal::Limit,
    regalloc,
    report::{Bounds, FunctionReport},
    source,
    stages::Stages,
    trap::TrapSite,
};

/// Functions of ours in one chain of calls: the kernel allows 8 frames (`MAX_CALL_FRAMES`), one is the caller's.
const MAX_DEPTH: u32 = 7;

fn whole(reason: Reason) -> Refusal {
    Refusal { reason, function: None, name: None, offset: 0 }
}

fn at_function(module: &Module, index: u32, reason: Reason) -> Refusal {
    let name = module.functions.get(index as usize).and_then(|_| module.function_name(index)).map(str::to_owned);
    Refusal { reason, function: Some(index), name, offset: 0 }
}

/// Compiles a module; see [`crate::compile()`].
pub(crate) fn compile(bytes: &[u8], options: &Options) -> Result<Object, Refusal> {
    whole_module(Module::parse(bytes)?, bytes, options, &mut Stages::default())
}

/// What each stage leaves behind; see [`crate::stages()`].
pub(crate) fn stages(bytes: &[u8], options: &Options) -> Result<String, Refusal> {
    let mut stages = Stages::printing();
    whole_module(Module::parse(bytes)?, bytes, options, &mut stages)?;
    Ok(stages.into_text())
}

/// Compiles several modules as one; see [`crate::link`].
pub(crate) fn link(modules: &[(&[u8], &Providers)], options: &Options) -> Result<Object, Refusal> {
    let parsed = modules.iter().map(|(bytes, _)| Module::parse(bytes)).collect::<Result<Vec<Module>, _>>()?;
    let providers: Vec<&Providers> = modules.iter().map(|&(_, providers)| providers).collect();
    let bytes: Vec<u8> = modules.iter().flat_map(|&(bytes, _)| bytes).copied().collect();
    whole_module(Module::link(&parsed, &providers)?, &bytes, options, &mut Stages::default())
}

fn whole_module(mut module: Module, bytes: &[u8], options: &Options, stages: &mut Stages) -> Result<Object, Refusal> {
    if let Some((min, max)) = options.imported_memory {
        for memory in module.memories.iter_mut().filter(|memory| memory.imported) {
            (memory.min, memory.max) = (u64::from(min), Some(u64::from(max)));
        }
    }
    check_limits(&module, options)?;
    let (mut functions, mut refused) = lower_all(&module, options, bytes)?;
    spread_refusals(&module, &mut functions, &mut refused);
    if !options.partial
        && let Some(refusal) = refused.values().find(|r| !matches!(r.reason, Reason::Callee(_)))
    {
        return Err(refusal.clone());
    }
    stages.ir("lowered", functions.values());
    let roots: Vec<u32> = module.roots().into_iter().filter(|root| functions.contains_key(root)).collect();
    let order = bottom_up(&functions);
    let inlined = inline::inline(&mut functions, &order, &roots);
    stages.ir("inlined", functions.values());
    let frames = if options.target == Target::Array { merge::Frames::Rounds } else { merge::Frames::Plain };
    let merged = loop {
        match merge::merge(&mut functions, MAX_DEPTH, options.shadow_stack, frames) {
            Ok(merged) => break merged,
            Err(group) => {
                for index in group {
                    functions.remove(&index);
                    let refusal = at_function(&module, index, Reason::Limit(Limit::Complexity));
                    if !options.partial {
                        return Err(refusal);
                    }
                    refused.insert(index, refusal);
                }
                spread_refusals(&module, &mut functions, &mut refused);
            }
        }
    };
    stages.ir("merged", functions.values());
    finish(bytes, module, options, Lowered { functions, refused, inlined, merged }, stages)
}

fn check_limits(module: &Module, options: &Options) -> Result<(), Refusal> {
    let granted = granted_pages(options);
    if let Some(memory) = module.memories.iter().find(|memory| memory.min > granted) {
        let limit = Limit::Memory { needed: memory.min, granted };
        return Err(whole(Reason::Limit(limit)));
    }
    if module.tables.iter().any(|table| table.min > 65536) {
        return Err(whole(Reason::Limit(Limit::Table)));
    }
    Ok(())
}

type Refused = BTreeMap<u32, Refusal>;

/// Lowers what the roots reach.
fn lower_all(module: &Module, options: &Options, bytes: &[u8]) -> Result<(Functions, Refused), Refusal> {
    let (mut routines, mut targets) = (Routines::default(), Targets::new(module));
    let (mut functions, mut refused) = (Functions::new(), Refused::new());
    let mut work: Vec<u32> = module.roots().into_iter().rev().collect();
    let mut seen: HashSet<u32> = work.iter().copied().collect();
    while let Some(index) = work.pop() {
        if index < ROUTINES && module.is_imported(index) {
            continue;
        }
        let lowered = match routines.build(index, module, options) {
            Some(routine) => Ok(routine),
            None => Lowering::function(module, options, (&mut routines, &mut targets), bytes, index),
        };
        match lowered {
            Ok(function) => {
                work.extend(function.callees().filter(|&callee| seen.insert(callee)));
                functions.insert(index, function);
            }
            Err(refusal) if options.partial => {
                refused.insert(index, refusal);
            }
            Err(refusal) => return Err(refusal),
        }
    }
    Ok((functions, refused))
}

/// What calls a refused function is refused.
fn spread_refusals(module: &Module, functions: &mut Functions, refused: &mut Refused) {
    let mut callers: HashMap<u32, Vec<u32>> = HashMap::new();
    for (&index, function) in functions.iter() {
        for callee in function.callees() {
            callers.entry(callee).or_default().push(index);
        }
    }
    let mut work: Vec<u32> = refused.keys().copied().collect();
    while let Some(callee) = work.pop() {
        for &caller in callers.get(&callee).into_iter().flatten() {
            if functions.remove(&caller).is_some() {
                refused.insert(caller, at_function(module, caller, Reason::Callee(callee)));
                work.push(caller);
            }
        }
    }
}

/// Whether a function leaves traps, or spends fuel, itself.
fn own_effects(function: &Function) -> (bool, bool) {
    let burns = function.fuel.is_some();
    let insts = function.blocks.iter().flat_map(|block| &block.insts);
    let terms = function.blocks.iter().map(|block| &block.term);
    let traps = insts.map(|inst| &inst.op).any(emit::can_trap) || terms.into_iter().any(|t| matches!(t, Term::Trap(_)));
    (burns || traps, burns)
}

/// Callees before callers.
fn bottom_up(functions: &Functions) -> Vec<u32> {
    let (mut order, mut seen) = (Vec::new(), HashSet::new());
    for &root in functions.keys() {
        let mut stack = vec![(root, false)];
        while let Some((index, done)) = stack.pop() {
            let Some(function) = functions.get(&index) else { continue };
            if done {
                order.push(index);
            } else if seen.insert(index) {
                stack.push((index, true));
                stack.extend(function.callees().filter(|callee| !seen.contains(callee)).map(|callee| (callee, false)));
            }
        }
    }
    order
}

/// A function that is ready to be emitted.
struct Prepared {
    function: Function,
    alloc: regalloc::Allocation,
    decisions: known::Decisions,
}

/// Prepared functions by index.
type PreparedFunctions = BTreeMap<u32, Prepared>;

impl Prepared {
    /// Accesses to linear memory, and how many of them are proven to be inside.
    fn bounds(&self) -> Bounds {
        let insts = self.function.blocks.iter().flat_map(|block| &block.insts);
        let mut bounds = Bounds::default();
        for inst in insts {
            if let Op::Load { addr, .. } | Op::Store { addr, .. } = &inst.op {
                bounds.accesses += 1;
                bounds.proven += u32::from(addr.check == Check::Proven);
            }
        }
        bounds
    }

    /// Values that the verifier is made to forget.
    fn laundered(&self) -> u32 {
        let insts = self.function.blocks.iter().flat_map(|block| &block.insts);
        let ops = insts.filter(|inst| matches!(inst.op, Op::Launder { .. })).count() as u32;
        let flags = self.decisions.terms.iter().chain(self.decisions.insts.values());
        ops + flags.map(|flags| flags.count_ones()).sum::<u32>()
    }
}

fn prepare(mut function: Function, memory_min: impl Fn(u32) -> u64, target: Target) -> Prepared {
    forks::prevent(&mut function);
    bounds::prove(&mut function, memory_min);
    let before = liveness::Liveness::new(&function);
    liveness::remove_dead(&mut function, &before);
    let live = liveness::Liveness::new(&function);
    let decisions = known::decide(&mut function, &live);
    let rounds = target == Target::Array && function.blocks.iter().any(|block| block.header);
    let alloc = regalloc::allocate(&function, &live, rounds);
    Prepared { function, alloc, decisions }
}

/// What is known of a module before its functions are compiled one by one.
struct Lowered {
    functions: Functions,
    refused: Refused,
    inlined: inline::Inlined,
    /// Whether functions were merged, which takes a shadow stack.
    merged: bool,
}

fn finish(
    bytes: &[u8],
    module: Module,
    options: &Options,
    lowered: Lowered,
    stages: &mut Stages,
) -> Result<Object, Refusal> {
    let Lowered { mut functions, refused, inlined, merged } = lowered;
    let module = &module;
    let order = bottom_up(&functions);
    fuel::charge(&mut functions, &order);
    stages.ir("charged with fuel", functions.values());
    let mut callees = callee_table(module, options, &functions, &order);
    let prepared = prepare_all(module, options, functions, stages);
    let frames = place_frames(&prepared, &order, &mut callees);
    let layout = Layout::new(module, options, frames, if merged { options.shadow_stack } else { 0 })
        .ok_or_else(|| whole(Reason::Limit(Limit::Instance)))?;
    let memory = memory(&layout, options.target)?;

    let roots: Vec<u32> = module.roots().into_iter().filter(|root| prepared.contains_key(root)).collect();
    let symbols = symbols(module, options, prepared.keys().copied());
    let program = emit::Program { options, layout: &layout, module, functions: &callees, peephole: true };
    let (codes, sites) = emit_all(&prepared, &program, &roots, &symbols, stages)?;
    let slots = |index| [index, index | STEP].iter().filter_map(|index| codes.get(index)).map(Code::slots).sum();
    let entries = entry::split(&roots, &prepared_callees(&prepared), slots)
        .map_err(|(root, limit)| at_function(module, root, Reason::Limit(limit)))?;
    let entry_codes = entry_codes(&entries, options.target);
    let lines = source::Lines::new(bytes, module.parts.iter().map(|part| part.bytes.clone()));
    let elf = elf::write(
        &linked(&prepared, &codes, &symbols),
        &externals(module, options, &prepared),
        &entry_codes,
        memory,
        &elf::Source { lines: &lines, wasm: bytes },
    )
    .map_err(|error| whole(Reason::Feature(format!("what the object writer refuses ({error})"))))?;

    let functions = function_reports(&prepared, &program, &codes, &symbols, &inlined);
    let report = Report { functions, refused: refused.into_values().collect() };
    let mut prepared: BTreeMap<u32, Function> = prepared.into_iter().map(|(index, p)| (index, p.function)).collect();
    let compiled = codes
        .into_iter()
        .map(|(index, code)| Compiled { symbol: symbol_of(&symbols, index), code, ir: prepared.remove(&index) })
        .collect();
    Ok(Object { elf, layout, sites, report, entries, module: module.clone(), compiled })
}

/// The analyses of each function, and its registers.
fn prepare_all(module: &Module, options: &Options, functions: Functions, stages: &mut Stages) -> PreparedFunctions {
    let memory_min = |memory: u32| module.memories.get(memory as usize).map_or(0, |memory| memory.min << 16);
    let prepared: PreparedFunctions =
        functions.into_iter().map(|(index, function)| (index, prepare(function, memory_min, options.target))).collect();
    stages.ir("analysed: checks proven, values that the verifier must forget", prepared.values().map(|p| &p.function));
    for this in prepared.values() {
        stages.places(&this.function.name, &this.alloc);
    }
    prepared
}

/// Places each function's frame above those of all that call it. Returns the bytes of the area.
fn place_frames(prepared: &PreparedFunctions, order: &[u32], callees: &mut HashMap<u32, emit::Callee>) -> u32 {
    let mut frames = 0;
    for &index in order.iter().rev() {
        let Some(this) = prepared.get(&index) else { continue };
        let end = callees[&index].frame + this.alloc.frame;
        frames = frames.max(end);
        for callee in this.function.callees() {
            if let Some(callee) = callees.get_mut(&callee) {
                callee.frame = callee.frame.max(end);
            }
        }
    }
    frames
}

/// What instances live in.
fn memory(layout: &Layout, target: Target) -> Result<elf::Memory, Refusal> {
    let bytes = layout.array_bytes().map_err(|needed| whole(Reason::Limit(Limit::Array { needed })))?;
    Ok(match target {
        Target::Arena => elf::Memory::Arena { pages: (layout.instance_bytes() / 4096 + 1) as u32 },
        Target::Array => elf::Memory::Array { bytes },
    })
}

/// Code by function, that of rounds under its index with [`STEP`].
type Codes = BTreeMap<u32, Code>;

/// The code of all functions, and where they can trap.
fn emit_all(
    prepared: &PreparedFunctions,
    program: &emit::Program<'_>,
    roots: &[u32],
    symbols: &BTreeMap<u32, String>,
    stages: &mut Stages,
) -> Result<(Codes, Vec<TrapSite>), Refusal> {
    let (mut sites, mut codes) = (Vec::new(), Codes::new());
    for (&index, this) in prepared {
        let exported = roots.binary_search(&index).is_ok();
        let (f, alloc, decisions) = (&this.function, &this.alloc, &this.decisions);
        let too_much = |limit| at_function(program.module, index, Reason::Limit(limit));
        if stages.is_on() {
            let before = emit::Program { peephole: false, ..*program };
            let code = emit::function(f, alloc, decisions, &before, &mut Vec::new(), exported).map_err(too_much)?;
            stages.code(&f.name, &code, symbols);
        }
        let code = emit::function(f, alloc, decisions, program, &mut sites, exported).map_err(too_much)?;
        codes.insert(index, code);
        if alloc.rounds.is_some() {
            let code = emit::wrapper(f, alloc, program, &mut sites, exported).map_err(too_much)?;
            // The function's own code became the one that is called for each round.
            let code = codes.insert(index, code);
            codes.extend(code.map(|code| (index | STEP, code)));
        }
    }
    attribute(program.module, &mut sites);
    Ok((codes, sites))
}

fn entry_codes(entries: &[Entry], target: Target) -> Vec<(&str, Code)> {
    let code = |entry: &Entry| entry::emit(&entry.roots, target == Target::Arena).unwrap_or_default();
    entries.iter().map(|entry| (entry.program.as_str(), code(entry))).collect()
}

/// The functions as they go into the object.
fn linked<'a>(prepared: &PreparedFunctions, codes: &'a Codes, symbols: &BTreeMap<u32, String>) -> Vec<elf::Linked<'a>> {
    codes
        .iter()
        .map(|(&index, code)| elf::Linked {
            index,
            symbol: symbol_of(symbols, index),
            params: match prepared.get(&index) {
                Some(this) => this.function.regs[..this.function.params as usize].to_vec(),
                None => Vec::new(),
            },
            code,
        })
        .collect()
}

fn function_reports(
    prepared: &PreparedFunctions,
    program: &emit::Program<'_>,
    codes: &Codes,
    symbols: &BTreeMap<u32, String>,
    inlined: &inline::Inlined,
) -> Vec<FunctionReport> {
    prepared
        .iter()
        .map(|(&index, this)| FunctionReport {
            index,
            name: this.function.name.clone(),
            symbol: symbols[&index].clone(),
            slots: codes[&index].slots(),
            spilled: this.alloc.spilled,
            frame: this.alloc.frame,
            loops: this.function.blocks.iter().filter(|block| block.header).count() as u32,
            frame_slot: program.layout.slot(program.functions[&index].frame),
            inlined: named(program.module, inlined.get(&index)),
            bounds: this.bounds(),
            laundered: this.laundered(),
        })
        .collect()
}

/// A compiled function, as it is printed.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) symbol: String,
    pub(crate) code: emit::assemble::Code,
    /// None for the rounds of a function that is there already.
    pub(crate) ir: Option<Function>,
}

/// Inlined functions by name, with how often.
fn named(module: &Module, inlined: Option<&BTreeMap<u32, u32>>) -> Vec<(String, u32)> {
    let name = |index: u32| module.function_name(index).map_or_else(|| format!("f{index}"), str::to_owned);
    inlined.into_iter().flatten().map(|(&index, &times)| (name(index), times)).collect()
}

/// Whom each function calls, each once.
fn prepared_callees(prepared: &PreparedFunctions) -> HashMap<u32, Vec<u32>> {
    let callees = |this: &Prepared| {
        let mut callees: Vec<u32> = this.function.callees().filter(|callee| prepared.contains_key(callee)).collect();
        callees.sort_unstable();
        callees.dedup();
        callees
    };
    prepared.iter().map(|(&index, this)| (index, callees(this))).collect()
}

/// The symbol of a function, or of its rounds.
fn symbol_of(symbols: &BTreeMap<u32, String>, index: u32) -> String {
    match symbols.get(&(index & !STEP)) {
        Some(symbol) if index & STEP != 0 => format!("{symbol}_round"),
        Some(symbol) => symbol.clone(),
        None => String::new(),
    }
}

/// Sites in merged functions get the function that their offset is in.
fn attribute(module: &Module, sites: &mut [TrapSite]) {
    for site in sites {
        let body = module.bodies.partition_point(|body| body.range.end <= site.offset as usize);
        if module.bodies.get(body).is_some_and(|body| body.range.contains(&(site.offset as usize))) {
            site.function = (body + module.imported_functions.len()) as u32;
            site.offset -= module.part_of(site.function).bytes.start as u32;
        }
    }
}

fn callee_table(
    module: &Module,
    options: &Options,
    functions: &Functions,
    order: &[u32],
) -> HashMap<u32, emit::Callee> {
    let mut callees: HashMap<u32, emit::Callee> = HashMap::new();
    for (index, import) in module.imported_functions.iter().enumerate() {
        let binding = options.imports.get(&(import.module.clone(), import.name.clone())).cloned();
        let results = module.signature(index as u32).result_types().collect();
        let callee = emit::Callee { frame: 0, traps: false, burns: false, results, binding };
        callees.insert(index as u32, callee);
    }
    for index in order {
        let function = &functions[index];
        let (mut traps, mut burns) = own_effects(function);
        for callee in function.callees().filter_map(|callee| callees.get(&callee)) {
            traps |= callee.traps;
            burns |= callee.burns;
        }
        let results = function.results.clone();
        callees.insert(*index, emit::Callee { frame: 0, traps, burns, results, binding: None });
    }
    callees
}

fn externals(module: &Module, options: &Options, prepared: &PreparedFunctions) -> Vec<elf::External> {
    let mut called: Vec<u32> = prepared.values().flat_map(|this| this.function.callees()).collect();
    called.sort_unstable();
    called.dedup();
    let imported = called.into_iter().filter(|&index| index < ROUTINES && module.is_imported(index));
    imported
        .filter_map(|index| {
            let import = &module.imported_functions[index as usize];
            match options.imports.get(&(import.module.clone(), import.name.clone())) {
                Some(crate::Binding::Function(symbol)) => Some(elf::External {
                    index,
                    symbol: symbol.clone(),
                    params: module.signature(index).param_types().collect(),
                }),
                _ => None,
            }
        })
        .collect()
}

/// A symbol for each function: the prefix and its name, with what a symbol cannot have replaced, and its index where
/// two would be equal.
fn symbols(module: &Module, options: &Options, functions: impl Iterator<Item = u32>) -> BTreeMap<u32, String> {
    let mut taken = HashSet::new();
    functions
        .map(|index| {
            let name = if index < ROUTINES { module.function_name(index) } else { None };
            let clean = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' };
            let mut symbol: String = match name {
                Some(name) => options.prefix.chars().chain(name.chars().map(clean)).take(100).collect(),
                None if index >= ROUTINES => format!("{}routine{}", options.prefix, index - ROUTINES),
                None => format!("{}f{index}", options.prefix),
            };
            if !taken.insert(symbol.clone()) || symbol.starts_with(entry::PROGRAM) {
                symbol = format!("{symbol}_{index}");
                taken.insert(symbol.clone());
            }
            (index, symbol)
        })
        .collect()
}
