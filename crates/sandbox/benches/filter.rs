//! World `filter` against (a) the least that can be done with wasmtime and (b) the public implementation's way, in one run.
//!
//! 100,000 events of 88 bytes, half of them system calls; the filter keeps slow system calls and whatever is none. The ways
//! take turns over a thousand events at a time, 31 times over all; medians are compared.
//!
//! (a) a bare typed call with fuel set each time and the event copied through a cached pointer. Bar: at most 1.05, for an event on its
//!     own and for a vector of events filtered in place; for records of a flow beside the same call on the same records, which are twice
//!     as long as the event at their start.
//! (b) for each event of an enum that owns its strings: a context built, a string cloned, the context turned into a vector of bytes,
//!     both written at 1024; fuel set; the typed call. Its batch takes a vector and gives back another one. Bar: ours at least 2.5 times
//!     as fast, an event against an event, a batch against a batch. Events are made, and what is left of them is freed, off the clock.

use std::{hint::black_box, time::Instant};

use skep_abi::event_context::{EventContext, SIZE};
use skep_event::{Selection, context::STRIDE};
use skep_sandbox::{WasmFilter, WasmRuntime};
use wasmtime::{Config, Engine, Instance, Memory, Module, Store, TypedFunc};

const EVENTS: usize = 100_000;
const ROUNDS: usize = 31;
/// Events of one measurement.
const CHUNK: usize = 1000;

const FILTER: &str = r#"(module (memory (export "memory") 1)
    (func (export "filter") (param $e i32) (param $len i32) (result i32)
        (i32.or (i32.ne (i32.load (local.get $e)) (i32.const 2))
                (i64.gt_u (i64.load offset=72 (local.get $e)) (i64.const 1000000)))))"#;

fn events() -> Vec<EventContext> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let event = |n: usize| EventContext {
        event_type: if next() & 1 == 0 { 2 } else { 0 },
        pid: 1000 + (n % 50) as u32,
        timestamp_ns: n as u64,
        duration_ns: next() % 1_350_000,
        ..EventContext::default()
    };
    (0..EVENTS).map(event).collect()
}

/// wasmtime and nothing else.
struct Bare {
    store: Store<()>,
    filter: TypedFunc<(i32, i32), i32>,
    memory: Memory,
    place: *mut u8,
}

impl Bare {
    fn new(wasm: &[u8]) -> Self {
        let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
        let mut store = Store::new(&engine, ());
        store.set_fuel(1_000_000).unwrap();
        let instance = Instance::new(&mut store, &Module::from_binary(&engine, wasm).unwrap(), &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let filter = instance.get_typed_func(&mut store, "filter").unwrap();
        let place = memory.data_mut(&mut store)[1024..].as_mut_ptr();
        Self { store, filter, memory, place }
    }

    #[inline(always)]
    fn ask(&mut self, event: &EventContext) -> bool {
        self.ask_of((&raw const *event).cast())
    }

    /// The same about an event that lies in a record.
    #[inline(always)]
    fn ask_record(&mut self, record: &[u8]) -> bool {
        let event: &[u8; SIZE] = record.first_chunk().unwrap();
        self.ask_of(event.as_ptr())
    }

    #[inline(always)]
    fn ask_of(&mut self, event: *const u8) -> bool {
        // SAFETY: an event lies where the callers point to, and 88 bytes at 1024 lie in the first page; this filter never grows its memory,
        // so it never moves.
        unsafe { std::ptr::copy_nonoverlapping(event, self.place, SIZE) };
        self.store.set_fuel(1_000_000).unwrap();
        self.filter.call(&mut self.store, (1024, SIZE as i32)).unwrap() != 0
    }

    /// The public implementation's way with an event: a context built from it beside a copy of its thread's name, the context turned
    /// into a vector of bytes, both copied to 1024 through a bounds check.
    #[inline(never)]
    fn ask_public(&mut self, event: &HostEvent) -> bool {
        self.store.set_fuel(1_000_000).ok();
        let (context, comm) = event.context();
        let mut bytes = [0; SIZE];
        context.write_to(&mut bytes);
        let bytes = bytes.to_vec();
        let end = 1024 + bytes.len() + comm.len();
        let memory = self.memory.data_mut(&mut self.store);
        assert!(end <= memory.len());
        memory[1024..1024 + bytes.len()].copy_from_slice(&bytes);
        memory[1024 + bytes.len()..end].copy_from_slice(comm.as_bytes());
        self.filter.call(&mut self.store, (1024, SIZE as i32)).unwrap() != 0
    }

    /// The public implementation's way with a batch: what is kept moves into a new vector.
    #[inline(never)]
    fn batch_public(&mut self, events: Vec<HostEvent>) -> Vec<HostEvent> {
        let mut kept = Vec::with_capacity(events.len());
        for event in events {
            if self.ask_public(&event) {
                kept.push(event);
            }
        }
        kept
    }
}

/// An event as the public implementation's host has it: an enum whose variants own their thread's name and their stacks. Stacks are empty
/// here, so that none is allocated or freed.
#[derive(Clone)]
enum HostEvent {
    Cpu {
        timestamp_ns: u64,
        pid: u32,
        tid: u32,
        cpu_id: u32,
        comm: String,
        /// Of user space and of the kernel, then their symbols.
        _stacks: [Vec<u64>; 4],
    },
    Syscall {
        timestamp_ns: u64,
        pid: u32,
        tid: u32,
        syscall_id: u32,
        duration_ns: u64,
        return_value: i64,
        comm: String,
    },
}

impl HostEvent {
    fn of(event: &EventContext) -> Self {
        let (timestamp_ns, pid, tid, comm) = (event.timestamp_ns, event.pid, event.tid, "worker".to_owned());
        let (cpu_id, syscall_id) = (event.cpu_id, event.syscall_id);
        let (duration_ns, return_value) = (event.duration_ns, event.return_value);
        match event.event_type {
            2 => Self::Syscall { timestamp_ns, pid, tid, syscall_id, duration_ns, return_value, comm },
            _ => Self::Cpu { timestamp_ns, pid, tid, cpu_id, comm, _stacks: Default::default() },
        }
    }

