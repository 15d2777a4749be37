use std::{
    collections::HashMap,
    sync::{Arc, RwLock},
};

/// One frame of a stack, as far as it could be resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The address as sampled.
    pub address: u64,
    /// The function's name, demangled; empty if it could not be resolved.
    pub name: String,
    /// The file that holds the code (`[kernel]` for the kernel); empty if unknown.
    pub module: String,
    /// The build id of `module`, lower-case hexadecimal, kept where the name could not be resolved now.
    pub build_id: String,
    /// The address within `module`'s file, for resolving later; 0 if unknown.
    pub file_offset: u64,
    /// The source file, where debug information says so.
    pub file: String,
    /// The line in `file`; 0 if unknown.
    pub line: u32,
    /// Whether it is code of the kernel.
    pub kernel: bool,
}

impl Frame {
    /// What is shown: the name, or the module and the address.
    pub fn label(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let base = self.module.rsplit('/').next().unwrap_or_default();
        match (base.is_empty(), self.file_offset) {
            (false, 1..) => format!("{base}+{:#x}", self.file_offset),
            (false, 0) => format!("{base}!{:#x}", self.address),
            (true, _) => format!("{:#x}", self.address),
        }
    }
}

/// The stacks that records name by number: innermost frame first. Filled by the source, read by sinks; clones share it.
#[derive(Clone, Debug, Default)]
pub struct StackTable(Arc<RwLock<Stacks>>);

#[derive(Debug, Default)]
struct Stacks {
    by_id: HashMap<i64, Arc<[Frame]>>,
    /// In the order in which they came.
    order: Vec<i64>,
}

impl StackTable {
    /// A table without stacks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores the stack `id`; the first one stored stays.
    pub fn insert(&self, id: i64, frames: Vec<Frame>) {
        let mut stacks = self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let std::collections::hash_map::Entry::Vacant(slot) = stacks.by_id.entry(id) {
            slot.insert(frames.into());
            stacks.order.push(id);
        }
    }

    /// The stack `id`.
    pub fn get(&self, id: i64) -> Option<Arc<[Frame]>> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).by_id.get(&id).cloned()
    }

    /// Whether the stack `id` is there.
    pub fn contains(&self, id: i64) -> bool {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).by_id.contains_key(&id)
    }

    /// How many stacks there are.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner()).order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stacks that came after the first `from`, with their ids, in the order in which they came.
    pub fn since(&self, from: usize) -> Vec<(i64, Arc<[Frame]>)> {
        let stacks = self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        stacks
            .order
            .iter()
            .skip(from)
            .filter_map(|id| stacks.by_id.get(id).map(|frames| (*id, frames.clone())))
            .collect()
    }
}
