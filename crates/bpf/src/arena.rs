//! Arenas that lie at an address of the caller's choice.
//!
//! libbpf maps the arenas that it creates, and fills in their global variables. One that is to lie in a guest's memory is
//! created by us and given to libbpf, so mapping it and filling it is the caller's: [`Globals`] says with what.

use std::os::fd::{AsFd as _, AsRawFd as _};

use libbpf_rs::{MapCore as _, MapType, OpenObject};
use skep_error::{Error, Kind, Result, ResultExt as _};

use crate::{attach, sys};

/// A page of an arena.
const PAGE: u64 = 4096;
/// `BPF_F_SEGV_ON_FAULT`: a page that no program has allocated cannot be touched by user space.
const SEGV_ON_FAULT: u32 = 1 << 17;
/// `ldimm64`, an instruction of two slots.
const LDIMM64: u8 = (libbpf_sys::BPF_LD | libbpf_sys::BPF_IMM | libbpf_sys::BPF_DW) as u8;

/// The initial values of an arena's global variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Globals {
    /// Where in the arena they belong, in bytes.
    pub offset: u64,
    /// Their values.
    pub bytes: Vec<u8>,
}

/// Creates the object's arena for the address `at` of this process; the initial values of its globals.
pub(crate) fn place(object: &mut OpenObject, at: u64) -> Result<Vec<u8>> {
    let arena = object.maps_mut().find(|map| map.map_type() == MapType::Arena);
    let Some(mut arena) = arena else {
        return Err(Error::new(Kind::BadInput, "the object has no arena to place").with_errno(libc::ENOENT));
    };
    if arena.map_flags() & SEGV_ON_FAULT != 0 {
        // The host, too, reads and writes there on the guest's behalf.
        return Err(Error::new(Kind::Unsupported, "an arena with BPF_F_SEGV_ON_FAULT cannot lie in a guest's memory")
            .with_errno(libc::EOPNOTSUPP)
            .help("leave the flag out: pages of the arena then appear when they are first touched"));
    }
    let values = arena.initial_value_mut().map(|value| value.to_vec()).unwrap_or_default();
    let placed = sys::create_arena(&arena, at)
        .map_err(sys::Errno::into_error)
        .and_then(|fd| arena.reuse_fd(fd.as_fd()).map_err(|error| attach::errno_of(&error).into_error()));
    placed.context(|| format!("creating the arena at {at:#x}"))?;
    Ok(values)
}

/// Where libbpf has told the programs of a loaded object that the globals lie: at the beginning of the arena or, on kernels
/// that take any offset, in its last pages. It says so nowhere but in their instructions.
pub(crate) fn globals(object: &libbpf_rs::Object, bytes: Vec<u8>, arena_len: u64) -> Result<Option<Globals>> {
    let offsets = referred(object);
    let len = bytes.len() as u64;
    let (Some(&first), Some(&last)) = (offsets.iter().min(), offsets.iter().max()) else { return Ok(None) };
    let at_end = arena_len.saturating_sub(len.next_multiple_of(PAGE));
    let offset = match (last < len, first >= at_end) {
        (true, false) => 0,
        (false, true) => at_end,
        (true, true) if at_end == 0 => 0,
        _ => {
            return Err(Error::new(Kind::Unsupported, "it cannot be told where the arena's global variables belong")
                .with_errno(libc::EOPNOTSUPP)
                .help("make the arena at least twice as long as its globals"));
        }
    };
    Ok(Some(Globals { offset, bytes }))
}

/// The offsets in the arena of the globals that programs use.
fn referred(object: &libbpf_rs::Object) -> Vec<u64> {
    let arena = object.maps().find(|map| map.map_type() == MapType::Arena);
    let Some(fd) = arena.map(|map| map.as_fd().as_raw_fd()) else {
        return Vec::new();
    };
    let mut offsets = Vec::new();
    for program in object.progs() {
        for pair in program.insns().windows(2) {
            let value = pair[0].code == LDIMM64 && u32::from(pair[0].src_reg()) == libbpf_sys::BPF_PSEUDO_MAP_VALUE;
            if value && pair[0].imm == fd {
                offsets.push(u64::from(pair[1].imm as u32));
            }
        }
    }
    offsets
}
