//! `wasm_bpf_buffer_poll`: each record is copied to the guest's buffer and its callback is called, once a record.
//!
//! Ring buffers are delivered by compiled guest code ([`Delivery`]), perf buffers by a call into the guest for each record.

use std::{ops::ControlFlow, os::fd::AsFd as _, sync::Arc, time::Duration};

use skep_abi::program::{BUFFER_POLL, INTERRUPTED};
use skep_error::{Error, Kind};
use wasmtime::{Caller, Func, Memory, TypedFunc};

use super::{
    delivery::{Delivery, Destination, Ran},
    host::{Reader, State, errno},
    kernel::{Buffer, Map, Polled},
};
use crate::{memory::GuestMemory, trap, wasi::Ended};

const CALL: &str = BUFFER_POLL.name;
/// What a timeout of 0 or less means.
const DEFAULT_TIMEOUT: Duration = Duration::from_millis(100);
/// Polls answered with `EINTR` before a guest that goes on polling is ended.
const PATIENCE: u32 = 3;

type Callback = TypedFunc<(i32, i32, i32), i32>;

/// What a guest gives with a poll.
#[derive(Clone, Copy)]
pub(super) struct Poll {
    pub(super) object: i64,
    pub(super) map: i32,
    /// Index of the callback in the guest's table; `None` for the exported one of TinyGo's form.
    pub(super) function: Option<i32>,
    pub(super) ctx: i32,
    pub(super) data: i32,
    pub(super) max: i32,
    pub(super) timeout_ms: i32,
}

pub(super) fn poll(mut caller: Caller<'_, State>, args: Poll) -> wasmtime::Result<i32> {
    // First of all, as it looks up what the guest exports where this is its first call.
    if let Err(errno) = check_buffer(&mut caller, args)? {
        return Ok(errno);
    }
    let callback = match callback(&mut caller, args.function) {
        Ok(callback) => callback,
        Err(error) => return Ok(caller.data_mut().host.fail(CALL, error)),
    };
    let mut reader = match take_reader(&mut caller, args) {
        Ok(reader) => reader,
        Err(error) => return Ok(caller.data_mut().host.fail(CALL, error)),
    };
    // What the guest has printed is seen while it waits.
    caller.data_mut().wasi.flush();
    let result = match &mut reader {
        Reader::Ring(delivery) => deliver_ring(&mut caller, callback.func(), delivery, args),
        Reader::Idle(buffer) => deliver(&mut caller, &callback, buffer.as_mut(), args),
        Reader::Closed | Reader::Busy => Ok(Delivered::Failed(rustix::io::Errno::BUSY)),
    };
    caller.data_mut().host.return_reader(args.map, reader);
    Delivery::close_retired(&mut caller);
    match result? {
        Delivered::All(Polled::Stopped) => interrupted(&mut caller),
        Delivered::All(_) => Ok(0),
        Delivered::BrokenOff(result) => Ok(result),
        Delivered::Failed(number) => Ok(errno(number)),
    }
}

/// A guest that polls after it was asked to end is told so a few times, and then ended.
pub(super) fn interrupted(caller: &mut Caller<'_, State>) -> wasmtime::Result<i32> {
    let host = &mut caller.data_mut().host;
    host.interrupted += 1;
    match host.stop.requested() {
        Some(reason) if host.interrupted > PATIENCE => Err(wasmtime::Error::new(Ended(trap::ended(reason)))),
        _ => Ok(INTERRUPTED),
    }
}

fn callback(caller: &mut Caller<'_, State>, function: Option<i32>) -> Result<Callback, Error> {
    let bad = |why: String| Error::new(Kind::BadInput, why).with_errno(libc::EINVAL);
    let function: Func = match function {
        None => {
            let name = skep_abi::program::TINYGO_CALLBACK.name;
            caller.data().host.tinygo_callback.ok_or_else(|| bad(format!("the guest exports no function {name}")))?
        }
        Some(index) => {
            let table = caller.data().host.table;
            let table = table.ok_or_else(|| {
                bad("the guest exports no table __indirect_function_table".to_owned())
                    .help("build it with -Wl,--export-table")
            })?;
            let entry = table.get(&mut *caller, u64::from(index as u32));
            let entry = entry.and_then(|entry| entry.as_func().flatten().copied());
            entry.ok_or_else(|| bad(format!("the guest's table has no function at {}", index as u32)))?
        }
    };
    function
        .typed(&*caller)
        .map_err(|_| bad(format!("the callback has the type {}, not (i32, i32, i32) -> (i32)", function.ty(&*caller))))
}

/// Refuses a data buffer outside memory before anything is taken from the kernel.
fn check_buffer(caller: &mut Caller<'_, State>, args: Poll) -> wasmtime::Result<Result<(), i32>> {
    let (bytes, state) = super::host::memory_and_state(caller)?;
    let host = &mut state.host;
    let checked = GuestMemory::new(bytes, &host.shared).write(args.data as u32, args.max as u32 as usize).map(drop);
    Ok(checked.map_err(|fault| host.fault(CALL, "the data buffer", fault)))
}

