//! The functions that a plugin may be granted; only those of its admission are linked.

use std::sync::LazyLock;
use std::time::Instant;

use skep_abi::{Func, hooks};
use skep_error::{Error, Kind, Result};
use wasmtime::{AsContextMut as _, Caller, Linker};

use super::{Services, instance::Host};
use crate::{GuestMemory, SharedRegions};

type Call<'a> = Caller<'a, Host>;

/// Bytes of the longest line, name or path that is taken.
const MAX_TEXT: usize = 4096;
/// Bytes that one file call moves at most.
const MAX_IO: usize = 1 << 20;
/// The largest key or value that a map call copies.
const MAX_VALUE: usize = 1 << 20;

/// Runs `body` with the guest's memory and what it is lent.
fn with<T>(
    mut call: Call<'_>,
    body: impl FnOnce(&mut GuestMemory<'_>, &mut Services) -> wasmtime::Result<T>,
) -> wasmtime::Result<T> {
    let Some(memory) = call.data().memory else {
        return Err(wasmtime::Error::msg("called before the memory is there"));
    };
    let (bytes, host) = memory.data_and_store_mut(call.as_context_mut());
    body(&mut GuestMemory::new(bytes, &SharedRegions::default()), &mut host.services)
}

fn text<'a>(memory: &'a GuestMemory<'_>, at: i32, len: i32) -> wasmtime::Result<&'a str> {
    let bytes = memory.read_capped(at.cast_unsigned(), len.cast_unsigned(), MAX_TEXT).map_err(fault)?;
    std::str::from_utf8(bytes).map_err(|_| wasmtime::Error::msg("a text that is not UTF-8 was passed"))
}

fn fault(fault: crate::Fault) -> wasmtime::Error {
    wasmtime::Error::msg(fault.to_string())
}

/// A count or handle, or the negative errno.
fn number(result: Result<u32, i32>) -> i32 {
    result.map_or_else(|errno| -errno, |value| i32::try_from(value).unwrap_or(i32::MAX))
}

fn done(result: Result<(), i32>) -> i32 {
    number(result.map(|()| 0))
}

/// Links what was granted.
pub(super) fn define(linker: &mut Linker<Host>, granted: &[&'static Func]) -> Result<()> {
    for func in granted {
        define_one(linker, func)
            .map_err(|error| Error::new(Kind::Internal, format!("{error:#}")).context("defining the imports"))?;
    }
    Ok(())
}

fn define_one(linker: &mut Linker<Host>, func: &Func) -> wasmtime::Result<()> {
    let (module, name) = (func.module, func.name);
    match *func {
        hooks::LOG_LINE => linker.func_wrap(module, name, |call: Call<'_>, level: i32, at: i32, len: i32| {
            with(call, |memory, services| {
                let bytes = memory.read_capped(at.cast_unsigned(), len.cast_unsigned(), MAX_TEXT).map_err(fault)?;
                services.log(level.cast_unsigned(), &String::from_utf8_lossy(bytes));
                Ok(())
            })
        }),
        hooks::CLOCK_MONOTONIC => linker.func_wrap(module, name, || now(rustix::time::ClockId::Monotonic)),
        hooks::CLOCK_REALTIME => linker.func_wrap(module, name, || now(rustix::time::ClockId::Realtime)),
        hooks::METRIC_ADD => linker.func_wrap(module, name, |call: Call<'_>, at: i32, len: i32, value: i64| {
            metric(call, at, len, |old| old.wrapping_add(value))
        }),
        hooks::METRIC_SET => linker
            .func_wrap(module, name, |call: Call<'_>, at: i32, len: i32, value: i64| metric(call, at, len, |_| value)),
        hooks::KSYM_NAME => linker.func_wrap(module, name, |call: Call<'_>, address: i64, dst: i32, len: i32| {
            with(call, |memory, services| {
                let Some(symbol) = services.kernel.symbol_name(address.cast_unsigned()) else {
                    return Ok(-libc::ENOENT);
                };
                if symbol.len() > len.cast_unsigned() as usize {
                    return Ok(-libc::ERANGE);
                }
                memory.write(dst.cast_unsigned(), symbol.len()).map_err(fault)?.copy_from_slice(symbol.as_bytes());
                Ok(number(Ok(symbol.len() as u32)))
            })
        }),
        hooks::KSYM_ADDRESS => linker.func_wrap(module, name, |call: Call<'_>, at: i32, len: i32| {
            with(call, |memory, services| {
                let address = services.kernel.symbol_address(text(memory, at, len)?).unwrap_or(0);
                Ok(address.cast_signed())
            })
        }),
        _ if func.name.starts_with("map_") => return map(linker, func),
        _ => return file(linker, func),
    }?;
    Ok(())
}

