//! Instances of a compiled module in one loaded object: memory, globals, tables and segments put in place, exports
//! called.

use std::collections::HashMap;

use skep_error::{Error, Kind, Result};
use wasm2bpf::{
    Object, TrapKind, TrapSite,
    entry::CONTEXT_BYTES,
    layout::{FUEL, FUEL_EMPTY, FUEL_MOST, GUARD, RESULTS, SELF, SHADOW_POINTER, TRAP, ZERO},
    module::{ConstExpr, Need, Placement},
};

use super::{LoadOptions, Loaded};

/// What fills the guards around an instance.
const GUARD_BYTE: u8 = 0xa5;

/// Fuel when the caller does not say: fewer rounds than the 8,388,608 after which kernels before 6.13 end a loop, and as
/// a rule spent in less than the 250 ms after which later ones do.
pub const DEFAULT_FUEL: u64 = 8_000_000;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function returned these values: i32 and f32 in the low half, floats as their bits, references as 0 for null
    /// or a number plus one.
    Returned(Vec<u64>),
    /// It trapped there.
    Trapped(TrapSite),
}

/// A finished run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// How it ended.
    pub outcome: Outcome,
    /// One for each short round of a loop; more for long ones, and for long functions: see [`wasm2bpf`](wasm2bpf#fuel).
    pub fuel_used: u64,
}

/// A compiled module in the kernel, with room for instances.
pub struct KernelModule {
    object: Object,
    bytes: Vec<u8>,
    loaded: Loaded,
    /// The entry program of each function that can be called.
    entries: HashMap<u32, i32>,
    instances: u32,
}

/// What came of instantiating one module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instantiated {
    /// It is there.
    Ready,
    /// A segment did not fit, or the start function trapped.
    Trapped(TrapKind),
    /// A table or memory of another module is smaller than it asks for.
    Unlinkable,
}

/// One instance, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceId(u32);

/// Values that a module imports, by module and name.
pub type ImportedGlobals<'a> = &'a dyn Fn(&str, &str) -> Option<u64>;

impl KernelModule {
    /// Loads a compiled module with room for `instances`; `bytes` is the module it was compiled from.
    ///
    /// # Errors
    /// `Kernel` when the kernel refuses it, `Unsupported` when the instances do not fit in an arena.
    pub fn load(object: Object, bytes: &[u8], instances: u32, keep_log: bool) -> Result<Self> {
        if let Some(array) = object.layout.array
            && array.instances < instances
        {
            let why = format!("the array was compiled with room for {} instances", array.instances);
            return Err(Error::new(Kind::BadInput, why).help("compile it with more instances"));
        }
        let pages = object.layout.instance_bytes() / 4096 * u64::from(instances) + 1;
        let arena_pages = u32::try_from(pages).ok().filter(|&pages| pages <= 1 << 19).ok_or_else(|| {
            Error::new(Kind::Unsupported, "the instances need more than 2 GiB").help("grant less memory")
        })?;
        let loaded = Loaded::load(&object.elf, &LoadOptions { arena_pages, keep_log })?;
        let mut entries = HashMap::new();
        for entry in &object.entries {
            let program = loaded.program(&entry.program)?;
            entries.extend(entry.roots.iter().map(|&root| (root, program)));
        }
        Ok(Self { object, bytes: bytes.to_vec(), loaded, entries, instances })
    }

    /// Loads as [`KernelModule::load`] does, with room for one instance. When the verifier refuses what was compiled, a
    /// defect of the compiler, the listing and its log are kept in a new file in `dir` that the error names.
    ///
    /// # Errors
    /// As [`KernelModule::load`].
    pub fn load_or_keep(object: Object, bytes: &[u8], dir: &std::path::Path) -> Result<Self> {
        let kept = object.clone();
        Self::load(object, bytes, 1, true).map_err(|error| {
            let log = error.detail_text().unwrap_or_default();
            if error.kind() != Kind::Kernel || log.is_empty() {
                return error;
            }
            let text = format!("{}\n{}\n{log}", kept.report, kept.listing(bytes));
            let path = dir.join(format!("skep-refused-{}.log", std::process::id()));
            match std::fs::write(&path, text) {
                Ok(()) => error.context(format!("loading the compiled object (listing and log: {})", path.display())),
                Err(_) => error.context("loading the compiled object"),
            }
        })
    }

