use std::{
    collections::HashSet,
    io::{ErrorKind, Read as _},
    mem,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use skep_abi::event_context::offset;
use skep_error::{Kind, Result, ResultExt as _};
use skep_event::{
    Frame, Schema, StackTable,
    context::{self, LockKind, STRIDE, tail},
};
use skep_flow::{Fill, Source};

use super::{
    Attach, Collector,
    config::{CollectorOptions, Config, Sums, process_lives},
    counts::Counts,
};
use crate::{Buffer, LoadOptions, Map, Object, Target, symbols::Symbols};

/// How often sums are fetched, losses read and the process looked for. A process may be gone before its stacks are read: what it had mapped
/// is known from when its code was first seen.
const TURN: Duration = Duration::from_millis(100);
/// Frames of a stack at most: `SKEP_MAX_FRAMES`.
const FRAMES: usize = 127;
/// Bytes of `struct skep_stack`.
const STACK: usize = 8 + FRAMES * 8;
/// `enum skep_loss`.
const LOSSES: u32 = 2;

/// What `pthread_cond_wait` and its like are called: who waits there waits for a condition, not for a lock.
const CONDITIONS: [&str; 4] = ["pthread_cond_", "Condvar::wait", "cnd_wait", "cnd_timedwait"];

/// A stack as the kernel took it.
struct Stack {
    id: i64,
    /// 0 for a stack of the kernel.
    pid: u32,
    addresses: Vec<u64>,
}

/// A collector that runs: detached and gone from the kernel when dropped.
pub struct CollectorSource {
    object: Object,
    buffer: Buffer,
    schema: Schema,
    config: Config,
    config_map: Arc<Map>,
    stack_map: Arc<Map>,
    loss_map: Arc<Map>,
    counts: Option<Counts>,
    symbols: Symbols,
    stacks: StackTable,
    /// Stacks of the kernel, whose names do not go away: where nobody looks at them before the end, they are resolved then.
    later: Vec<Stack>,
    fetched: HashSet<i64>,
    /// Stacks that were evicted before they were read.
    evicted: u64,
    /// Records of sums that did not fit into the last buffer.
    pending: Vec<u8>,
    next_turn: Instant,
    lost: u64,
    pid: Option<u32>,
    stopped: bool,
    /// The program that goes through all tasks at the end, where there is one.
    sweep: Option<&'static str>,
    /// Records of what was under way then.
    under_way: u64,
}

impl CollectorSource {
    /// Loads and attaches a collector.
    ///
    /// # Errors
    /// `NotFound` or `Usage` if the options cannot be followed; `Permission`, `Unsupported` or `Kernel` if the kernel does not let it
    /// be loaded or attached.
    pub fn start(collector: Collector, options: &CollectorOptions) -> Result<Self> {
        let doing = || format!("starting the {} collector", collector.name());
        let mut config = Config::new(options)?;
        let mut object = load(collector).context(doing)?;
        let config_map = object.map("config")?;
        write(&config_map, &config).context(doing)?;
        let frequency = options.frequency.to_string();
        let mut sweep = None;
        for (program, attach) in collector.programs() {
            let target = if *attach == Attach::Clock { Target::Named(&frequency) } else { Target::Section };
            match object.attach(program, target) {
                Err(error) if matches!(attach, Attach::Optional | Attach::Sweep) => tracing::warn!("{error}"),
                attached => {
                    attached.context(doing)?;
                    sweep = sweep.or((*attach == Attach::Sweep).then_some(*program));
                }
            }
        }
        config.begin();
        write(&config_map, &config).context(doing)?;
        let counts = match options.sums {
            Sums::None => None,
            Sums::Stacks | Sums::Slots => Some(Counts::new([object.map("counts0")?, object.map("counts1")?])),
        };
        let events = object.map("events")?;
        Ok(Self {
            pid: config.pid(),
            buffer: object.buffer(&events).context(doing)?,
            schema: context::schema_of(collector.name(), options.arguments && collector == Collector::Syscall),
            config_map,
            stack_map: object.map("stacks")?,
            loss_map: object.map("losses")?,
            config,
            counts,
            symbols: Symbols::new(),
            stacks: StackTable::new(),
            later: Vec::new(),
            fetched: HashSet::new(),
            evicted: 0,
            pending: Vec::new(),
            next_turn: Instant::now() + TURN,
            lost: 0,
            stopped: false,
            sweep,
            under_way: 0,
            object,
        })
    }

    /// What is done now and then: sums, losses, whether the process lives. Returns whether it ended.
    fn turn(&mut self) -> Result<bool> {
        if self.next_turn > Instant::now() || self.stopped {
            return Ok(false);
        }
        self.next_turn = Instant::now() + TURN;
        if let Some(counts) = &mut self.counts {
            // The idle map was active a turn ago: no program that began then still runs.
            counts.drain_idle(&mut self.pending)?;
            let active = counts.turn();
            self.config.set_active(active);
            write(&self.config_map, &self.config)?;
        }
        self.lost = self.count_losses()?;
        Ok(self.pid.is_some_and(|pid| !process_lives(pid)))
    }

    /// Goes through all tasks: what is under way still comes as records.
    fn sweep(&mut self) -> Result<()> {
        let Some(program) = self.sweep.take() else { return Ok(()) };
        let mut iterator = self.object.iterate(program)?;
        let mut nothing = [0; 64];
        loop {
            match iterator.read(&mut nothing) {
                Ok(0) => return Ok(()),
                // After a million tasks the kernel wants to be asked again.
                Err(error) if !matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {
                    return Err(error).context(|| "looking for what is under way still");
                }
                _ => {}
            }
        }
    }

    fn count_losses(&self) -> Result<u64> {
        let mut lost = self.object.dropped()?.unwrap_or(0) + self.buffer.lost() + self.evicted;
        let mut value = vec![0; self.loss_map.info().user_value_size];
        for index in 0..LOSSES {
            let read = self.loss_map.lookup(&index.to_le_bytes(), &mut value, 0);
            read.map_err(|errno| errno.into_error().with_kind(Kind::Kernel).context("reading the losses"))?;
            let (per_cpu, _) = value.as_chunks::<8>();
            lost += per_cpu.iter().map(|count| u64::from_le_bytes(*count)).sum::<u64>();
        }
        Ok(lost)
    }

    /// Fetches the stacks that records name for the first time, and resolves them while their processes live; those of one process
    /// together.
    fn learn_stacks(&mut self, records: &mut [u8]) {
        let number = |record: &[u8], at: usize| i64::from_le_bytes(record[at..at + 8].try_into().unwrap_or_default());
        let mut new = Vec::new();
        for record in records.chunks_exact(STRIDE) {
            for at in [offset::USER_STACK_ID, offset::KERNEL_STACK_ID] {
                let id = number(record, at);
                if id >= 0 && self.fetched.insert(id) {
                    match self.fetch(id) {
                        Some(stack) if stack.pid == 0 && self.counts.is_some() => self.later.push(stack),
                        Some(stack) => new.push(stack),
                        None => {
                            self.evicted += 1;
                            // It may come again.
                            self.fetched.remove(&id);
                        }
                    }
                }
            }
        }
        self.resolve(new);
        self.tell_conditions(records);
    }

    /// Marks waits for a condition variable, by the stack or by the callers that the program found. Those were for this alone, and go.
    fn tell_conditions(&mut self, records: &mut [u8]) {
        let is = |record: &[u8], at: usize, value: u32| record[at..at + 4] == value.to_le_bytes();
        for record in records.chunks_exact_mut(STRIDE) {
            if !is(record, offset::EVENT_TYPE, 1)
                || record[tail::LOCK_KIND..][..2] != (LockKind::Futex as u16).to_le_bytes()
            {
                continue;
            }
            let (callers, _) = record[tail::ARGS..].as_chunks::<8>();
            let callers: Vec<u64> =
                callers.iter().map(|word| u64::from_le_bytes(*word)).filter(|word| *word != 0).collect();
            let pid = u32::from_le_bytes(record[offset::PID..offset::PID + 4].try_into().unwrap_or_default());
            let user = i64::from_le_bytes(record[offset::USER_STACK_ID..][..8].try_into().unwrap_or_default());
            if self.is_condition(user) || self.symbols.resolve(pid, &callers).iter().any(waits_for_condition) {
                record[tail::LOCK_KIND..][..2].copy_from_slice(&(LockKind::Condition as u16).to_le_bytes());
            }
            record[tail::ARGS..].fill(0);
        }
    }

    /// `None` if it was evicted before it was read: the record keeps the id, and what it stood for is lost.
    fn fetch(&self, id: i64) -> Option<Stack> {
        let mut value = [0; STACK];
        self.stack_map.lookup(&id.to_le_bytes(), &mut value, 0).ok()?;
        let word = |at: usize| u32::from_le_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]]);
        let (frames, pid) = ((word(0) as usize).min(FRAMES), word(4));
        let (addresses, _) = value[8..8 + frames * 8].as_chunks::<8>();
        let addresses = addresses.iter().map(|ip| u64::from_le_bytes(*ip)).filter(|ip| *ip != 0).collect();
        Some(Stack { id, pid, addresses })
    }

    fn resolve(&mut self, stacks: Vec<Stack>) {
        self.symbols.learn_all(stacks.iter().map(|stack| (stack.pid, stack.addresses.as_slice())));
        for stack in stacks {
            let mut frames = self.symbols.resolve(stack.pid, &stack.addresses);
            // Of a kernel stack the innermost frames are those of the collector itself.
            let own = frames.iter().take_while(|frame| is_own(frame)).count();
            frames.drain(..own);
            self.stacks.insert(stack.id, frames);
        }
    }

    fn is_condition(&self, user_stack: i64) -> bool {
        let Some(frames) = self.stacks.get(user_stack) else { return false };
        // The wait is a few frames above the system call.
        frames.iter().take(8).any(waits_for_condition)
    }
}