    fn context(&self) -> (EventContext, String) {
        let none = EventContext::default();
        match *self {
            Self::Cpu { timestamp_ns, pid, tid, cpu_id, ref comm, .. } => {
                (EventContext { event_type: 0, pid, tid, timestamp_ns, cpu_id, ..none }, comm.clone())
            }
            Self::Syscall { timestamp_ns, pid, tid, syscall_id, duration_ns, return_value, ref comm } => {
                let called = EventContext { syscall_id, duration_ns, return_value, ..none };
                (EventContext { event_type: 2, pid, tid, timestamp_ns, ..called }, comm.clone())
            }
        }
    }
}

/// The event at the start of each record, as the collectors lay it out.
fn records(events: &[EventContext]) -> Vec<u8> {
    let mut records = vec![0; events.len() * STRIDE];
    for (record, event) in records.chunks_exact_mut(STRIDE).zip(events) {
        if let Some(head) = record.first_chunk_mut() {
            event.write_to(head);
        }
    }
    records
}

/// Ways to ask, in the order of their times.
#[derive(Clone, Copy)]
enum Way {
    Native,
    Bare,
    BareRecords,
    Event,
    Batch,
    Records,
    Public,
    PublicBatch,
}

const WAYS: [(Way, &str); 8] = [
    (Way::Native, "native"),
    (Way::Bare, "bare"),
    (Way::BareRecords, "bare_records"),
    (Way::Event, "event"),
    (Way::Batch, "batch"),
    (Way::Records, "records"),
    (Way::Public, "public"),
    (Way::PublicBatch, "public_batch"),
];

/// Some of the events, as each way has them.
struct Chunk {
    events: Vec<EventContext>,
    owned: Vec<HostEvent>,
    records: Vec<u8>,
}

impl Chunk {
    fn new(events: &[EventContext]) -> Self {
        Self { events: events.to_vec(), owned: events.iter().map(HostEvent::of).collect(), records: records(events) }
    }

    /// Asks about all of them: the nanoseconds that it took, the events that were kept.
    fn ask(&self, way: Way, bare: &mut Bare, ours: &mut WasmFilter) -> (f64, usize) {
        let native = |event: &&EventContext| (event.event_type != 2) | (event.duration_ns > 1_000_000);
        match way {
            Way::Native => timed(|| self.events.iter().filter(black_box(native)).count()),
            Way::Bare => timed(|| self.events.iter().filter(|event| bare.ask(event)).count()),
            Way::BareRecords => {
                let mut selection = Selection::all(self.events.len());
                let (time, ()) = timed(|| selection.retain(|index| bare.ask_record(&self.records[index * STRIDE..])));
                (time, selection.count())
            }
            Way::Event => timed(|| self.events.iter().filter(|event| ours.filter_event(event).unwrap()).count()),
            Way::Batch => {
                let mut events = self.events.clone();
                let (time, ()) = timed(|| ours.filter_batch(&mut events).unwrap());
                (time, events.len())
            }
            Way::Records => {
                let mut selection = Selection::all(self.events.len());
                let (time, ()) = timed(|| ours.filter_records(&self.records, STRIDE, &mut selection).unwrap());
                (time, selection.count())
            }
            Way::Public => timed(|| self.owned.iter().filter(|event| bare.ask_public(event)).count()),
            Way::PublicBatch => {
                let owned = self.owned.clone();
                let (time, kept) = timed(|| bare.batch_public(owned));
                (time, kept.len())
            }
        }
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed().as_nanos() as f64, done)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let wasm = wat::parse_str(FILTER).unwrap();
    let chunks: Vec<Chunk> = events().chunks(CHUNK).map(Chunk::new).collect();
    let mut bare = Bare::new(&wasm);
    let mut ours = WasmRuntime::new().unwrap().load_filter(&wasm).unwrap();
    let mut times: [Vec<f64>; WAYS.len()] = Default::default();
    let mut kept = [0usize; WAYS.len()];
    // Ways take turns every thousand events, each time in another order: whatever else the machine does falls on all alike.
    for round in 0..ROUNDS {
        kept = [0; WAYS.len()];
        for (at, chunk) in chunks.iter().enumerate() {
            for turn in 0..WAYS.len() {
                let which = (round + at + turn) % WAYS.len();
                let (time, count) = chunk.ask(WAYS[which].0, &mut bare, &mut ours);
                times[which].push(time / CHUNK as f64);
                kept[which] += count;
            }
        }
    }
    assert!(kept.iter().all(|count| *count == kept[0]), "every way keeps the same events: {kept:?}");
    let times = times.map(median);
    let of = |way: Way| times[way as usize];
    for (way, name) in WAYS {
        println!("{name:13} {:6.2} ns an event, {:5.2} of bare", of(way), of(way) / of(Way::Bare));
    }
    println!("the public way takes {:.2} times filter_event (bar: 2.5)", of(Way::Public) / of(Way::Event));
    println!("its batch takes {:.2} times filter_batch (bar: 2.5)", of(Way::PublicBatch) / of(Way::Batch));
    let figures: Vec<String> = WAYS.iter().map(|(way, name)| format!("{name}={}", of(*way))).collect();
    println!("{}", figures.join(" "));
}
