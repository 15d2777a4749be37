//! Several modules → one: each module's imports are what earlier ones export, and everything gets a place in common
//! index spaces. Functions then call each other directly, and memories, tables and globals are shared where modules
//! share them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Range,
};

use wasmparser::ExternalKind;

use super::{Body, ConstExpr, ConstOp, Data, Elements, Export, Global, Import, Module, Placement, Signature};
use crate::{Reason, Refusal};

/// For the module names that a module imports from, the number of the earlier module that they stand for.
pub type Providers = BTreeMap<String, usize>;

/// One of the modules that were linked: where its own index spaces are in the common ones.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// Its bytes, in those of all modules one after another.
    pub bytes: Range<usize>,
    /// Its functions.
    pub functions: Vec<u32>,
    /// Its tables.
    pub tables: Vec<u32>,
    /// Its memories.
    pub memories: Vec<u32>,
    /// Its globals.
    pub globals: Vec<u32>,
    /// Its element segments.
    pub elements: Range<u32>,
    /// Its data segments.
    pub data: Range<u32>,
    /// Its exports.
    pub exports: Range<usize>,
    /// Its start function.
    pub start: Option<u32>,
    /// The functions that it defines.
    pub defined: Range<u32>,
    /// The globals that it defines.
    pub defined_globals: Range<u32>,
    /// The set of functions that references in its tables and globals can point to: modules that share none of these
    /// have different ones.
    pub group: u32,
    /// Its first type.
    pub(crate) types: u32,
    /// What must be so when it is instantiated: for a table or memory that it shares, the size that it asks for.
    pub needs: Vec<Need>,
}

/// The least size of a table, in entries, or of a memory, in pages, that a part imports from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Table, entries.
    Table(u32, u64),
    /// Memory, pages.
    Memory(u32, u64),
}

/// How an import and what it names do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The other module has no such export.
    Unknown,
    /// It is of another kind, type or size.
    Incompatible,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown import",
            Self::Incompatible => "incompatible import type",
        })
    }
}

fn all<T>(items: &[T]) -> Vec<u32> {
    (0..items.len() as u32).collect()
}

impl Part {
    /// A module as its own only part.
    pub(super) fn whole(module: &Module, bytes: usize, start: Option<u32>) -> Self {
        let imported = module.imported_functions.len() as u32;
        Self {
            bytes: 0..bytes,
            functions: all(&module.functions),
            tables: all(&module.tables),
            memories: all(&module.memories),
            globals: all(&module.globals),
            elements: 0..module.elements.len() as u32,
            data: 0..module.data.len() as u32,
            exports: 0..module.exports.len(),
            start,
            defined: imported..module.functions.len() as u32,
            defined_globals: module.imported_globals.len() as u32..module.globals.len() as u32,
            group: 0,
            types: 0,
            needs: Vec::new(),
        }
    }

    fn space(&self, kind: ExternalKind) -> &[u32] {
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => &self.functions,
            ExternalKind::Table => &self.tables,
            ExternalKind::Memory => &self.memories,
            ExternalKind::Global => &self.globals,
            ExternalKind::Tag => &[],
        }
    }

    fn expr(&self, expr: &ConstExpr) -> ConstExpr {
        let op = |op: &ConstOp| match *op {
            ConstOp::Function(index) => ConstOp::Function(self.functions[index as usize]),
            ConstOp::Global(index) => ConstOp::Global(self.globals[index as usize]),
            other => other,
        };
        ConstExpr(expr.0.iter().map(op).collect())
    }

    fn placement(&self, placement: &Placement, space: &[u32]) -> Placement {
        match placement {
            Placement::Active { index, offset } => {
                Placement::Active { index: space[*index as usize], offset: self.expr(offset) }
            }
            other => other.clone(),
        }
    }
}

/// Modules being linked.
struct Linker<'a> {
    modules: &'a [Module],
    out: Module,
    /// By module, another that it shares references with, or itself.
    group: Vec<usize>,
}

impl Module {
    /// Links modules in the order in which they are to be instantiated; each imports from earlier ones, as its
    /// providers say, and what they do not name stays an import.
    ///
    /// # Errors
    /// `Import` when what is named is not there, or of another type.
    pub fn link(modules: &[Module], providers: &[&Providers]) -> Result<Self, Refusal> {
        let mut linker = Linker { modules, out: Module::default(), group: (0..modules.len()).collect() };
        // Imports that stay come first in the common index spaces, as in a module's own.
        let open = |imports: fn(&Module) -> &[Import]| -> u32 {
            let stays = |(module, names): (&Module, &&Providers)| {
                imports(module).iter().filter(|import| !names.contains_key(&import.module)).count() as u32
            };
            modules.iter().zip(providers).map(stays).sum()
        };
        let mut next = Next { import: 0, define: open(|m| &m.imported_functions) };
        let mut next_global = Next { import: 0, define: open(|m| &m.imported_globals) };
        for (index, names) in providers.iter().enumerate().take(modules.len()) {
            linker.part(index, names, &mut next, &mut next_global)?;
        }
        for index in 0..modules.len() {
            linker.contents(index);
        }
        linker.references();
        linker.out.number_types();
        Ok(linker.out)
    }
}

