//! World `filter` against (a) the least that can be done with wasmtime and (b) the public implementation's way, in one run.
//!
//! 100,000 events of 88 bytes, half of them system calls; the filter keeps slow system calls and whatever is none. The ways
//! take turns over a thousand events at a time, 31 times over all; medians are compared.
//!
//! (a) a bare typed call with fuel set each time and the event copied through a cached pointer. Bar: at most 1.05.
//! (b) for each event of an enum that owns its strings: a context built, a string cloned, the context turned into a vector of bytes,
//!     both written at 1024; fuel set; the typed call. Bar: ours at least 2.5 times as fast.

use std::{hint::black_box, time::Instant};

use skep_abi::event_context::{EventContext, SIZE};
use skep_sandbox::WasmRuntime;
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
        // SAFETY: 88 bytes at 1024 lie in the first page; this filter never grows its memory, so it never moves.
        unsafe { std::ptr::copy_nonoverlapping((&raw const *event).cast::<u8>(), self.place, SIZE) };
        self.store.set_fuel(1_000_000).unwrap();
        self.filter.call(&mut self.store, (1024, SIZE as i32)).unwrap() != 0
    }

    /// What [`skep_sandbox::WasmFilter::filter_batch`] does, by hand.
    fn batch(&mut self, events: &mut Vec<EventContext>) {
        let mut kept = 0;
        for at in 0..events.len() {
            let keep = self.ask(&events[at]);
            events[kept] = events[at];
            kept += usize::from(keep);
        }
        events.truncate(kept);
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
}

/// An event as the public implementation's host has it: an enum whose variants own their thread's name.
enum HostEvent {
    Cpu {
        timestamp_ns: u64,
        pid: u32,
        tid: u32,
        cpu_id: u32,
        comm: String,
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
            _ => Self::Cpu { timestamp_ns, pid, tid, cpu_id, comm },
        }
    }

    fn context(&self) -> (EventContext, String) {
        let none = EventContext::default();
        match *self {
            Self::Cpu { timestamp_ns, pid, tid, cpu_id, ref comm } => {
                (EventContext { event_type: 0, pid, tid, timestamp_ns, cpu_id, ..none }, comm.clone())
            }
            Self::Syscall { timestamp_ns, pid, tid, syscall_id, duration_ns, return_value, ref comm } => {
                let called = EventContext { syscall_id, duration_ns, return_value, ..none };
                (EventContext { event_type: 2, pid, tid, timestamp_ns, ..called }, comm.clone())
            }
        }
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let wasm = wat::parse_str(FILTER).unwrap();
    let events = events();
    let owned: Vec<HostEvent> = events.iter().map(HostEvent::of).collect();
    let mut bare = Bare::new(&wasm);
    let mut ours = WasmRuntime::new().unwrap().load_filter(&wasm).unwrap();
    let mut times: [Vec<f64>; 6] = Default::default();
    let mut kept = [0usize; 6];
    // Ways take turns every thousand events, each time in another order: whatever else the machine does falls on all alike.
    for round in 0..ROUNDS {
        kept = [0; 6];
        for (at, (events, owned)) in events.chunks(CHUNK).zip(owned.chunks(CHUNK)).enumerate() {
            for turn in 0..times.len() {
                let way = (round + at + turn) % times.len();
                let mut batch = if matches!(way, 3 | 4) { events.to_vec() } else { Vec::new() };
                let native = |event: &&EventContext| (event.event_type != 2) | (event.duration_ns > 1_000_000);
                let start = Instant::now();
                kept[way] += match way {
                    0 => events.iter().filter(black_box(native)).count(),
                    1 => events.iter().filter(|event| bare.ask(event)).count(),
                    2 => events.iter().filter(|event| ours.filter_event(event).unwrap()).count(),
                    3 => {
                        bare.batch(&mut batch);
                        batch.len()
                    }
                    4 => {
                        ours.filter_batch(&mut batch).unwrap();
                        batch.len()
                    }
                    _ => owned.iter().filter(|event| bare.ask_public(event)).count(),
                };
                times[way].push(start.elapsed().as_nanos() as f64 / CHUNK as f64);
            }
        }
    }
    assert!(kept.iter().all(|count| *count == kept[0]), "every way keeps the same events: {kept:?}");
    let [native, bare, event, bare_batch, batch, public] = times.map(median);
    println!("native closure            {native:7.2} ns an event");
    println!("bare typed call           {bare:7.2} ns");
    println!("filter_event              {event:7.2} ns  {:.3} of bare (bar: 1.05)", event / bare);
    println!("bare call, in place       {bare_batch:7.2} ns");
    println!(
        "filter_batch              {batch:7.2} ns  {:.3} of that, {:.3} of bare (bar: 1.05)",
        batch / bare_batch,
        batch / bare
    );
    println!(
        "the public way            {public:7.2} ns  {:.2} and {:.2} times ours (bar: 2.5)",
        public / event,
        public / batch
    );
    println!("native={native} bare={bare} event={event} bare_batch={bare_batch} batch={batch} public={public}");
}
