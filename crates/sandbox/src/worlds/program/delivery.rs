//! Records of a ring buffer, from where the kernel puts them to the guest's callback.
//!
//! A call from the host into the guest costs ten times what a small callback does. So the loop over the records is itself
//! WebAssembly (`delivery.wat`): an instance of the host's, beside the guest in the same store, whose own memory shows the
//! ring buffer. It copies each record to the guest's buffer and calls the callback by a typed reference; between two
//! records nothing leaves compiled guest code, and every access is checked as a guest's is.
//!
//! Each header is looked at before its record, and the consumer's position is written after the record was copied. WebAssembly
//! cannot ask for that order: x86-64 keeps it, and the compiler moves none of these over a branch or over each other. On
//! other processors records are delivered by a call each.

use std::sync::Arc;

use skep_error::{Error, Kind, Result};
use wasmtime::{Caller, Extern, Func, Global, Instance, Memory, TypedFunc, Val};

use super::{
    host::State,
    kernel::{Map, MapInfo},
};
use crate::{
    Cache, Engine, Module,
    limits::WASM_PAGE,
    memory::{PAGE, Placement, RING_DATA, SharedRegions, consumed, reserved},
};

const WASM: &[u8] = include_bytes!("delivery.wasm");
/// The ring buffer's data appear twice, and an address has 32 bits.
const LARGEST: u64 = 1 << 30;

/// The host's loop over the records, compiled once a run.
pub(super) struct Deliveries {
    engine: Engine,
    cache: Option<Cache>,
    module: Option<Module>,
    /// Instances whose ring buffer is closed.
    spare: Vec<Instantiated>,
    /// Those that still show theirs.
    retired: Vec<Delivery>,
}

/// One instance of the loop.
struct Instantiated {
    ring: Memory,
    callback: Global,
    deliver: TypedFunc<(i64, i64, i32, i32, i32, i32), i32>,
    regions: SharedRegions,
}

/// A ring buffer that is being delivered.
pub(super) struct Delivery {
    instance: Instantiated,
    pub(super) map: Arc<dyn Map + Send + Sync>,
    /// Bytes of data, a power of two.
    size: u32,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// There was no record.
    Nothing,
    /// All records that were there went to the callback.
    All,
    /// The callback returned this negative number.
    BrokenOff(i32),
}

/// Where a record goes.
#[derive(Clone, Copy)]
pub(super) struct Destination {
    pub(super) ctx: i32,
    pub(super) data: i32,
    pub(super) max: i32,
}

impl Deliveries {
    pub(super) fn new(engine: &Engine, cache: Option<Cache>) -> Self {
        Self { engine: engine.clone(), cache, module: None, spare: Vec::new(), retired: Vec::new() }
    }

    /// Takes back the delivery of a ring buffer that is closed; [`Delivery::close_retired`] ends it.
    pub(super) fn retire(&mut self, delivery: Delivery) {
        self.retired.push(delivery);
    }

    fn module(&mut self) -> Result<Module> {
        if let Some(module) = &self.module {
            return Ok(module.clone());
        }
        let module = Module::load_own(&self.engine, WASM, self.cache.as_ref())?;
        Ok(self.module.insert(module).clone())
    }
}

impl Delivery {
    /// Whether the ring buffer of that map can be delivered this way.
    pub(super) fn suits(map: &dyn Map) -> bool {
        let info = map.info();
        let size = u64::from(info.max_entries);
        cfg!(target_arch = "x86_64") && info.kind == MapInfo::RINGBUF && size.is_power_of_two() && size <= LARGEST
    }

    /// Maps the ring buffer of `map` into an instance's memory.
    ///
    /// # Errors
    /// `Kernel` where it cannot be mapped.
    pub(super) fn open(caller: &mut Caller<'_, State>, map: Arc<dyn Map + Send + Sync>) -> Result<Box<Self>> {
        let size = map.info().max_entries;
        let mut instance = match caller.data_mut().host.deliveries.spare.pop() {
            Some(instance) => instance,
            None => instantiate(caller)?,
        };
        let len = RING_DATA as u64 + 2 * u64::from(size);
        grow(caller, instance.ring, len)?;
        let memory = instance.ring.data_mut(&mut *caller);
        if let Err(errno) = show(&mut instance.regions, memory, &*map, len) {
            // What is mapped already must not stay: the instance may serve another ring buffer.
            if instance.regions.unmap_all(memory, 0).is_ok() {
                caller.data_mut().host.deliveries.spare.push(instance);
            }
            let name = &map.info().name;
            return Err(Error::os(errno.raw_os_error())
                .with_kind(Kind::Kernel)
                .context(format!("mapping ring buffer {name}")));
        }
        Ok(Box::new(Self { instance, map, size }))
    }