    /// The loaded object: what the verifier said, and the arena.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The compiled module.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The instance of that number, as it is; none when there is no room for it.
    pub fn instance(&self, number: u32) -> Option<InstanceId> {
        (number < self.instances).then_some(InstanceId(number))
    }

    /// Where an instance is in the arena: what compiled functions take before their arguments.
    pub fn base(&self, instance: InstanceId) -> u64 {
        self.object.layout.instance_bytes() * u64::from(instance.0) + u64::from(self.object.layout.header)
    }

    fn at(&self, instance: InstanceId, offset: i32) -> usize {
        (self.base(instance) as i64 + i64::from(offset)) as usize
    }

    fn put64(&self, instance: InstanceId, offset: i32, value: u64) -> Result<()> {
        self.loaded.write(self.at(instance, offset), &value.to_le_bytes())
    }

    fn put32(&self, instance: InstanceId, offset: i32, value: u32) -> Result<()> {
        self.loaded.write(self.at(instance, offset), &value.to_le_bytes())
    }

    fn get64(&self, instance: InstanceId, offset: i32) -> Result<u64> {
        let mut bytes = [0; 8];
        self.loaded.read(self.at(instance, offset), &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Makes the instance of that number anew: memory zeroed, segments copied, the start function run; of linked
    /// modules, one after another.
    /// Returns the instance and, when a segment does not fit or the start function trapped, the trap.
    ///
    /// # Errors
    /// `BadInput` when there is no room for that number, `Kernel` when the kernel refuses to run the start function,
    /// `Unsupported` when linked modules do not fit each other.
    pub fn instantiate(&self, number: u32, globals: ImportedGlobals<'_>) -> Result<(InstanceId, Option<TrapKind>)> {
        let id = self.prepare(number)?;
        for part in 0..self.object.module.parts.len() {
            match self.instantiate_part(id, part, globals)? {
                Instantiated::Ready => {}
                Instantiated::Trapped(kind) => return Ok((id, Some(kind))),
                Instantiated::Unlinkable => {
                    let what = format!("module {part} imports a table or memory larger than it is");
                    return Err(Error::new(Kind::Unsupported, what));
                }
            }
        }
        Ok((id, None))
    }

    /// Makes room for the instance of that number: all of it zeroed, the guards around it filled, no module
    /// instantiated yet.
    ///
    /// # Errors
    /// `BadInput` when there is no room for that number.
    pub fn prepare(&self, number: u32) -> Result<InstanceId> {
        if number >= self.instances {
            return Err(Error::new(Kind::BadInput, format!("there is room for {} instances", self.instances)));
        }
        let id = InstanceId(number);
        let layout = &self.object.layout;
        let (start, length) = (self.base(id) as usize - layout.header as usize, layout.instance_bytes() as usize);
        // Touching every page is what makes the kernel allocate it: code in the kernel cannot.
        self.loaded.fill(start, length, 0)?;
        self.loaded.fill(start, GUARD as usize, GUARD_BYTE)?;
        self.loaded.fill(self.base(id) as usize + layout.memory_end() as usize, GUARD as usize, GUARD_BYTE)?;
        self.put64(id, ZERO, 0)?;
        self.put64(id, SELF, self.base(id))?;
        for memory in &layout.memories {
            self.put64(id, memory.bytes, memory.min)?;
        }
        for (table, &size) in layout.table_sizes.iter().enumerate() {
            self.put32(id, size, self.object.module.tables[table].min as u32)?;
        }
        Ok(id)
    }

    /// Instantiates one of the linked modules; those that it imports from must be there already.
    ///
    /// # Errors
    /// `Kernel` when the kernel refuses to run the start function, `Unsupported` when a global that is imported from
    /// outside has no value.
    pub fn instantiate_part(&self, id: InstanceId, part: usize, globals: ImportedGlobals<'_>) -> Result<Instantiated> {
        for need in &self.object.module.parts[part].needs {
            let (least, cell) = match *need {
                Need::Table(table, least) => (least, self.object.layout.table_sizes[table as usize]),
                Need::Memory(memory, least) => (least << 16, self.object.layout.memories[memory as usize].bytes),
            };
            if self.get64(id, cell)? < least {
                return Ok(Instantiated::Unlinkable);
            }
        }
        self.put_globals(id, part, globals)?;
        if let Some(trap) = self.put_elements(id, part)? {
            return Ok(Instantiated::Trapped(trap));
        }
        if let Some(trap) = self.put_data(id, part)? {
            return Ok(Instantiated::Trapped(trap));
        }
        if let Some(start) = self.object.module.parts[part].start
            && !self.object.module.is_imported(start)
            && let Outcome::Trapped(site) = self.call(id, start, &[], DEFAULT_FUEL)?.outcome
        {
            return Ok(Instantiated::Trapped(site.kind));
        }
        Ok(Instantiated::Ready)
    }

    fn put_globals(&self, id: InstanceId, part: usize, imported: ImportedGlobals<'_>) -> Result<()> {
        let module = &self.object.module;
        let (outside, part) = (module.imported_globals.len() as u32, &module.parts[part]);
        // What another module defines has its value already.
        let open = part.globals.iter().copied().filter(|&global| global < outside);
        for index in open.chain(part.defined_globals.clone()) {
            let value = match &module.globals[index as usize].init {
                Some(init) => self.evaluate(id, init),
                None => {
                    let import = &module.imported_globals[index as usize];
                    imported(&import.module, &import.name).ok_or_else(|| {
                        let what = format!("the module imports the global {}.{}", import.module, import.name);
                        Error::new(Kind::Unsupported, what)
                    })?
                }
            };
            self.put64(id, self.object.layout.globals[index as usize], value)?;
        }
        Ok(())
    }

    fn evaluate(&self, id: InstanceId, expr: &ConstExpr) -> u64 {
        let global = |g: u32| self.get64(id, self.object.layout.globals[g as usize]).unwrap_or(0);
        expr.evaluate(global, |f| u64::from(f) + 1)
    }

    fn put_elements(&self, id: InstanceId, part: usize) -> Result<Option<TrapKind>> {
        for index in self.object.module.parts[part].elements.clone() {
            let (index, elements) = (index as usize, &self.object.module.elements[index as usize]);
            let (length, at) = self.object.layout.elements[index];
            let items: Vec<u8> =
                elements.items.iter().flat_map(|item| (self.evaluate(id, item) as u32).to_le_bytes()).collect();
            match &elements.placement {
                Placement::Passive => {
                    self.put32(id, length, elements.items.len() as u32)?;
                    self.loaded.write(self.at(id, at), &items)?;
                }
                Placement::Declared => {}
                Placement::Active { index: table, offset } => {
                    let offset = self.evaluate(id, offset);
                    let size = self.get64(id, self.object.layout.table_sizes[*table as usize])?;
                    if offset + elements.items.len() as u64 > size {
                        return Ok(Some(TrapKind::TableBounds));
                    }
                    let entries = self.object.layout.tables[*table as usize];
                    self.loaded.write(self.at(id, entries) + offset as usize * 4, &items)?;
                }
            }
        }
        Ok(None)
    }

    fn put_data(&self, id: InstanceId, part: usize) -> Result<Option<TrapKind>> {
        for index in self.object.module.parts[part].data.clone() {
            let (index, data) = (index as usize, &self.object.module.data[index as usize]);
            let (length, at) = self.object.layout.data[index];
            let bytes = &self.bytes[data.range.clone()];
            match &data.placement {
                Placement::Active { index: memory, offset } => {
                    let offset = self.evaluate(id, offset);
                    let memory = self.object.layout.memories[*memory as usize];
                    if offset + bytes.len() as u64 > self.get64(id, memory.bytes)? {
                        return Ok(Some(TrapKind::MemoryBounds));
                    }
                    self.loaded.write(self.base(id) as usize + (memory.start + offset) as usize, bytes)?;
                }
                _ => {
                    self.put32(id, length, bytes.len() as u32)?;
                    self.loaded.write(self.at(id, at), bytes)?;
                }
            }
        }
        Ok(None)
    }

    /// Calls a function, by its index, with arguments as [`Outcome::Returned`] gives results.
    ///
    /// # Errors
    /// `NotFound` when the function was not compiled, `Kernel` when the kernel refuses the run.
    pub fn call(&self, id: InstanceId, function: u32, arguments: &[u64], fuel: u64) -> Result<Run> {
        let compiled = self.object.report.functions.iter().find(|f| f.index == function).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("function {function} was not compiled")).help("see the report")
        })?;
        let given = fuel.min(FUEL_MOST);
        let full = given + 1 + FUEL_EMPTY as u64;
        self.put64(id, FUEL, full)?;
        self.put32(id, TRAP, 0)?;
        self.put64(id, SHADOW_POINTER, 0)?;
        let mut context = [0u8; CONTEXT_BYTES];
        context[..4].copy_from_slice(&function.to_le_bytes());
        context[4..8].copy_from_slice(&(self.base(id) as u32).to_le_bytes());
        for (index, argument) in arguments.iter().enumerate() {
            match index {
                0..4 => context[8 + 8 * index..16 + 8 * index].copy_from_slice(&argument.to_le_bytes()),
                _ => self.put64(id, compiled.frame_slot - 8 * (index as i32 - 4), *argument)?,
            }
        }
        let entry = self.entries.get(&function);
        if entry.map(|&entry| self.loaded.run(entry, &mut context)).transpose()? != Some(0) {
            return Err(Error::new(Kind::NotFound, format!("function {function} is no export that was compiled")));
        }
        let fuel_used = full.saturating_sub(self.get64(id, FUEL)?).min(given);
        let trap = self.get64(id, TRAP)? as u32;
        if trap != 0 {
            let site = self
                .object
                .sites
                .get(trap as usize - 1)
                .copied()
                .ok_or_else(|| Error::new(Kind::Internal, format!("trap {trap} has no site")))?;
            return Ok(Run { outcome: Outcome::Trapped(site), fuel_used });
        }
        let count = self.object.module.signature(function).results.len();
        let mut results = Vec::with_capacity(count);
        for index in 0..count {
            results.push(match index {
                0 => u64::from_le_bytes(context[40..48].try_into().unwrap_or_default()),
                _ => self.get64(id, RESULTS - 8 * (index as i32 - 1))?,
            });
        }
        Ok(Run { outcome: Outcome::Returned(results), fuel_used })
    }

    /// Reads linear memory; of linked modules, the first one's.
    ///
    /// # Errors
    /// `BadInput` when the range is not inside the arena.
    pub fn read_memory(&self, id: InstanceId, address: u32, into: &mut [u8]) -> Result<()> {
        self.loaded.read(self.base(id) as usize + address as usize, into)
    }

    /// Writes linear memory; of linked modules, the first one's.
    ///
    /// # Errors
    /// `BadInput` when the range is not inside the arena.
    pub fn write_memory(&self, id: InstanceId, address: u32, bytes: &[u8]) -> Result<()> {
        self.loaded.write(self.base(id) as usize + address as usize, bytes)
    }

    /// A global's value.
    ///
    /// # Errors
    /// `BadInput` when the arena does not reach there.
    pub fn global(&self, id: InstanceId, global: u32) -> Result<u64> {
        self.get64(id, self.object.layout.globals[global as usize])
    }

    /// Whether the guards around an instance are as they were made.
    ///
    /// # Errors
    /// `BadInput` when the arena does not reach there.
    pub fn guards_intact(&self, id: InstanceId) -> Result<bool> {
        let layout = &self.object.layout;
        let start = self.base(id) as usize - layout.header as usize;
        let end = self.base(id) as usize + layout.memory_end() as usize;
        let mut bytes = vec![0; GUARD as usize];
        for at in [start, end] {
            self.loaded.read(at, &mut bytes)?;
            if bytes.iter().any(|&byte| byte != GUARD_BYTE) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
