//! Module `skep_bpf`: maps in the guest's own memory.
//!
//! From a successful `map_mmap` on, the guest reads what the kernel writes with plain loads: no call, no copy.

use std::time::Duration;

use skep_abi::program::{SHARED_INFO, SHARED_LOAD, SHARED_MAP, SHARED_UNMAP, SHARED_WAIT, SHARED_WRITE};
use skep_error::{Error, Kind, Result};
use wasmtime::Caller;

use super::{
    host::{Host, State, errno, memory_and_state},
    kernel::{MapInfo, Polled},
    objects,
};
use crate::memory::{GuestMemory, PAGE, Placement};

pub(super) fn map(
    mut caller: Caller<'_, State>,
    handle: i32,
    address: i32,
    len: i32,
    offset: i64,
    flags: i32,
) -> wasmtime::Result<i32> {
    let call = SHARED_MAP.name;
    let (bytes, state) = memory_and_state(&mut caller)?;
    let host = &mut state.host;
    let (map, object) = match host.map(handle) {
        Ok(open) => (open.map.clone(), open.object),
        Err(error) => return Ok(host.fail(call, error)),
    };
    let info = map.info();
    let end = (offset as u64).checked_add(u64::from(len as u32));
    if flags & !SHARED_WRITE != 0 {
        let error = Error::new(Kind::BadInput, format!("flags {flags:#x} are not known")).with_errno(libc::EINVAL);
        return Ok(host.fail(call, error.help("0 maps it for reading, 1 also for writing")));
    }
    if info.mappable == 0 || end.is_none_or(|end| end > info.mappable) {
        let error = match info.mappable {
            0 => Error::new(Kind::BadInput, format!("map {} cannot be mapped", info.name))
                .help("an array made with BPF_F_MMAPABLE and a ring buffer can be mapped; other maps are looked up"),
            size => Error::new(
                Kind::BadInput,
                format!("map {} shows {size} bytes, and those asked for lie outside", info.name),
            ),
        };
        return Ok(host.fail(call, error.with_errno(libc::EINVAL)));
    }
    if info.kind == MapInfo::ARENA {
        // The kernel lets an arena be mapped at its own address alone.
        let error = Error::new(Kind::BadInput, format!("arena {} was placed when its object was loaded", info.name))
            .with_errno(libc::EINVAL)
            .help("load the object with load_object_at to have its arena in the guest's memory");
        return Ok(host.fail(call, error));
    }
    let writable = flags & SHARED_WRITE != 0;
    let (address, len) = (address as u32, len as u32);
    let place = Placement { address, len, offset: offset as u64, writable, owner: object };
    let mapped = host.shared.map(bytes, map.descriptor(), place);
    Ok(mapped.map_or_else(|number| host.fail(call, refused_range(number, address, len)), |()| 0))
}

pub(super) fn unmap(mut caller: Caller<'_, State>, address: i32, len: i32) -> wasmtime::Result<i32> {
    let (bytes, state) = memory_and_state(&mut caller)?;
    let host = &mut state.host;
    let (address, len) = (address as u32, len as u32);
    let unmapped = host.shared.unmap(bytes, address, len);
    Ok(unmapped.map_or_else(
        |number| {
            let error = Error::os(number.raw_os_error())
                .with_kind(Kind::BadInput)
                .context(format!("no mapping is exactly {len} bytes at {address:#x}"));
            host.fail(SHARED_UNMAP.name, error)
        },
        |()| 0,
    ))
}

fn refused_range(number: rustix::io::Errno, address: u32, len: u32) -> Error {
    use rustix::io::Errno;
    let error = Error::os(number.raw_os_error())
        .with_kind(Kind::BadInput)
        .context(format!("mapping {len} bytes at {address:#x} of the guest's memory"));
    match number {
        Errno::INVAL => error.help(format!("address, length and offset must be multiples of {PAGE}, the length not 0")),
        Errno::FAULT => error.help("grow the memory first: the whole range must lie in it"),
        Errno::EXIST => error.help("the range overlaps one that shows a map already"),
        Errno::PERM | Errno::ACCESS => error.help("this part of the map may only be read: map it without writing"),
        _ => error,
    }
}