/// The process that a record tells of, if it is no event but says that code of a process is seen for the first time: `SKEP_SEEN`.
fn seen(record: &[u8]) -> Option<u32> {
    let word = |at: usize| record.get(at..at + 4)?.try_into().map(u32::from_le_bytes).ok();
    word(offset::PID).filter(|_| word(offset::EVENT_TYPE) == Some(u32::MAX))
}

/// Loads a collector. A kernel that does not take the program for the end takes the others alone.
fn load(collector: Collector) -> Result<Object> {
    let load = |best_effort| Object::load(collector.object(), &LoadOptions { best_effort, ..LoadOptions::default() });
    load(false).or_else(|error| {
        let is_sweep =
            |name: &str| collector.programs().iter().any(|(program, at)| *program == name && *at == Attach::Sweep);
        let without = load(true).ok().filter(|object| object.left_out().iter().all(|left| is_sweep(&left.program)));
        without.ok_or(error)
    })
}

fn waits_for_condition(frame: &Frame) -> bool {
    CONDITIONS.iter().any(|name| frame.name.contains(name))
}

/// What the kernel calls on the way to a collector's program.
fn is_own(frame: &Frame) -> bool {
    const OWN: [&str; 5] = ["bpf_prog_", "bpf_trace_run", "__bpf_trace_", "__traceiter_", "__bpf_prog_"];
    frame.kernel && OWN.iter().any(|start| frame.name.starts_with(start))
}

