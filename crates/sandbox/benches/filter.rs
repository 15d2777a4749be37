//! World `filter` against (a) the least that can be done with wasmtime and (b) the public implementation's way, in one run.
//!
//! 100,000 events of 88 bytes, half of them system calls; the filter keeps slow system calls and whatever is none. Each way goes over
//! all events in turn, 31 times; medians are compared.
//!
//! (a) a bare typed call with fuel set each time and the event copied through a cached pointer. Bar: at most 1.05.
//! (b) for each event a struct built, boxed, and turned into a vector of bytes that is written at 1024; fuel set; the typed call.
//!     Bar: ours at least 2.5 times as fast.

use std::{hint::black_box, time::Instant};

use skep_abi::event_context::{EventContext, SIZE};
use skep_sandbox::WasmRuntime;
use wasmtime::{Config, Engine, Instance, Memory, Module, Store, TypedFunc};

const EVENTS: usize = 100_000;
const ROUNDS: usize = 31;

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

    /// The public implementation's way.
    #[inline(never)]
    fn ask_boxed(&mut self, event: &EventContext) -> bool {
        let context = black_box(Box::new(EventContext { ..*event }));
        let mut bytes = [0; SIZE];
        context.write_to(&mut bytes);
        let bytes = black_box(bytes.to_vec());
        self.memory.write(&mut self.store, 1024, &bytes).unwrap();
        self.store.set_fuel(1_000_000).unwrap();
        self.filter.call(&mut self.store, (1024, bytes.len() as i32)).unwrap() != 0
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let wasm = wat::parse_str(FILTER).unwrap();
    let events = events();
    let mut bare = Bare::new(&wasm);
    let mut ours = WasmRuntime::new().unwrap().load_filter(&wasm).unwrap();
    let mut times: [Vec<f64>; 5] = Default::default();
    let mut kept = [0usize; 5];
    for _ in 0..ROUNDS {
        let mut batch = events.clone();
        let mut time = |way: usize, run: &mut dyn FnMut() -> usize| {
            let start = Instant::now();
            kept[way] = run();
            times[way].push(start.elapsed().as_nanos() as f64 / EVENTS as f64);
        };
        let native = |event: &&EventContext| (event.event_type != 2) | (event.duration_ns > 1_000_000);
        time(0, &mut || events.iter().filter(black_box(native)).count());
        time(1, &mut || events.iter().filter(|event| bare.ask(event)).count());
        time(2, &mut || events.iter().filter(|event| ours.filter_event(event).unwrap()).count());
        time(3, &mut || {
            ours.filter_batch(&mut batch).unwrap();
            batch.len()
        });
        time(4, &mut || events.iter().filter(|event| bare.ask_boxed(event)).count());
    }
    assert!(kept.iter().all(|count| *count == kept[0]), "every way keeps the same events: {kept:?}");
    let [native, bare, event, batch, boxed] = times.map(median);
    println!("native closure            {native:7.2} ns an event");
    println!("bare typed call           {bare:7.2} ns");
    println!("filter_event              {event:7.2} ns  {:.3} of bare (bar: 1.05)", event / bare);
    println!("filter_batch              {batch:7.2} ns  {:.3} of bare", batch / bare);
    println!("the public way            {boxed:7.2} ns  {:.2} times ours (bar: 2.5)", boxed / event.min(batch));
    println!("native={native} bare={bare} event={event} batch={batch} public={boxed}");
}