fn take_reader(caller: &mut Caller<'_, State>, args: Poll) -> Result<Reader, Error> {
    let host = &mut caller.data_mut().host;
    host.object(args.object)?;
    let open = host.map(args.map)?;
    if open.object != args.object {
        let message = format!("map {} belongs to another object", open.map.info().name);
        return Err(Error::new(Kind::BadInput, message).with_errno(libc::EBADF));
    }
    match std::mem::replace(&mut open.reader, Reader::Busy) {
        Reader::Closed => {
            let map = open.map.clone();
            let opened = open_reader(caller, args.object, map);
            if opened.is_err() {
                caller.data_mut().host.map(args.map)?.reader = Reader::Closed;
            }
            opened
        }
        Reader::Busy => {
            Err(Error::new(Kind::BadInput, "a poll of this buffer is under way: its callback polls it again")
                .with_errno(libc::EBUSY))
        }
        reader => Ok(reader),
    }
}

fn open_reader(caller: &mut Caller<'_, State>, object: i64, map: Arc<dyn Map + Send + Sync>) -> Result<Reader, Error> {
    if let Some(buffer) = caller.data_mut().host.take_perf_buffer(object, &map.info().name) {
        return Ok(Reader::Idle(buffer));
    }
    if Delivery::suits(&*map) {
        match Delivery::open(caller, map.clone()) {
            Ok(delivery) => return Ok(Reader::Ring(delivery)),
            Err(error) => tracing::info!("records are delivered one call at a time: {error}"),
        }
    }
    map.open_buffer().map(Reader::Idle)
}

enum Delivered {
    All(Polled),
    /// The callback returned this negative number.
    BrokenOff(i32),
    Failed(rustix::io::Errno),
}

fn timeout(args: Poll) -> Duration {
    match args.timeout_ms {
        ..=0 => DEFAULT_TIMEOUT,
        ms => Duration::from_millis(ms as u64),
    }
}

fn deliver_ring(
    caller: &mut Caller<'_, State>,
    callback: &Func,
    delivery: &mut Delivery,
    args: Poll,
) -> wasmtime::Result<Delivered> {
    let stop = caller.data().host.stop.clone();
    let to = Destination { ctx: args.ctx, data: args.data, max: args.max };
    let mut ran = delivery.run(caller, *callback, to)?;
    let mut polled = Polled::Records;
    if ran == Ran::Nothing {
        polled = match delivery.map.wait(stop.as_fd(), timeout(args)) {
            Ok(polled) => polled,
            Err(errno) => return Ok(Delivered::Failed(errno)),
        };
        if polled == Polled::Records {
            ran = delivery.run(caller, *callback, to)?;
        }
    }
    match ran {
        Ran::BrokenOff(result) => Ok(Delivered::BrokenOff(result)),
        // Also after the end was requested: what is there is still delivered.
        _ if stop.requested().is_some() => Ok(Delivered::All(Polled::Stopped)),
        _ => Ok(Delivered::All(polled)),
    }
}

fn deliver(
    caller: &mut Caller<'_, State>,
    callback: &Callback,
    reader: &mut (dyn Buffer + Send),
    args: Poll,
) -> wasmtime::Result<Delivered> {
    let state = caller.data_mut();
    let stop = state.host.stop.clone();
    let Some(memory) = state.host.memory else { return Ok(Delivered::BrokenOff(-libc::EFAULT)) };
    let mut ended = None;
    let mut each = |record: &[u8]| {
        let result = hand_over(caller, memory, callback, record, args);
        match result {
            // Also after the end was requested: what is there is still delivered. A buffer that fills as fast as it is
            // read does not hold the end up for ever: the guest's grace is over then.
            Ok(0..) => ControlFlow::Continue(()),
            other => {
                ended = Some(other);
                ControlFlow::Break(())
            }
        }
    };
    let polled = reader.poll(timeout(args), stop.as_fd(), &mut each);
    match (ended, polled) {
        (Some(result), _) => result.map(Delivered::BrokenOff),
        (None, Ok(_)) if stop.requested().is_some() => Ok(Delivered::All(Polled::Stopped)),
        (None, Ok(polled)) => Ok(Delivered::All(polled)),
        (None, Err(errno)) => Ok(Delivered::Failed(errno)),
    }
}

fn hand_over(
    caller: &mut Caller<'_, State>,
    memory: Memory,
    callback: &Callback,
    record: &[u8],
    args: Poll,
) -> wasmtime::Result<i32> {
    let len = record.len().min(args.max as u32 as usize);
    let start = args.data as u32 as usize;
    // Checked before the poll; memory never shrinks.
    if let Some(place) = memory.data_mut(&mut *caller).get_mut(start..start + len) {
        place.copy_from_slice(&record[..len]);
    }
    callback.call(&mut *caller, (args.ctx, args.data, len as i32))
}