fn now(clock: rustix::time::ClockId) -> i64 {
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn metric(call: Call<'_>, at: i32, len: i32, change: impl FnOnce(i64) -> i64) -> wasmtime::Result<()> {
    with(call, |memory, services| {
        let name = text(memory, at, len)?;
        if !services.metric(name, change) {
            warn_once("a plugin counts under too many names; the rest is not counted");
        }
        Ok(())
    })
}

/// Says something at most once a minute: a guest decides how often it comes to this.
fn warn_once(message: &str) {
    static LAST: LazyLock<std::sync::Mutex<Option<Instant>>> = LazyLock::new(Default::default);
    let Ok(mut last) = LAST.lock() else { return };
    if last.is_none_or(|last| last.elapsed().as_secs() >= 60) {
        *last = Some(Instant::now());
        tracing::warn!("{message}");
    }
}

fn map(linker: &mut Linker<Host>, func: &Func) -> wasmtime::Result<()> {
    let (module, name) = (func.module, func.name);
    match *func {
        hooks::MAP_OPEN => linker.func_wrap(module, name, |call: Call<'_>, at: i32, len: i32| {
            with(call, |memory, services| Ok(number(services.map_open(text(memory, at, len)?))))
        }),
        hooks::MAP_LOOKUP => linker.func_wrap(module, name, |call: Call<'_>, map: i32, key: i32, value: i32| {
            with(call, |memory, services| {
                let Some(known) = services.maps.get(map.cast_unsigned() as usize).copied() else {
                    return Ok(-libc::EBADF);
                };
                let key = bytes(memory, key, known.key_size)?;
                let to = memory.write(value.cast_unsigned(), known.value_size as usize).map_err(fault)?;
                Ok(done(services.kernel.map_lookup(known.map, &key, to)))
            })
        }),
        hooks::MAP_NEXT_KEY => linker.func_wrap(module, name, |call: Call<'_>, map: i32, key: i32, next: i32| {
            with(call, |memory, services| {
                let Some(known) = services.maps.get(map.cast_unsigned() as usize).copied() else {
                    return Ok(-libc::EBADF);
                };
                let key = if key == 0 { None } else { Some(bytes(memory, key, known.key_size)?) };
                let to = memory.write(next.cast_unsigned(), known.key_size as usize).map_err(fault)?;
                Ok(done(services.kernel.map_next_key(known.map, key.as_deref(), to)))
            })
        }),
        hooks::MAP_UPDATE => {
            linker.func_wrap(module, name, |call: Call<'_>, map: i32, key: i32, value: i32, flags: i64| {
                with(call, |memory, services| {
                    let Some(known) = services.maps.get(map.cast_unsigned() as usize).copied() else {
                        return Ok(-libc::EBADF);
                    };
                    let key = bytes(memory, key, known.key_size)?;
                    let value = bytes(memory, value, known.value_size)?;
                    Ok(done(services.kernel.map_update(known.map, &key, &value, flags.cast_unsigned())))
                })
            })
        }
        _ => linker.func_wrap(module, name, |call: Call<'_>, map: i32, key: i32| {
            with(call, |memory, services| {
                let Some(known) = services.maps.get(map.cast_unsigned() as usize).copied() else {
                    return Ok(-libc::EBADF);
                };
                let key = bytes(memory, key, known.key_size)?;
                Ok(done(services.kernel.map_delete(known.map, &key)))
            })
        }),
    }?;
    Ok(())
}

fn bytes(memory: &GuestMemory<'_>, at: i32, len: u32) -> wasmtime::Result<Vec<u8>> {
    memory.read_capped(at.cast_unsigned(), len, MAX_VALUE).map(<[u8]>::to_vec).map_err(fault)
}

fn file(linker: &mut Linker<Host>, func: &Func) -> wasmtime::Result<()> {
    let (module, name) = (func.module, func.name);
    match *func {
        hooks::FILE_OPEN => linker.func_wrap(module, name, |call: Call<'_>, at: i32, len: i32, flags: i32| {
            with(call, |memory, services| {
                Ok(number(services.files.open(text(memory, at, len)?, flags.cast_unsigned())))
            })
        }),
        hooks::FILE_READ => linker.func_wrap(module, name, |call: Call<'_>, fd: i32, at: i32, len: i32| {
            with(call, |memory, services| {
                let len = (len.cast_unsigned() as usize).min(MAX_IO);
                let to = memory.write(at.cast_unsigned(), len).map_err(fault)?;
                Ok(number(services.files.read(fd.cast_unsigned(), to).map(|read| read as u32)))
            })
        }),
        hooks::FILE_WRITE => linker.func_wrap(module, name, |call: Call<'_>, fd: i32, at: i32, len: i32| {
            with(call, |memory, services| {
                let len = (len.cast_unsigned() as usize).min(MAX_IO);
                let from = memory.read(at.cast_unsigned(), len).map_err(fault)?;
                Ok(number(services.files.write(fd.cast_unsigned(), from).map(|written| written as u32)))
            })
        }),
        hooks::FILE_CLOSE => linker.func_wrap(module, name, |call: Call<'_>, fd: i32| {
            with(call, |_, services| Ok(done(services.files.close(fd.cast_unsigned()))))
        }),
        _ => return Err(wasmtime::Error::msg(format!("world hooks has no {module}.{name}"))),
    }?;
    Ok(())
}
