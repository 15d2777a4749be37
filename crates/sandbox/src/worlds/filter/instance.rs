//! One instance of a filter, and the event's place in its memory.

use super::{
    check::{MALLOC, MemoryPlace, has_sig},
    run::{self, Events},
    slot::Slot,
};
use crate::{
    TrapKind, WASM_PAGE,
    limits::{Limiter, Limits},
    log::Log,
};
use skep_abi::{
    Func,
    event_context::{ALIGN, SIZE},
    filter::{FILTER, FUEL, LOG_LINE, MODULE},
    hooks::ALLOC,
    surface::MEMORY,
    wasi::INITIALIZE,
};
use skep_error::{Error, Kind, Result};
use wasmtime::{Caller, Instance as WasmInstance, Linker, Memory, Module, ResourceLimiter, Store, Trap, TypedFunc};

/// What the store holds.
pub(super) struct State {
    limiter: Limiter,
    pub(super) log: Log,
    memory: Option<Memory>,
    /// What [`run::next`] hands out, where to, and with how much fuel.
    pub(super) events: Box<Events>,
    pub(super) slot: Option<Slot>,
    pub(super) fuel: u64,
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.limiter.memory_growing(current, desired, maximum)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.limiter.table_growing(current, desired, maximum)
    }
}

/// An instance ready to be asked.
pub(super) struct Instance {
    pub(super) store: Store<State>,
    filter: TypedFunc<(i32, i32), i32>,
    /// The loop that asks about many events, once it was needed.
    run: Option<TypedFunc<i32, ()>>,
    memory: Memory,
    slot: Slot,
    at: u32,
    fuel: u64,
}

/// What instances are made of.
pub(super) struct Template {
    pub(super) module: Module,
    pub(super) place: MemoryPlace,
    pub(super) linker: Linker<State>,
    /// [`run::WASM`], compiled.
    pub(super) run: Module,
    pub(super) fuel: u64,
    pub(super) max_pages: u64,
}

/// The linker with `env.log`.
pub(super) fn linker(engine: &wasmtime::Engine) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    linker.func_wrap(LOG_LINE.module, LOG_LINE.name, log).map_err(internal)?;
    Ok(linker)
}

/// Fuel that a line of the log takes: the host does the work of so many instructions, and a guest that logs without end comes
/// to an end.
const LOG_FUEL: u64 = 500;

fn log(mut caller: Caller<'_, State>, ptr: u32, len: u32) -> wasmtime::Result<()> {
    let left = caller.get_fuel()?.checked_sub(LOG_FUEL).ok_or(Trap::OutOfFuel)?;
    caller.set_fuel(left)?;
    let Some(memory) = caller.data().memory else {
        // A start function that logs before the exports are known: its line is not worth a trap.
        return Ok(());
    };
    let (bytes, state) = memory.data_and_store_mut(&mut caller);
    let start = ptr as usize;
    match start.checked_add(len as usize).and_then(|end| bytes.get(start..end)) {
        Some(line) => {
            state.log.line(line);
            Ok(())
        }
        None => Err(Trap::MemoryOutOfBounds.into()),
    }
}

fn internal(error: wasmtime::Error) -> Error {
    Error::new(Kind::Internal, format!("{error:#}"))
}

/// A trap while the instance was made: the module's fault, not an event's.
fn failed(store: &Store<State>, error: &wasmtime::Error, doing: &str) -> Error {
    let refused = store.data().limiter.explain();
    let trapped = || match TrapKind::of(error) {
        Some(kind) => Error::new(Kind::Trap, kind.text()),
        None => Error::new(Kind::BadInput, format!("{error:#}")),
    };
    refused.unwrap_or_else(trapped).context(doing)
}

