//! One instance of a plugin: its store, its hook, and the buffers that were taken from it once.

use skep_abi::{
    hooks::{self, Hook, wire},
    layout::{Layout, List, Wire},
    surface::MEMORY,
    wasi,
};
use skep_admit::{Admission, Budget};
use skep_error::{Error, Kind, Result};
use wasmtime::{Linker, Memory, Store, TypedFunc};

use super::{RecordLayout, Services, link};
use crate::{
    Engine, Limiter, Limits, Module, TrapKind, WASM_PAGE,
    ticker::{Running, Ticker},
};

/// What a plugin's store holds.
pub(super) struct Host {
    limiter: Limiter,
    pub(super) services: Services,
    pub(super) memory: Option<Memory>,
}

/// Where things lie in the block that was taken from the guest.
#[derive(Clone, Copy, Debug)]
struct Buffers {
    request: u32,
    selected: u32,
    output: u32,
    records: u32,
    fields: List<wire::Field>,
    /// Bytes of the block, from `request`.
    size: u32,
}

/// Bytes to which the parts of the block are aligned.
const ALIGN: usize = 64;

pub(super) struct Instance {
    store: Store<Host>,
    memory: Memory,
    hook: TypedFunc<(i32, i32), i64>,
    buffers: Buffers,
    budget: Budget,
    stride: usize,
    capacity: usize,
    schema: u64,
}

/// A guest call that did not return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trapped {
    pub(super) kind: Option<TrapKind>,
    pub(super) text: String,
}

impl From<wasmtime::Error> for Trapped {
    fn from(error: wasmtime::Error) -> Self {
        let kind = TrapKind::of(&error);
        let text = kind.map_or_else(|| error.root_cause().to_string(), |kind| kind.text().to_owned());
        Self { kind, text }
    }
}

/// A hook: `(request, length)`, and a packed answer.
type HookFunc = TypedFunc<(i32, i32), i64>;

impl Instance {
    /// Makes an instance and takes its buffers; room for `capacity` records.
    pub(super) fn new(
        engine: &Engine,
        module: &Module,
        admission: &Admission,
        hook: Hook,
        layout: &RecordLayout,
        capacity: usize,
        services: Services,
    ) -> Result<Self, Box<(Error, Services)>> {
        let budget = admission.budget;
        let limits = Limits {
            memory: usize::try_from(budget.pages).unwrap_or(usize::MAX).saturating_mul(WASM_PAGE),
            table: usize::try_from(budget.table_elements).unwrap_or(usize::MAX),
        };
        let host = Host { limiter: Limiter::new(limits), services, memory: None };
        let mut store = Store::new(engine.wasmtime(), host);
        store.limiter(|host| &mut host.limiter);
        match Self::start(&mut store, engine, module, admission, hook, layout, capacity) {
            Ok((memory, hook, buffers)) => {
                Ok(Self { store, memory, hook, buffers, budget, stride: layout.stride as usize, capacity, schema: 1 })
            }
            Err(error) => {
                let error = store.data().limiter.explain().unwrap_or(error).context("making an instance of the plugin");
                Err(Box::new((error, store.into_data().services)))
            }
        }
    }

    fn start(
        store: &mut Store<Host>,
        engine: &Engine,
        module: &Module,
        admission: &Admission,
        hook: Hook,
        layout: &RecordLayout,
        capacity: usize,
    ) -> Result<(Memory, HookFunc, Buffers)> {
        let bad = |error: wasmtime::Error| Error::new(Kind::Trap, Trapped::from(error).text);
        let mut linker = Linker::new(engine.wasmtime());
        link::define(&mut linker, &admission.imports)?;
        let _running = arm(store, &admission.budget);
        let instance = linker.instantiate(&mut *store, module.wasmtime()).map_err(bad)?;
        let missing = |name: &str| Error::new(Kind::BadInput, format!("the plugin does not export {name}"));
        let memory = instance.get_memory(&mut *store, MEMORY).ok_or_else(|| missing(MEMORY))?;
        store.data_mut().memory = Some(memory);
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut *store, wasi::INITIALIZE.name) {
            initialize.call(&mut *store, ()).map_err(bad)?;
        }
        let name = hook.export().name;
        let hook = instance.get_typed_func(&mut *store, name).map_err(|_| missing(name))?;
        let name = hooks::ALLOC.name;
        let alloc = instance.get_typed_func::<(i32, i32), i32>(&mut *store, name).map_err(|_| missing(name))?;
        let (mut buffers, image) = plan(layout, capacity)?;
        let at = alloc.call(&mut *store, (buffers.size.cast_signed(), ALIGN as i32)).map_err(bad)?.cast_unsigned();
        place(store, memory, &mut buffers, at, image)?;
        Ok((memory, hook, buffers))
    }

    /// Room for [`Self::capacity`] records, in the guest's memory.
    pub(super) fn records_mut(&mut self) -> &mut [u8] {
        let (start, len) = (self.buffers.records as usize, self.stride * self.capacity);
        // The range was checked when it was taken, and a memory never shrinks.
        &mut self.memory.data_mut(&mut self.store)[start..start + len]
    }

    pub(super) fn records(&self, count: usize) -> &[u8] {
        let start = self.buffers.records as usize;
        &self.memory.data(&self.store)[start..start + self.stride * count]
    }

    pub(super) fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    pub(super) fn services(&self) -> &Services {
        &self.store.data().services
    }

    pub(super) fn into_services(self) -> Services {
        let mut services = self.store.into_data().services;
        services.close_all();
        services
    }

    /// Calls the hook on the first `count` records.
    pub(super) fn call(&mut self, count: usize, selected: &[u64], flags: u32) -> Result<i64, Trapped> {
        let words = count.div_ceil(64);
        let Buffers { request, selected: at, output, records, fields, .. } = self.buffers;
        let message = wire::Request {
            schema: self.schema,
            records: List::new(records, (count * self.stride) as u32),
            count: count as u32,
            stride: self.stride as u32,
            flags,
            reserved: 0,
            selected: List::new(at, words as u32),
            fields,
            columns: List::default(),
            output: List::new(output, self.capacity.div_ceil(64) as u32),
        };
        let bytes = self.memory.data_mut(&mut self.store);
        message.write_to(&mut bytes[request as usize..][..wire::Request::DESC.size]);
        let bitmap = &mut bytes[at as usize..][..words * 8];
        for (to, word) in bitmap.chunks_exact_mut(8).zip(selected) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        let _running = arm(&mut self.store, &self.budget);
        let len = wire::Request::DESC.size as i32;
        self.hook.call(&mut self.store, (request.cast_signed(), len)).map_err(Trapped::from)
    }
}

