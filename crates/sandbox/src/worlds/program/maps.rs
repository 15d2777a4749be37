//! `wasm_bpf_map_operate`: one system call for each, on the guest's own memory.

use std::sync::Arc;

use rustix::io::Errno;
use skep_abi::program::{MAP_OPERATE, MapCommand};
use skep_error::{Error, Kind};
use wasmtime::Caller;

use super::{
    host::{Host, State, errno, memory_and_state},
    kernel::{Map, MapInfo, Values},
};
use crate::{
    memory::{Fault, GuestMemory},
    wasi::Wasi,
};

const CALL: &str = MAP_OPERATE.name;
/// Keys up to this length, which is what a program's stack allows, are held without an allocation.
const SHORT_KEY: usize = 512;

/// The pointers of one call.
#[derive(Clone, Copy)]
pub(super) struct Pointers {
    pub(super) key: u32,
    pub(super) value: u32,
    pub(super) next_key: u32,
}

pub(super) fn operate(
    mut caller: Caller<'_, State>,
    handle: i32,
    command: i32,
    at: Pointers,
    flags: u64,
) -> wasmtime::Result<i32> {
    let (bytes, state) = memory_and_state(&mut caller)?;
    let State { host, wasi, .. } = state;
    let Some(command) = MapCommand::from_raw(command) else {
        let error = Error::new(Kind::BadInput, format!("{command} is no map command"))
            .with_errno(libc::EINVAL)
            .help("1 looks up, 2 updates, 3 deletes, 4 gets the next key");
        return Ok(host.fail(CALL, error));
    };
    let map = match host.map(handle) {
        Ok(open) => open.map.clone(),
        Err(error) => return Ok(host.fail(CALL, error)),
    };
    let result = perform(bytes, host, wasi, &map, command, at, flags);
    Ok(match result {
        Ok(()) => 0,
        Err(Failure::Kernel(number)) => errno(number),
        Err(Failure::Pointer(what, fault)) => {
            let what = format!("the {what} of map {}", map.info().name);
            host.fault(CALL, &what, fault)
        }
        Err(Failure::Refused(error)) => {
            let error = error.context(format!("map {}", map.info().name));
            host.fail(CALL, error)
        }
    })
}

enum Failure {
    /// Only the guest is told: an absent key is nothing to show.
    Kernel(Errno),
    Pointer(&'static str, Fault),
    Refused(Error),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

fn perform(
    bytes: &mut [u8],
    host: &mut Host,
    wasi: &Wasi,
    map: &Arc<dyn Map + Send + Sync>,
    command: MapCommand,
    at: Pointers,
    flags: u64,
) -> Result<(), Failure> {
    let info = map.info();
    let (key_size, value_size) = (info.key_size as usize, info.user_value_size);
    if keys_are_descriptors(info) {
        return Err(Failure::Refused(foreign_descriptors("keys")));
    }
    let mut memory = GuestMemory::new(bytes, &host.shared);
    let mut short = [0; SHORT_KEY];
    let mut long = Vec::new();
    let mut key = Key { short: &mut short, long: &mut long };
    match command {
        MapCommand::Lookup => {
            let key = key.copy(&memory, at.key, key_size)?;
            let value = memory.write(at.value, value_size).map_err(|fault| Failure::Pointer("value", fault))?;
            Ok(map.lookup(key, value, flags)?)
        }
        MapCommand::Update => {
            let key = key.copy(&memory, at.key, key_size)?;
            let value = memory.read(at.value, value_size).map_err(|fault| Failure::Pointer("value", fault))?;
            match info.values {
                Values::Plain => Ok(map.update(key, value, flags)?),
                other => {
                    let (key, value) = (key.to_vec(), value.to_vec());
                    update_with_descriptor(host, wasi, &**map, other, &key, value, flags)
                }
            }
        }
        MapCommand::Delete => Ok(map.delete(key.copy(&memory, at.key, key_size)?, flags)?),
        MapCommand::GetNextKey => {
            let key = match at.key {
                0 => None,
                address => Some(key.copy(&memory, address, key_size)?),
            };
            let next = memory.write(at.next_key, key_size).map_err(|fault| Failure::Pointer("next key", fault))?;
            Ok(map.next_key(key, next)?)
        }
    }
}

/// Where a key is copied to, because the guest may give one range for the key and for the value.
struct Key<'a> {
    short: &'a mut [u8; SHORT_KEY],
    long: &'a mut Vec<u8>,
}

impl Key<'_> {
    fn copy(&mut self, memory: &GuestMemory<'_>, address: u32, len: usize) -> Result<&[u8], Failure> {
        let key = memory.read(address, len).map_err(|fault| Failure::Pointer("key", fault))?;
        match self.short.get_mut(..len) {
            Some(short) => {
                short.copy_from_slice(key);
                Ok(short)
            }
            None => {
                self.long.extend_from_slice(key);
                Ok(self.long)
            }
        }
    }
}

/// Stores a value that names a descriptor: what the guest gives is its own name for it, never the host's number.
fn update_with_descriptor(
    host: &mut Host,
    wasi: &Wasi,
    map: &dyn Map,
    values: Values,
    key: &[u8],
    value: Vec<u8>,
    flags: u64,
) -> Result<(), Failure> {
    use std::os::fd::AsRawFd as _;
    let number = value.first_chunk().map_or(-1, |bytes| i32::from_le_bytes(*bytes));
    let raw = match values {
        Values::Cgroup => {
            let directory = wasi.preopen(number).ok_or_else(|| {
                Failure::Refused(
                    Error::new(Kind::BadInput, format!("descriptor {number} is no preopened directory"))
                        .with_errno(libc::EBADF)
                        .help("give the guest the cgroup's directory with --dir"),
                )
            })?;
            directory.as_raw_fd()
        }
        Values::Map => {
            let inner = host.map(number).map_err(Failure::Refused)?.map.clone();
            let raw = inner.descriptor().as_raw_fd();
            return Ok(map.update(key, &raw.to_le_bytes(), flags)?);
        }
        Values::WithProgram if value.iter().skip(4).all(|&byte| byte == 0) => {
            return Ok(map.update(key, &value, flags)?);
        }
        _ => return Err(Failure::Refused(foreign_descriptors("values"))),
    };
    Ok(map.update(key, &raw.to_le_bytes(), flags)?)
}

fn keys_are_descriptors(info: &MapInfo) -> bool {
    // Of `enum bpf_map_type`: local storage of sockets, inodes, tasks and control groups.
    const SK_STORAGE: u32 = 24;
    const INODE_STORAGE: u32 = 28;
    const TASK_STORAGE: u32 = 29;
    const CGRP_STORAGE: u32 = 32;
    matches!(info.kind, SK_STORAGE | INODE_STORAGE | TASK_STORAGE | CGRP_STORAGE)
}

fn foreign_descriptors(what: &str) -> Error {
    Error::new(Kind::Refused, format!("its {what} are descriptors of the host's, which a guest cannot name"))
        .with_errno(libc::EPERM)
}