/// What an import names: its common index, the module that exports it, and its index there.
struct Found {
    at: u32,
    from: usize,
    local: usize,
}

/// The next free indices of a space.
struct Next {
    import: u32,
    define: u32,
}

fn mismatch(import: &Import, why: Mismatch) -> Refusal {
    let reason = Reason::Import { module: import.module.clone(), name: import.name.clone(), why };
    Refusal { reason, function: None, name: None, offset: 0 }
}

fn is_reference(ty: &wasmparser::ValType) -> bool {
    matches!(ty, wasmparser::ValType::Ref(_))
}

fn fits(theirs: Option<u64>, ours: Option<u64>) -> bool {
    ours.is_none_or(|ours| theirs.is_some_and(|theirs| theirs <= ours))
}

impl Linker<'_> {
    /// What an import names in an earlier module.
    fn resolve(
        &self,
        import: &Import,
        kind: ExternalKind,
        names: &Providers,
        before: usize,
    ) -> Result<Option<Found>, Refusal> {
        let Some(&from) = names.get(&import.module) else { return Ok(None) };
        let Some(part) = self.out.parts.get(from).filter(|_| from < before) else {
            return Err(mismatch(import, Mismatch::Unknown));
        };
        let exports = &self.modules[from].exports;
        let Some(export) = exports.iter().find(|export| export.name == import.name) else {
            return Err(mismatch(import, Mismatch::Unknown));
        };
        if export.kind != kind {
            return Err(mismatch(import, Mismatch::Incompatible));
        }
        Ok(part.space(kind).get(export.index as usize).map(|&at| Found { at, from, local: export.index as usize }))
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.group[a.max(b)] = a.min(b);
    }

    fn root(&self, mut index: usize) -> usize {
        while self.group[index] != index {
            index = self.group[index];
        }
        index
    }

    /// Gives a module's index spaces their places.
    fn part(&mut self, index: usize, names: &Providers, next: &mut Next, globals: &mut Next) -> Result<(), Refusal> {
        let modules = self.modules;
        let module = &modules[index];
        let start = self.out.parts.last().map_or(0, |part| part.bytes.end);
        let types = self.out.types.len() as u32;
        let mut part = Part { bytes: start..start + module.parts[0].bytes.len(), types, ..Part::default() };
        self.out.types.extend(module.types.iter().cloned());
        for (local, import) in module.imported_functions.iter().enumerate() {
            let found = self.resolve(import, ExternalKind::Func, names, index)?;
            part.functions.push(self.function(index, module.signature(local as u32), import, found, next)?);
        }
        let defined = (module.functions.len() - module.imported_functions.len()) as u32;
        part.defined = next.define..next.define + defined;
        part.functions.extend(part.defined.clone());
        next.define = part.defined.end;
        let first = globals.define;
        for (local, global) in module.globals.iter().enumerate() {
            let at = match module.imported_globals.get(local) {
                Some(import) => {
                    let found = self.resolve(import, ExternalKind::Global, names, index)?;
                    self.global(index, global, import, found, globals)?
                }
                None => {
                    globals.define += 1;
                    globals.define - 1
                }
            };
            part.globals.push(at);
        }
        part.defined_globals = first..globals.define;
        for (local, table) in module.tables.iter().enumerate() {
            let found = match module.imported_tables.get(local) {
                Some(import) => self.resolve(import, ExternalKind::Table, names, index)?.map(|found| (found, import)),
                None => None,
            };
            part.tables.push(match found {
                Some((Found { at, from, .. }, import)) => {
                    let theirs = self.out.tables[at as usize];
                    if theirs.ty != table.ty || !fits(theirs.max, table.max) {
                        return Err(mismatch(import, Mismatch::Incompatible));
                    }
                    self.join(index, from);
                    part.needs.push(Need::Table(at, table.min));
                    at
                }
                None => {
                    self.out.tables.push(*table);
                    self.out.tables.len() as u32 - 1
                }
            });
        }
        self.memories(&mut part, index, names)?;
        self.out.parts.push(part);
        Ok(())
    }

    fn memories(&mut self, part: &mut Part, index: usize, names: &Providers) -> Result<(), Refusal> {
        let modules = self.modules;
        for (local, memory) in modules[index].memories.iter().enumerate() {
            let found = match modules[index].imported_memories.get(local) {
                Some(import) => self.resolve(import, ExternalKind::Memory, names, index)?.map(|found| (found, import)),
                None => None,
            };
            part.memories.push(match found {
                Some((Found { at, .. }, import)) => {
                    let theirs = &mut self.out.memories[at as usize];
                    if !fits(theirs.max, memory.max) {
                        return Err(mismatch(import, Mismatch::Incompatible));
                    }
                    theirs.grows |= memory.grows;
                    part.needs.push(Need::Memory(at, memory.min));
                    at
                }
                None => {
                    self.out.memories.push(*memory);
                    self.out.memories.len() as u32 - 1
                }
            });
        }
        Ok(())
    }

    fn function(
        &mut self,
        index: usize,
        signature: &Signature,
        import: &Import,
        found: Option<Found>,
        next: &mut Next,
    ) -> Result<u32, Refusal> {
        let Some(Found { at, from, local }) = found else {
            self.out.imported_functions.push(import.clone());
            next.import += 1;
            return Ok(next.import - 1);
        };
        if self.modules[from].signature(local as u32) != signature {
            return Err(mismatch(import, Mismatch::Incompatible));
        }
        let references = |types: &[wasmparser::ValType]| types.iter().any(is_reference);
        if references(&signature.params) || references(&signature.results) {
            self.join(index, from);
        }
        Ok(at)
    }

    fn global(
        &mut self,
        index: usize,
        global: &Global,
        import: &Import,
        found: Option<Found>,
        next: &mut Next,
    ) -> Result<u32, Refusal> {
        let Some(Found { at, from, local }) = found else {
            self.out.imported_globals.push(import.clone());
            next.import += 1;
            return Ok(next.import - 1);
        };
        let theirs = &self.modules[from].globals[local];
        if (theirs.ty, theirs.mutable) != (global.ty, global.mutable) {
            return Err(mismatch(import, Mismatch::Incompatible));
        }
        if is_reference(&global.ty) {
            self.join(index, from);
        }
        Ok(at)
    }

    /// Puts what a module holds in the common index spaces.
    fn contents(&mut self, index: usize) {
        let module = &self.modules[index];
        let mut part = std::mem::take(&mut self.out.parts[index]);
        let out = &mut self.out;
        let put = |space: &mut Vec<u32>, at: u32, ty: u32| {
            space.resize(space.len().max(at as usize + 1), 0);
            space[at as usize] = ty;
        };
        for (local, &at) in part.functions.iter().enumerate() {
            // What another module defines has its type there.
            if part.defined.contains(&at) || (at as usize) < out.imported_functions.len() {
                put(&mut out.functions, at, part.types + module.functions[local]);
            }
        }
        for (local, &at) in part.globals.iter().enumerate() {
            let mut global = module.globals[local].clone();
            let imported = local < module.imported_globals.len();
            if imported && (at as usize) >= out.imported_globals.len() {
                continue;
            }
            global.init = global.init.map(|init| part.expr(&init));
            let blank = Global { ty: global.ty, mutable: false, init: None };
            out.globals.resize(out.globals.len().max(at as usize + 1), blank);
            out.globals[at as usize] = global;
        }
        let first = out.exports.len();
        out.exports.extend(module.exports.iter().map(|export| Export {
            name: export.name.clone(),
            kind: export.kind,
            index: part.space(export.kind)[export.index as usize],
        }));
        part.exports = first..out.exports.len();
        part.start = module.parts[0].start.map(|start| part.functions[start as usize]);
        part.elements = out.elements.len() as u32..(out.elements.len() + module.elements.len()) as u32;
        out.elements.extend(module.elements.iter().map(|elements| Elements {
            placement: part.placement(&elements.placement, &part.tables),
            items: elements.items.iter().map(|item| part.expr(item)).collect(),
        }));
        part.data = out.data.len() as u32..(out.data.len() + module.data.len()) as u32;
        let moved = |range: &Range<usize>| range.start + part.bytes.start..range.end + part.bytes.start;
        out.data.extend(module.data.iter().map(|data| Data {
            placement: part.placement(&data.placement, &part.memories),
            range: moved(&data.range),
        }));
        out.bodies.extend(module.bodies.iter().map(|body| Body { range: moved(&body.range) }));
        let names = module.names.iter().filter_map(|(&at, name)| Some((*part.functions.get(at as usize)?, name)));
        for (at, name) in names {
            out.names.entry(at).or_insert_with(|| name.clone());
        }
        out.parts[index] = part;
    }

    /// Functions that references can point to, group by group.
    fn references(&mut self) {
        let mut numbers: BTreeMap<usize, u32> = BTreeMap::new();
        for index in 0..self.modules.len() {
            let root = self.root(index);
            let fresh = numbers.len() as u32;
            let group = *numbers.entry(root).or_insert(fresh);
            if group == fresh {
                self.out.referenced.push(BTreeSet::new());
            }
            let part = &mut self.out.parts[index];
            part.group = group;
            let functions = self.modules[index].referenced[0].iter().map(|&local| part.functions[local as usize]);
            self.out.referenced[group as usize].extend(functions);
        }
    }
}

impl Part {
    /// A block's or call's type in the common space.
    pub(crate) fn ty(&self, local: u32) -> usize {
        (self.types + local) as usize
    }
}