/// Fresh fuel and a deadline for one call; the clock runs while the result is held.
fn arm(store: &mut Store<Host>, budget: &Budget) -> Running {
    // Engines of this world count fuel; without it the epoch alone ends a call.
    let _ = store.set_fuel(budget.fuel);
    store.set_epoch_deadline(Ticker::epochs(budget.deadline_ms));
    Ticker::running()
}

/// Plans the block: the request, two bitmaps, the description of the fields, the records. Addresses count from 0; the
/// image is what stands from `request` to the records.
fn plan(layout: &RecordLayout, capacity: usize) -> Result<(Buffers, Vec<u8>)> {
    let too_large = || {
        Error::new(
            Kind::Unsupported,
            format!("{capacity} records of {} bytes do not fit a plugin's memory", layout.stride),
        )
    };
    let mut image = vec![0; wire::Request::DESC.size];
    let mut part = |bytes: usize| {
        let at = image.len().next_multiple_of(ALIGN);
        image.resize(at + bytes, 0);
        at as u32
    };
    let words = capacity.div_ceil(64) * 8;
    let selected = part(words);
    let output = part(words);
    let fields = part(layout.fields.len() * wire::Field::DESC.size);
    let names: Vec<u32> = layout.fields.iter().map(|field| part(field.name.len())).collect();
    let records = part(0);
    for (index, (field, name)) in layout.fields.iter().zip(&names).enumerate() {
        image[*name as usize..][..field.name.len()].copy_from_slice(field.name.as_bytes());
        let description = wire::Field {
            name: List::new(*name, field.name.len() as u32),
            kind: field.kind,
            offset: field.offset,
            size: field.size,
        };
        description.write_to(&mut image[fields as usize + index * wire::Field::DESC.size..][..wire::Field::DESC.size]);
    }
    let size = capacity
        .checked_mul(layout.stride as usize)
        .and_then(|bytes| bytes.checked_add(records as usize))
        .and_then(|bytes| u32::try_from(bytes).ok())
        .filter(|bytes| i32::try_from(*bytes).is_ok())
        .ok_or_else(too_large)?;
    let fields = List::new(fields, layout.fields.len() as u32);
    Ok((Buffers { request: 0, selected, output, records, fields, size }, image))
}

/// Puts the block's image where the guest gave room.
fn place(store: &mut Store<Host>, memory: Memory, buffers: &mut Buffers, at: u32, mut image: Vec<u8>) -> Result<()> {
    if at == 0 || !(at as usize).is_multiple_of(8) {
        let message =
            format!("the plugin gave no room for {} bytes ({} returned {at:#x})", buffers.size, hooks::ALLOC.name);
        return Err(Error::new(Kind::Refused, message).help("raise `pages` in the policy, or use smaller batches"));
    }
    // First of all: what lies in memory can be added to without overflow.
    let bytes = memory.data_mut(store);
    let room = (at as usize).checked_add(buffers.size as usize).and_then(|end| bytes.get_mut(at as usize..end));
    let Some(room) = room else {
        return Err(Error::new(Kind::BadInput, "the plugin gave room outside its memory"));
    };
    let size = wire::Field::DESC.size;
    for index in 0..buffers.fields.len as usize {
        let entry = &mut image[buffers.fields.at as usize + index * size..][..size];
        if let Some(mut field) = wire::Field::read_from(entry) {
            field.name.at += at;
            field.write_to(entry);
        }
    }
    room[..image.len()].copy_from_slice(&image);
    for part in [&mut buffers.request, &mut buffers.selected, &mut buffers.output, &mut buffers.records] {
        *part += at;
    }
    buffers.fields.at += at;
    Ok(())
}