impl Template {
    /// A fresh instance with the event's place in its memory.
    pub(super) fn instantiate(&self, log: Log) -> Result<Instance> {
        let limits = Limits { memory: self.max_pages as usize * WASM_PAGE, ..Limits::default() };
        let state = State {
            limiter: Limiter::new(limits),
            log,
            memory: None,
            events: Box::default(),
            slot: None,
            fuel: self.fuel,
        };
        let mut store = Store::new(self.module.engine(), state);
        store.limiter(|state| state);
        // Running time is bounded by fuel alone: work is the same on every machine, time is not.
        store.set_fuel(self.fuel).map_err(internal)?;
        let mut linker = self.linker.clone();
        let mut host_memory = None;
        if let MemoryPlace::Imported(ty) = &self.place {
            let memory = Memory::new(&mut store, ty.clone())
                .map_err(|error| failed(&store, &error, "making the memory that it imports"))?;
            linker.define(&mut store, MODULE, MEMORY, memory).map_err(internal)?;
            host_memory = Some(memory);
        }
        let instance = linker
            .instantiate(&mut store, &self.module)
            .map_err(|error| failed(&store, &error, "instantiating the filter"))?;
        let memory = host_memory
            .or_else(|| instance.get_memory(&mut store, MEMORY))
            .ok_or_else(|| Error::new(Kind::BadInput, "it has no memory"))?;
        store.data_mut().memory = Some(memory);
        if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, INITIALIZE.name) {
            store.set_fuel(self.fuel).map_err(internal)?;
            initialize.call(&mut store, ()).map_err(|error| failed(&store, &error, "calling its _initialize"))?;
        }
        let filter = instance.get_typed_func::<(i32, i32), i32>(&mut store, FILTER.name).map_err(internal)?;
        let at = self.place_event(&mut store, &instance, memory)?;
        let slot = Slot::new(memory.data_mut(&mut store), at as usize).ok_or_else(|| {
            let text = format!("its allocator gave {at:#x} for {SIZE} bytes, which do not lie in its memory");
            Error::new(Kind::BadInput, text)
        })?;
        Ok(Instance { store, filter, run: None, memory, slot, at, fuel: self.fuel })
    }

    /// A place for the event that the guest gave, or that was grown for it: never what the guest owns.
    fn place_event(&self, store: &mut Store<State>, instance: &WasmInstance, memory: Memory) -> Result<u32> {
        store.set_fuel(self.fuel).map_err(internal)?;
        let exported = |store: &mut Store<State>, func: &Func| {
            let found = instance.get_func(&mut *store, func.name)?;
            has_sig(&found.ty(&*store), &func.sig).then_some(found)
        };
        let size = SIZE as i32;
        let given = if let Some(alloc) = exported(store, &ALLOC) {
            let alloc = alloc.typed::<(i32, i32), i32>(&*store).map_err(internal)?;
            Some((ALLOC.name, alloc.call(&mut *store, (size, ALIGN as i32))))
        } else if let Some(malloc) = exported(store, &MALLOC) {
            let malloc = malloc.typed::<i32, i32>(&*store).map_err(internal)?;
            Some((MALLOC.name, malloc.call(&mut *store, size)))
        } else {
            None
        };
        match given {
            Some((name, Ok(0))) => {
                Err(Error::new(Kind::BadInput, format!("its {name} has no {SIZE} bytes for an event")))
            }
            Some((name, Ok(at))) if !(at as u32).is_multiple_of(ALIGN as u32) => {
                Err(Error::new(Kind::BadInput, format!("its {name} gave {at:#x}, which is no multiple of {ALIGN}")))
            }
            Some((_, Ok(at))) => Ok(at as u32),
            Some((name, Err(error))) => Err(failed(store, &error, &format!("calling its {name}"))),
            None => self.grow_for_event(store, memory),
        }
    }

    /// A page behind what the guest has. It is the host's, and does not count against the guest's own: one that starts with all it may have
    /// gets it besides, and can grow no further.
    fn grow_for_event(&self, store: &mut Store<State>, memory: Memory) -> Result<u32> {
        let allowed = self.max_pages as usize * WASM_PAGE;
        store.data_mut().limiter.set_memory(allowed + WASM_PAGE);
        let grown = memory.grow(&mut *store, 1);
        store.data_mut().limiter.set_memory(allowed);
        match grown {
            Ok(pages) => Ok((pages * WASM_PAGE as u64) as u32),
            Err(_) => Err(Error::new(
                Kind::Refused,
                format!(
                    "its memory has {} pages and says that it never has more: none is left for the event",
                    memory.size(&*store)
                ),
            )
            .help("export skep_alloc or malloc, or import a memory without a maximum")),
        }
    }
}

impl Instance {
    /// Asks about the event that `write` puts in its place.
    #[inline(always)]
    pub(super) fn ask(&mut self, write: impl FnOnce(&mut [u8; SIZE])) -> wasmtime::Result<bool> {
        // SAFETY: the store that owns the memory stands beside the slot, and memories of this engine never move
        // (`Metering::FuelAlone`). `&mut self` says that no guest code runs.
        #[allow(unsafe_code)]
        unsafe {
            self.slot.fill(write);
        }
        // The public limit as a constant: what wasmtime makes of it is then known when this is compiled.
        match self.fuel {
            FUEL => self.store.set_fuel(FUEL)?,
            _ => self.set_own_fuel()?,
        }
        self.filter.call(&mut self.store, (self.at as i32, SIZE as i32)).map(|keep| keep != 0)
    }

    #[cold]
    #[inline(never)]
    fn set_own_fuel(&mut self) -> wasmtime::Result<()> {
        self.store.set_fuel(self.fuel)
    }

    /// From now on each call ends at once, out of fuel.
    pub(super) fn spend(&mut self) {
        self.fuel = 0;
        self.store.data_mut().fuel = 0;
    }

    /// The events that [`Instance::ask_all`] asks about.
    pub(super) fn events(&mut self) -> &mut Box<Events> {
        &mut self.store.data_mut().events
    }

    /// Asks about the events that were pushed, from the first one that was not handed out yet.
    pub(super) fn ask_all(&mut self, template: &Template) -> wasmtime::Result<()> {
        let run = match &self.run {
            Some(run) => run.clone(),
            None => self.link_run(template)?,
        };
        self.store.set_fuel(FUEL)?;
        run.call(&mut self.store, self.at as i32)
    }

    #[cold]
    fn link_run(&mut self, template: &Template) -> wasmtime::Result<TypedFunc<i32, ()>> {
        let mut linker = Linker::new(self.store.engine());
        linker.func_wrap(run::MODULE, run::NEXT, run::next)?;
        linker.define(&mut self.store, run::MODULE, FILTER.name, *self.filter.func())?;
        let slot = Slot::new(self.memory.data_mut(&mut self.store), self.at as usize);
        self.store.data_mut().slot = slot;
        self.store.set_fuel(FUEL)?;
        let instance = linker.instantiate(&mut self.store, &template.run)?;
        let run = instance.get_typed_func::<i32, ()>(&mut self.store, run::RUN)?;
        self.run = Some(run.clone());
        Ok(run)
    }

    /// Bytes of its memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// Takes the log out, and leaves `instead`.
    pub(super) fn replace_log(&mut self, instead: Log) -> Log {
        std::mem::replace(&mut self.store.data_mut().log, instead)
    }
}