fn write(map: &Map, config: &Config) -> Result<()> {
    map.update(&0u32.to_le_bytes(), config.bytes(), 0)
        .map_err(|errno| errno.into_error().with_kind(Kind::Kernel).context("telling the collector what to collect"))
}

impl Source for CollectorSource {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn fill(&mut self, buffer: &mut [u8], wait: Duration) -> Result<Fill> {
        let ended = self.turn()?;
        if ended {
            self.stop()?;
        }
        let room = buffer.len() / STRIDE;
        let mut records = (self.pending.len() / STRIDE).min(room);
        buffer[..records * STRIDE].copy_from_slice(&self.pending[..records * STRIDE]);
        self.pending.drain(..records * STRIDE);
        let taken = records;
        if records < room {
            let wait = if records > 0 || self.stopped { Duration::ZERO } else { wait.min(TURN) };
            let slots = &mut buffer[records * STRIDE..];
            let mut slots = slots.chunks_exact_mut(STRIDE);
            let (mut unfinished, symbols) = (0, &mut self.symbols);
            let mut each = |record: &[u8]| {
                if let Some(pid) = seen(record) {
                    symbols.see(pid);
                } else if let (Some(slot), Some(record)) = (slots.next(), record.get(..STRIDE)) {
                    slot.copy_from_slice(record);
                    records += 1;
                    unfinished += u64::from(record[tail::UNFINISHED]);
                }
                // libbpf has taken the record that breaks off: stop with the one that fills the last slot.
                if slots.len() == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let polled = self.buffer.poll(wait, None, &mut each);
            polled.map_err(|errno| errno.into_error().with_kind(Kind::Kernel).context("reading events"))?;
            self.under_way += unfinished;
        }
        let end = self.stopped && self.pending.is_empty() && records == taken;
        self.learn_stacks(&mut buffer[..records * STRIDE]);
        if end {
            let later = mem::take(&mut self.later);
            self.resolve(later);
            self.lost = self.count_losses()?;
        }
        Ok(Fill { records, end })
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn under_way(&self) -> u64 {
        self.under_way
    }

    fn sums(&self) -> bool {
        self.counts.is_some()
    }

    fn stacks(&self) -> StackTable {
        self.stacks.clone()
    }

    fn stop(&mut self) -> Result<bool> {
        if !self.stopped {
            // Before the others stop: who ends a wait in between finds it taken, and says nothing of it again.
            self.sweep()?;
            self.stopped = true;
            self.config.stop();
            write(&self.config_map, &self.config)?;
            if let Some(counts) = &self.counts {
                counts.drain_all(&mut self.pending)?;
            }
            self.lost = self.count_losses()?;
        }
        Ok(true)
    }
}
