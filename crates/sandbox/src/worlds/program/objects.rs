//! Loading, closing and attaching objects, reading their iterators, and finding their maps.

use std::io::{ErrorKind, Read};

use skep_error::{Error, Kind, ResultExt as _};
use wasmtime::Caller;

use super::{
    delivery::Delivery,
    host::{Host, State, memory_and_state, read_name},
    kernel::Target,
};
use crate::{memory::GuestMemory, stop::Stop};

/// An object longer than this is not read.
const LARGEST_OBJECT: usize = 64 << 20;

pub(super) fn load(caller: Caller<'_, State>, buf: i32, len: i32) -> wasmtime::Result<i64> {
    load_from(caller, skep_abi::program::LOAD.name, buf, len, None)
}

/// Loads an object; its arena, if `arena` is given, at that address of linear memory. A handle, or 0.
pub(super) fn load_from(
    mut caller: Caller<'_, State>,
    call: &'static str,
    buf: i32,
    len: i32,
    arena: Option<u32>,
) -> wasmtime::Result<i64> {
    let (bytes, state) = memory_and_state(&mut caller)?;
    let host = &mut state.host;
    let elf = match GuestMemory::new(bytes, &host.shared).read_capped(buf as u32, len as u32, LARGEST_OBJECT) {
        Ok(elf) => elf.to_vec(),
        Err(fault) => {
            host.fault(call, "the eBPF object", fault);
            return Ok(0);
        }
    };
    if !host.has_room_for_object() {
        let error =
            Error::new(Kind::Refused, "the guest has too many objects open; close some").with_errno(libc::EMFILE);
        host.fail(call, error);
        return Ok(0);
    }
    let loaded = match arena {
        None => host.kernel.load(&elf, None).map(|object| host.add_object(object)),
        Some(address) => super::shared::load_with_arena(bytes, host, &elf, address),
    };
    Ok(match loaded {
        Ok(handle) => {
            tracing::info!("object {handle}: loaded from {} bytes", elf.len());
            handle
        }
        Err(error) => {
            host.fail(call, error);
            0
        }
    })
}

pub(super) fn close(mut caller: Caller<'_, State>, object: i64) -> wasmtime::Result<i32> {
    let call = skep_abi::program::CLOSE.name;
    let (bytes, state) = memory_and_state(&mut caller)?;
    let host = &mut state.host;
    if let Err(errno) = host.shared.unmap_all(bytes, object) {
        let error = Error::os(errno.raw_os_error()).context("ending the mappings of the object's maps");
        host.fail(call, error);
    }
    let closed = host.close(object);
    Delivery::close_retired(&mut caller);
    match closed {
        Ok(()) => {
            tracing::info!("object {object}: closed");
            Ok(0)
        }
        Err(error) => {
            caller.data_mut().host.fail(call, error);
            Ok(-1)
        }
    }
}

pub(super) fn attach(mut caller: Caller<'_, State>, object: i64, name: i32, target: i32) -> wasmtime::Result<i32> {
    let call = skep_abi::program::ATTACH.name;
    let (bytes, state) = memory_and_state(&mut caller)?;
    let host = &mut state.host;
    let names = read_name(bytes, host, call, "the program's name", name).and_then(|name| match target {
        0 => Ok((name, String::new())),
        _ => Ok((name, read_name(bytes, host, call, "the target", target)?)),
    });
    let (name, target) = match names {
        Ok(names) => names,
        Err(errno) => return Ok(errno),
    };
    let target = if target.is_empty() { Target::Section } else { Target::Named(&target) };
    Ok(attach_to(host, call, object, &name, target))
}

pub(super) fn attach_fd(mut caller: Caller<'_, State>, object: i64, name: i32, fd: i32) -> wasmtime::Result<i32> {
    let call = skep_abi::program::ATTACH_FD.name;
    let (bytes, state) = memory_and_state(&mut caller)?;
    let State { host, wasi, .. } = state;
    let name = match read_name(bytes, host, call, "the program's name", name) {
        Ok(name) => name,
        Err(errno) => return Ok(errno),
    };
    let target = match fd {
        ..0 => Target::Section,
        _ => match wasi.preopen(fd) {
            Some(directory) => Target::Directory(directory),
            None => {
                let error = Error::new(Kind::BadInput, format!("descriptor {fd} is no preopened directory"))
                    .with_errno(libc::EBADF)
                    .help("give the guest the cgroup's directory with --dir");
                return Ok(host.fail(call, error));
            }
        },
    };
    Ok(attach_to(host, call, object, &name, target))
}

fn attach_to(host: &mut Host, call: &'static str, object: i64, program: &str, target: Target<'_>) -> i32 {
    host.open_perf_buffers(object);
    match host.object(object).and_then(|object| object.attach(program, target)) {
        Ok(()) => {
            match target {
                Target::Section => tracing::info!("object {object}: {program:?} is attached"),
                Target::Named(place) => tracing::info!("object {object}: {program:?} is attached to {place:?}"),
                Target::Directory(_) => tracing::info!("object {object}: {program:?} is attached to a directory"),
            }
            0
        }
        Err(error) => host.fail(call, error),
    }
}

/// Reads on in what an iterator prints: bytes, or 0 at its end.
pub(super) fn read_iterator(
    mut caller: Caller<'_, State>,
    object: i64,
    name: i32,
    buf: i32,
    len: i32,
) -> wasmtime::Result<i32> {
    let call = skep_abi::program::ITER_READ.name;
    let (bytes, state) = memory_and_state(&mut caller)?;
    let host = &mut state.host;
    let name = match read_name(bytes, host, call, "the program's name", name) {
        Ok(name) => name,
        Err(errno) => return Ok(errno),
    };
    let stop = host.stop.clone();
    let mut iterator = match host.take_iterator(object, &name) {
        Ok(iterator) => iterator,
        Err(error) => return Ok(host.fail(call, error)),
    };
    // The result is an i32.
    let len = (len as u32).min(i32::MAX as u32) as usize;
    let read = match GuestMemory::new(bytes, &host.shared).write(buf as u32, len) {
        // Nothing read would look like the end.
        Ok([]) => Err(Error::new(Kind::BadInput, "the buffer has no room").with_errno(libc::EINVAL)),
        Ok(place) => read_some(&mut *iterator, place, &stop).context(|| format!("reading the iterator {name}")),
        Err(fault) => {
            host.keep_iterator(object, name, iterator);
            return Ok(host.fault(call, "the buffer", fault));
        }
    };
    if !matches!(read, Ok(0)) {
        host.keep_iterator(object, name, iterator);
    }
    Ok(read.map_or_else(|error| host.fail(call, error), |bytes| bytes as i32))
}

/// One read. The kernel interrupts itself (`EAGAIN`) after a million objects that an iterator's program skipped.
fn read_some(iterator: &mut dyn Read, place: &mut [u8], stop: &Stop) -> std::io::Result<usize> {
    loop {
        match iterator.read(place) {
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
                    && stop.requested().is_none() => {}
            read => return read,
        }
    }
}

pub(super) fn map_fd(mut caller: Caller<'_, State>, object: i64, name: i32) -> wasmtime::Result<i32> {
    let call = skep_abi::program::MAP_FD.name;
    let (bytes, state) = memory_and_state(&mut caller)?;
    let host = &mut state.host;
    let name = match read_name(bytes, host, call, "the map's name", name) {
        Ok(name) => name,
        Err(errno) => return Ok(errno),
    };
    Ok(host.open_map(object, &name).unwrap_or_else(|error| host.fail(call, error)))
}