    /// Delivers the records that are there, oldest first.
    ///
    /// # Errors
    /// The guest's trap.
    pub(super) fn run(
        &mut self,
        caller: &mut Caller<'_, State>,
        callback: Func,
        to: Destination,
    ) -> wasmtime::Result<Ran> {
        self.instance.callback.set(&mut *caller, Val::FuncRef(Some(callback)))?;
        let mut ran = Ran::Nothing;
        loop {
            let records = reserved(self.instance.ring.data(&*caller), self.size);
            if records.is_empty() {
                return Ok(ran);
            }
            let mask = (self.size - 1) as i32;
            let args = (records.start as i64, records.end as i64, mask, to.ctx, to.data, to.max);
            let result = self.instance.deliver.call(&mut *caller, args)?;
            if result < 0 {
                return Ok(Ran::BrokenOff(result));
            }
            let reached = consumed(self.instance.ring.data(&*caller));
            if reached != records.start {
                ran = Ran::All;
            }
            if reached != records.end {
                // The next one is not submitted yet.
                return Ok(ran);
            }
        }
    }

    /// Ends the mappings of ring buffers that are closed; their instances may serve others.
    pub(super) fn close_retired(caller: &mut Caller<'_, State>) {
        while let Some(mut delivery) = caller.data_mut().host.deliveries.retired.pop() {
            let memory = delivery.instance.ring.data_mut(&mut *caller);
            match delivery.instance.regions.unmap_all(memory, 0) {
                Ok(()) => caller.data_mut().host.deliveries.spare.push(delivery.instance),
                Err(errno) => tracing::warn!("ending the mapping of a ring buffer: {errno}"),
            }
        }
    }
}

/// Maps `len` bytes of a ring buffer to the start of `memory`: only the consumer's position may be written.
fn show(regions: &mut SharedRegions, memory: &mut [u8], map: &dyn Map, len: u64) -> Result<(), rustix::io::Errno> {
    let (page, rest) = (PAGE as u32, (len - PAGE as u64) as u32);
    let consumer = Placement { address: 0, len: page, offset: 0, writable: true, owner: 0 };
    let others = Placement { address: page, len: rest, offset: PAGE as u64, writable: false, owner: 0 };
    regions.map(memory, map.descriptor(), consumer)?;
    regions.map(memory, map.descriptor(), others)
}

fn instantiate(caller: &mut Caller<'_, State>) -> Result<Instantiated> {
    let module = caller.data_mut().host.deliveries.module()?;
    let internal = |error: wasmtime::Error| {
        Error::new(Kind::Internal, format!("{error:#}")).context("making the instance that delivers records")
    };
    let guest = caller.data().host.memory;
    let guest = guest.ok_or_else(|| Error::new(Kind::BadInput, "the guest exports no memory called \"memory\""))?;
    let regions = SharedRegions::of(&caller.data().host.deliveries.engine);
    caller.data_mut().limiter.set_lifted(true);
    let made = Instance::new(&mut *caller, module.wasmtime(), &[Extern::Memory(guest)]);
    caller.data_mut().limiter.set_lifted(false);
    let instance = made.map_err(internal)?;
    let missing = || internal(wasmtime::Error::msg("an export is missing"));
    Ok(Instantiated {
        ring: instance.get_memory(&mut *caller, "ring").ok_or_else(missing)?,
        callback: instance.get_global(&mut *caller, "callback").ok_or_else(missing)?,
        deliver: instance.get_typed_func(&mut *caller, "deliver").map_err(internal)?,
        regions,
    })
}

/// Makes a memory of the host's at least `len` bytes long: what a ring buffer takes is not the guest's memory.
fn grow(caller: &mut Caller<'_, State>, memory: Memory, len: u64) -> Result<()> {
    let more = len.saturating_sub(memory.data_size(&*caller) as u64).div_ceil(WASM_PAGE as u64);
    caller.data_mut().limiter.set_lifted(true);
    let grown = memory.grow(&mut *caller, more);
    caller.data_mut().limiter.set_lifted(false);
    grown
        .map(drop)
        .map_err(|error| Error::new(Kind::Kernel, format!("{error:#}")).context("making room for a ring buffer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_module_is_what_its_text_says() {
        let assembled = wat::parse_str(include_str!("delivery.wat")).unwrap();
        if std::env::var_os("BLESS").is_some() {
            let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/worlds/program/delivery.wasm");
            std::fs::write(file, &assembled).unwrap();
        } else {
            assert!(assembled == WASM, "delivery.wasm is out of date; BLESS=1 writes it anew");
        }
    }
}