pub(super) fn info(mut caller: Caller<'_, State>, handle: i32, at: i32) -> wasmtime::Result<i32> {
    let (bytes, state) = memory_and_state(&mut caller)?;
    let host = &mut state.host;
    let map = match host.map(handle) {
        Ok(open) => open.map.clone(),
        Err(error) => return Ok(host.fail(SHARED_INFO.name, error)),
    };
    let info = map.info();
    let words = [
        info.kind,
        info.key_size,
        info.value_size,
        info.max_entries,
        info.flags,
        info.mappable as u32,
        (info.mappable >> 32) as u32,
    ];
    let written = GuestMemory::new(bytes, &host.shared).write(at as u32, size_of_val(&words)).map(|place| {
        for (place, word) in place.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    });
    Ok(written.map_or_else(|fault| host.fault(SHARED_INFO.name, "the place for the answer", fault), |()| 0))
}

pub(super) fn wait(mut caller: Caller<'_, State>, handle: i32, timeout_ms: i32) -> wasmtime::Result<i32> {
    let state = caller.data_mut();
    state.wasi.flush();
    let host = &mut state.host;
    let map = match host.map(handle) {
        Ok(open) => open.map.clone(),
        Err(error) => return Ok(host.fail(SHARED_WAIT.name, error)),
    };
    if map.info().kind != MapInfo::RINGBUF {
        let error = Error::new(Kind::BadInput, format!("map {} is no ring buffer", map.info().name));
        return Ok(host.fail(SHARED_WAIT.name, error.with_errno(libc::EINVAL)));
    }
    let stop = host.stop.clone();
    let timeout = Duration::from_millis(timeout_ms.max(0) as u64);
    match map.wait(std::os::fd::AsFd::as_fd(&stop), timeout) {
        Ok(Polled::Records) => Ok(1),
        Ok(Polled::TimedOut) => Ok(0),
        Ok(Polled::Stopped) => super::poll::interrupted(&mut caller),
        Err(number) => Ok(errno(number)),
    }
}

pub(super) fn load_at(caller: Caller<'_, State>, buf: i32, len: i32, arena: i32) -> wasmtime::Result<i64> {
    objects::load_from(caller, SHARED_LOAD.name, buf, len, Some(arena as u32))
}

/// Loads an object whose arena lies at `address` of linear memory, and maps it there. An arena's pointers are addresses of
/// this process; because a memory starts at a multiple of 4 GiB, their low half is the guest's own address.
pub(super) fn load_with_arena(bytes: &mut [u8], host: &mut Host, elf: &[u8], address: u32) -> Result<i64> {
    host.shared.vacant(bytes, address, PAGE as u32).map_err(|number| refused_range(number, address, PAGE as u32))?;
    let base = bytes.as_ptr().addr() as u64;
    let object = host.kernel.load(elf, Some(base + u64::from(address)))?;
    let arena = object.arena().ok_or_else(|| Error::new(Kind::BadInput, "the object has no arena to place"))?;
    let globals = object.arena_globals().map(|(offset, values)| (offset, values.to_vec()));
    let handle = host.add_object(object);
    let size = arena.info().mappable;
    let mapped = match u32::try_from(size) {
        Ok(len) => {
            let place = Placement { address, len, offset: 0, writable: true, owner: handle };
            host.shared.map(bytes, arena.descriptor(), place)
        }
        Err(_) => Err(rustix::io::Errno::FAULT),
    };
    mapped.map_err(|number| {
        let _ = host.close(handle);
        refused_range(number, address, size as u32)
    })?;
    if let Some((offset, values)) = globals {
        // Nothing is attached yet: no program has seen them.
        let outside = || Error::new(Kind::Internal, "the arena's globals lie outside it");
        let at = u32::try_from(u64::from(address) + offset).map_err(|_| outside())?;
        let mut memory = GuestMemory::new(bytes, &host.shared);
        memory.write(at, values.len()).map_err(|_| outside())?.copy_from_slice(&values);
    }
    Ok(handle)
}
