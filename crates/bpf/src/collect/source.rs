use std::{
    ops::ControlFlow,
    rc::Rc,
    time::{Duration, Instant},
};

use skep_abi::event_context::offset;
use skep_error::{Kind, Result, ResultExt as _};
use skep_event::{
    Schema, StackTable,
    context::{self, LockKind, STRIDE, tail},
};
use skep_flow::{Fill, Source};

use super::{
    Attach, Collector,
    config::{CollectorOptions, Config, process_exists},
    counts::Counts,
};
use crate::{Buffer, LoadOptions, Map, Object, Target, symbols::Symbols};

/// How often sums are fetched, losses read and the process looked for.
const TURN: Duration = Duration::from_millis(250);
/// Frames of a stack at most: `SKEP_MAX_FRAMES`.
const FRAMES: usize = 127;
/// Bytes of `struct skep_stack`.
const STACK: usize = 8 + FRAMES * 8;
/// `enum skep_loss`.
const LOSSES: u32 = 2;

/// What `pthread_cond_wait` and its like are called: who waits there waits for a condition, not for a lock.
const CONDITIONS: [&str; 4] = ["pthread_cond_", "Condvar::wait", "cnd_wait", "cnd_timedwait"];

/// A collector that runs: detached and gone from the kernel when dropped.
pub struct CollectorSource {
    object: Object,
    buffer: Buffer,
    schema: Schema,
    config: Config,
    config_map: Rc<Map>,
    stack_map: Rc<Map>,
    loss_map: Rc<Map>,
    counts: Option<Counts>,
    symbols: Symbols,
    stacks: StackTable,
    /// Records of sums that did not fit into the last buffer.
    pending: Vec<u8>,
    next_turn: Instant,
    lost: u64,
    pid: Option<u32>,
    stopped: bool,
}

impl CollectorSource {
    /// Loads and attaches a collector.
    ///
    /// # Errors
    /// `NotFound` or `Usage` if the options cannot be followed; `Permission`, `Unsupported` or `Kernel` if the kernel does not let it
    /// be loaded or attached.
    pub fn start(collector: Collector, options: &CollectorOptions) -> Result<Self> {
        let doing = || format!("starting the {} collector", collector.name());
        let config = Config::new(options)?;
        let mut object = Object::load(collector.object(), &LoadOptions::default()).context(doing)?;
        let config_map = object.map("config")?;
        write(&config_map, &config).context(doing)?;
        let frequency = options.frequency.to_string();
        for (program, attach) in collector.programs() {
            let target = if *attach == Attach::Clock { Target::Named(&frequency) } else { Target::Section };
            match object.attach(program, target) {
                Err(error) if *attach == Attach::Optional => tracing::warn!("{error}"),
                attached => attached.context(doing)?,
            }
        }
        let counts = match options.aggregate {
            true => Some(Counts::new([object.map("counts0")?, object.map("counts1")?])),
            false => None,
        };
        let events = object.map("events")?;
        Ok(Self {
            buffer: object.buffer(&events).context(doing)?,
            schema: context::schema(),
            config_map,
            stack_map: object.map("stacks")?,
            loss_map: object.map("losses")?,
            config,
            counts,
            symbols: Symbols::new(),
            stacks: StackTable::new(),
            pending: Vec::new(),
            next_turn: Instant::now() + TURN,
            lost: 0,
            pid: options.pid,
            stopped: false,
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
        Ok(self.pid.is_some_and(|pid| !process_exists(pid)))
    }

    fn count_losses(&self) -> Result<u64> {
        let mut lost = self.object.dropped()?.unwrap_or(0) + self.buffer.lost();
        let mut value = vec![0; self.loss_map.info().user_value_size];
        for index in 0..LOSSES {
            let read = self.loss_map.lookup(&index.to_le_bytes(), &mut value, 0);
            read.map_err(|errno| errno.into_error().with_kind(Kind::Kernel).context("reading the losses"))?;
            let (per_cpu, _) = value.as_chunks::<8>();
            lost += per_cpu.iter().map(|count| u64::from_le_bytes(*count)).sum::<u64>();
        }
        Ok(lost)
    }

    /// Fetches and resolves the stacks that records name for the first time, while their processes live.
    fn learn_stacks(&mut self, records: &mut [u8]) {
        for record in records.chunks_exact_mut(STRIDE) {
            let number = |at: usize| i64::from_le_bytes(record[at..at + 8].try_into().unwrap_or_default());
            let (user, kernel) = (number(offset::USER_STACK_ID), number(offset::KERNEL_STACK_ID));
            for id in [user, kernel] {
                if id >= 0 && !self.stacks.contains(id) {
                    self.learn_stack(id);
                }
            }
            let is = |at: usize, value: u32| record[at..at + 4] == value.to_le_bytes();
            if is(offset::EVENT_TYPE, 1) && is(tail::LOCK_KIND, LockKind::Futex as u32) && self.is_condition(user) {
                record[tail::LOCK_KIND..tail::LOCK_KIND + 4]
                    .copy_from_slice(&(LockKind::Condition as u32).to_le_bytes());
            }
        }
    }

    fn learn_stack(&mut self, id: i64) {
        let mut value = [0; STACK];
        // Evicted before it was read: the record keeps the id, and what it stood for is lost.
        if self.stack_map.lookup(&id.to_le_bytes(), &mut value, 0).is_err() {
            return;
        }
        let word = |at: usize| u32::from_le_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]]);
        let (frames, pid) = ((word(0) as usize).min(FRAMES), word(4));
        let (addresses, _) = value[8..8 + frames * 8].as_chunks::<8>();
        let addresses: Vec<u64> = addresses.iter().map(|ip| u64::from_le_bytes(*ip)).filter(|ip| *ip != 0).collect();
        self.stacks.insert(id, self.symbols.resolve(pid, &addresses));
    }

    fn is_condition(&self, user_stack: i64) -> bool {
        let Some(frames) = self.stacks.get(user_stack) else { return false };
        // The wait is a few frames above the system call.
        frames.iter().take(8).any(|frame| CONDITIONS.iter().any(|name| frame.name.contains(name)))
    }
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
            let mut each = |record: &[u8]| {
                if let (Some(slot), Some(record)) = (slots.next(), record.get(..STRIDE)) {
                    slot.copy_from_slice(record);
                    records += 1;
                }
                // libbpf has taken the record that breaks off: stop with the one that fills the last slot.
                if slots.len() == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let polled = self.buffer.poll(wait, None, &mut each);
            polled.map_err(|errno| errno.into_error().with_kind(Kind::Kernel).context("reading events"))?;
        }
        let end = self.stopped && self.pending.is_empty() && records == taken;
        self.learn_stacks(&mut buffer[..records * STRIDE]);
        Ok(Fill { records, end })
    }

    fn lost(&self) -> u64 {
        self.lost
    }

    fn stacks(&self) -> StackTable {
        self.stacks.clone()
    }

    fn stop(&mut self) -> Result<bool> {
        if !self.stopped {
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
