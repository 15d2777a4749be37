//! Where everything of an instance lies.
//!
//! An instance is one run of the arena. Linear memory starts at its **base**; what compiled code keeps beside it lies
//! below, at negative offsets from the base that no WebAssembly address can reach:
//!
//! ```text
//!  base − header ────────────────────────────────────────────────────── base ───────────── base + memory
//!  │ guard │ shadow stack │ segments │ tables │ frames │ cells │ results │ fixed │ linear memory … │ guard
//! ```
//!
//! Frames stand at fixed places: without recursion a function is active at most once in an instance, so its spilled
//! registers need no stack pointer, only the base that every function keeps in r9.

use crate::{
    Options, Target,
    ir::{Area, Cell},
    lower::routines::{memory_limit, table_limit},
    module::Module,
};

/// The opaque zero: read as 64 bits, never written. What the verifier reads from an arena it knows nothing about.
pub const ZERO: i32 = -8;
/// The base itself, 32 bits: passed to callees as a number.
pub const SELF: i32 = -16;
/// The trap that ended the run, 32 bits: 0 or the number of a [`crate::TrapSite`].
pub const TRAP: i32 = -24;
/// The fuel left, 64 bits, spent as the [crate](crate#fuel) says; [`FUEL_EMPTY`] and less means that none is left.
pub const FUEL: i32 = -32;
/// The size of the first linear memory in bytes, 64 bits; linked modules' others have cells among the globals.
pub const MEMORY_BYTES: i32 = -40;
/// The shadow stack's pointer: its offset in the shadow stack, 64 bits.
pub const SHADOW_POINTER: i32 = -48;
/// Results after the first, 64 bits each: the second at this offset, the third 8 below.
pub const RESULTS: i32 = -56;
const RESULT_SLOTS: i32 = 64;

/// What the fuel cell holds when fuel has run out. Fuel `n` is stored as `n + 1 + FUEL_EMPTY`: compiled code compares
/// with a number in the middle of the range, which tells the verifier nothing about the other values.
pub const FUEL_EMPTY: i32 = 0x0100_0000;

/// The most fuel that a run can be given: as 32 bits it is compared with signs.
pub const FUEL_MOST: u64 = (i32::MAX - FUEL_EMPTY) as u64 - 1;

/// Guard bytes around an instance.
pub const GUARD: u32 = 4096;

/// The places of one module's instances, in bytes from the base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Bytes below the base, a multiple of 4096, guard included.
    pub header: u32,
    /// Linear memories: one, or those of linked modules one after another.
    pub memories: Vec<MemoryPlace>,
    /// Each global's cell, 64 bits.
    pub globals: Vec<i32>,
    /// Each table's size cell, 32 bits.
    pub table_sizes: Vec<i32>,
    /// Each table's entries, 32 bits each.
    pub tables: Vec<i32>,
    /// Entries that each table may grow to.
    pub table_limits: Vec<u32>,
    /// Each data segment's length cell, 32 bits, and bytes.
    pub data: Vec<(i32, i32)>,
    /// Each element segment's length cell, 32 bits, and entries, 32 bits each.
    pub elements: Vec<(i32, i32)>,
    /// The lowest byte of the shadow stack and its length.
    pub shadow: (i32, u32),
    frames: i32,
    /// The array that instances are in, if they are not in an arena.
    pub array: Option<ArrayPlace>,
}

/// An array of instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrayPlace {
    /// Bytes from one instance to the next, a power of two.
    pub stride: u64,
    /// Instances that there is room for, a power of two.
    pub instances: u32,
    /// A cell through which values pass that the verifier is to know nothing about.
    pub(crate) forget: i32,
}

/// What an array's value may have: `KMALLOC_MAX_SIZE` before 6.10.
const ARRAY_BYTES: u64 = 4 << 20;

/// How far beyond a masked address an instruction's offset reaches.
const REACH: u64 = 1 << 15;

/// Where a linear memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlace {
    /// Its first byte, from the base; 0 for the first memory.
    pub start: u64,
    /// Bytes at the start.
    pub min: u64,
    /// Bytes that it may grow to.
    pub max: u64,
    /// The cell that holds its size in bytes, 64 bits.
    pub bytes: i32,
}

fn take(at: &mut i32, bytes: u64) -> Option<i32> {
    let bytes = i32::try_from(bytes.checked_next_multiple_of(8)?).ok()?;
    *at = at.checked_sub(bytes).filter(|&at| at >= -(1 << 30))?;
    Some(*at)
}

impl Layout {
    /// Lays out a module's instances, with so many bytes for frames and for the shadow stack. None when they do not
    /// fit in 1 GiB.
    pub(crate) fn new(module: &Module, options: &Options, frames: u32, shadow: u32) -> Option<Self> {
        let mut layout = Self::default();
        let mut at = RESULTS + 8 - 8 * RESULT_SLOTS;
        let mut start = 0;
        for (index, memory) in module.memories.iter().enumerate() {
            let bytes = if index == 0 { MEMORY_BYTES } else { take(&mut at, 8)? };
            let max = memory_limit(module, options, index as u32) << 16;
            layout.memories.push(MemoryPlace { start, min: memory.min << 16, max, bytes });
            start += max;
        }
        if start > 1 << 31 {
            return None;
        }
        for _ in &module.globals {
            layout.globals.push(take(&mut at, 8)?);
        }
        for table in 0..module.tables.len() as u32 {
            layout.table_sizes.push(take(&mut at, 8)?);
            layout.table_limits.push(table_limit(module, options, table) as u32);
        }
        let data_lengths: Vec<i32> = module.data.iter().map(|_| take(&mut at, 8)).collect::<Option<_>>()?;
        let element_lengths: Vec<i32> = module.elements.iter().map(|_| take(&mut at, 8)).collect::<Option<_>>()?;
        layout.frames = at;
        take(&mut at, u64::from(frames))?;
        for &limit in &layout.table_limits {
            layout.tables.push(take(&mut at, u64::from(limit) * 4)?);
        }
        for (elements, length) in module.elements.iter().zip(element_lengths) {
            layout.elements.push((length, take(&mut at, elements.items.len() as u64 * 4)?));
        }
        for (data, length) in module.data.iter().zip(data_lengths) {
            layout.data.push((length, take(&mut at, data.range.len() as u64)?));
        }
        layout.shadow = (take(&mut at, u64::from(shadow))?, shadow);
        let forget = if options.target == Target::Array { take(&mut at, 8)? } else { 0 };
        layout.header = ((-at) as u32 + GUARD).next_multiple_of(4096);
        if options.target == Target::Array {
            let stride = (u64::from(layout.header) + layout.masked_end(module)).next_power_of_two();
            layout.array = Some(ArrayPlace { stride, instances: options.instances.next_power_of_two(), forget });
        }
        Some(layout)
    }

    /// Where the last byte is, from the base, that an access with a masked address can reach.
    fn masked_end(&self, module: &Module) -> u64 {
        let memories = (0..self.memories.len() as u32).map(Area::Memory);
        let tables = (0..self.tables.len() as u32).map(Area::Table);
        let elements = (0..self.elements.len() as u32).map(Area::Elements);
        let data = (0..self.data.len() as u32).map(Area::Data);
        let areas = memories.chain(tables).chain(elements).chain(data).chain([Area::Shadow]);
        let ends = areas.map(|area| i64::from(self.area(area)) + i64::from(self.mask(area, module)) + REACH as i64 + 8);
        let most = ends.max().unwrap_or(0).max(0) as u64;
        most.max(self.memory_end() + u64::from(GUARD))
    }

    /// A mask that keeps an index inside an area, rounded up to a power of two, and the verifier content.
    pub(crate) fn mask(&self, area: Area, module: &Module) -> u32 {
        let bytes = match area {
            Area::Memory(index) => self.memories[index as usize].max,
            Area::Table(index) => u64::from(self.table_limits[index as usize]) * 4,
            Area::Elements(index) => module.elements[index as usize].items.len() as u64 * 4,
            Area::Data(index) => module.data[index as usize].range.len() as u64,
            Area::Shadow => u64::from(self.shadow.1),
        };
        (bytes.next_power_of_two().max(8) - 1) as u32
    }

    /// Bytes of the array that instances are in.
    pub(crate) fn array_bytes(&self) -> Result<u64, u64> {
        let bytes = self.array.map_or(0, |array| array.stride * u64::from(array.instances));
        if bytes > ARRAY_BYTES { Err(bytes) } else { Ok(bytes) }
    }

    /// Bytes from one instance to the next, both guards included, a multiple of 4096.
    pub fn instance_bytes(&self) -> u64 {
        if let Some(array) = self.array {
            return array.stride;
        }
        u64::from(self.header) + self.memory_end() + u64::from(GUARD)
    }

    /// Where the last linear memory ends, in bytes from the base.
    pub fn memory_end(&self) -> u64 {
        self.memories.last().map_or(0, |memory| memory.start + memory.max)
    }

    /// The slot that lies this many bytes into the area of frames.
    pub(crate) fn slot(&self, offset: u32) -> i32 {
        self.frames - offset as i32 - 8
    }

    /// A cell's offset, and whether it is 64 bits.
    pub(crate) fn cell(&self, cell: Cell) -> (i32, bool) {
        match cell {
            Cell::Global(index) => (self.globals[index as usize], true),
            Cell::MemoryBytes(index) => (self.memories[index as usize].bytes, true),
            Cell::TableSize(index) => (self.table_sizes[index as usize], false),
            Cell::DataLength(index) => (self.data[index as usize].0, false),
            Cell::ElementLength(index) => (self.elements[index as usize].0, false),
            Cell::ShadowPointer => (SHADOW_POINTER, true),
            Cell::Result(number) => (RESULTS - 8 * number as i32, true),
        }
    }

    /// Where an area starts.
    pub(crate) fn area(&self, area: Area) -> i32 {
        match area {
            Area::Table(index) => self.tables[index as usize],
            Area::Elements(index) => self.elements[index as usize].1,
            Area::Data(index) => self.data[index as usize].1,
            Area::Memory(index) => self.memories[index as usize].start as i32,
            Area::Shadow => self.shadow.0,
        }
    }
}
