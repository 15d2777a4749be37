//! The calls into libbpf and the kernel that libbpf-rs does not wrap, or wraps with an allocation a call.
//!
//! Everything here is safe to call.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    fmt, io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    ptr,
};

use libbpf_rs::{AsRawLibbpf as _, OpenObject};
use libbpf_sys::bpf_insn;
use skep_error::Error;

use crate::drops::Insertion;

/// A positive error number of the operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    fn last() -> Self {
        Self(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    }

    /// From a result of libbpf's: negative is an error.
    fn check(result: i32) -> Result<i32, Self> {
        if result < 0 { Err(Self(-result)) } else { Ok(result) }
    }

    /// As an error of the project.
    pub fn into_error(self) -> Error {
        Error::os(self.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

/// Makes `crate::diagnostics::print` what libbpf prints through. libbpf-rs's own way ends the process at a message that
/// is not UTF-8, and an object's names, which messages repeat, are whatever bytes somebody put there.
pub(crate) fn print_through_diagnostics() {
    unsafe extern "C" fn print(
        level: libbpf_sys::libbpf_print_level,
        format: *const c_char,
        list: *mut c_void,
    ) -> c_int {
        // SAFETY: libbpf gives a format and the list of arguments that belongs to it.
        let text = unsafe { vsprintf::vsprintf_raw(format, list) }.unwrap_or_default();
        let text = text.strip_suffix(&[0]).unwrap_or(&text);
        crate::diagnostics::print(level.into(), &String::from_utf8_lossy(text));
        0
    }
    // SAFETY: the type of the list differs from one architecture to the next, and is passed as a pointer on each.
    unsafe {
        let print = std::mem::transmute::<*const (), libbpf_sys::libbpf_print_fn_t>(print as *const ());
        libbpf_sys::libbpf_set_print(print);
    }
}

/// Creates an array map with u32 keys.
pub(crate) fn create_array(name: &CStr, value_size: u32, max_entries: u32) -> Result<OwnedFd, Error> {
    // SAFETY: `name` is NUL-terminated and the options may be null.
    let fd = Errno::check(unsafe {
        libbpf_sys::bpf_map_create(
            libbpf_sys::BPF_MAP_TYPE_ARRAY,
            name.as_ptr(),
            4,
            value_size,
            max_entries,
            ptr::null(),
        )
    })
    .map_err(Errno::into_error)?;
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Creates the map that `arena` describes, to be mapped by user space at `at`.
pub(crate) fn create_arena(arena: &libbpf_rs::OpenMapMut<'_>, at: u64) -> Result<OwnedFd, Errno> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as u64,
        map_flags: arena.map_flags(),
        map_extra: at,
        ..Default::default()
    };
    // SAFETY: the name is libbpf's, of a live map; the options state their size.
    let fd = Errno::check(unsafe {
        libbpf_sys::bpf_map_create(
            libbpf_sys::BPF_MAP_TYPE_ARENA,
            libbpf_sys::bpf_map__name(arena.as_libbpf_object().as_ptr()),
            0,
            0,
            arena.max_entries(),
            &options,
        )
    })?;
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// What the kernel says of a map.
pub(crate) fn map_info(map: BorrowedFd<'_>) -> Result<libbpf_sys::bpf_map_info, Errno> {
    let mut info = libbpf_sys::bpf_map_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: `info` has `len` bytes.
    Errno::check(unsafe { libbpf_sys::bpf_map_get_info_by_fd(map.as_raw_fd(), &mut info, &mut len) })?;
    Ok(info)
}

/// Maps without keys (queues, stacks, bloom filters) are asked with none, which the kernel wants as a null pointer.
fn key_of(key: &[u8]) -> *const c_void {
    if key.is_empty() { ptr::null() } else { key.as_ptr().cast() }
}

/// Looks up `key`; the caller sees to it that both slices have the lengths that the kernel will touch.
pub(crate) fn map_lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno> {
    // SAFETY: the kernel reads the map's key size and writes its value size; `Map` checks the slices against both.
    Errno::check(unsafe {
        libbpf_sys::bpf_map_lookup_elem_flags(map.as_raw_fd(), key_of(key), value.as_mut_ptr().cast(), flags)
    })
    .map(drop)
}

/// Stores `value` under `key`; lengths as in [`map_lookup`].
pub(crate) fn map_update(map: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
    // SAFETY: as in `map_lookup`; both are only read.
    Errno::check(unsafe { libbpf_sys::bpf_map_update_elem(map.as_raw_fd(), key_of(key), value.as_ptr().cast(), flags) })
        .map(drop)
}

/// Removes `key`; its length as in [`map_lookup`].
pub(crate) fn map_delete(map: BorrowedFd<'_>, key: &[u8], flags: u64) -> Result<(), Errno> {
    // SAFETY: as in `map_lookup`.
    Errno::check(unsafe { libbpf_sys::bpf_map_delete_elem_flags(map.as_raw_fd(), key_of(key), flags) }).map(drop)
}

/// Takes up to `count` entries out of a hash map, from the bucket that `place` names on (the first one if it is `None`), which then names
/// the next one. Returns how many, and whether they were the last. The slices have room for `count` keys and values.
pub(crate) fn map_take(
    map: BorrowedFd<'_>,
    place: &mut Option<u32>,
    keys: &mut [u8],
    values: &mut [u8],
    count: u32,
) -> Result<(usize, bool), Errno> {
    let mut taken = count;
    let mut from = place.unwrap_or_default();
    let from_at = if place.is_some() { (&raw mut from).cast() } else { ptr::null_mut() };
    let mut next = 0u32;
    // SAFETY: `Map` checks that both slices hold `count` keys and values; a hash map's place is a u32.
    let result = unsafe {
        libbpf_sys::bpf_map_lookup_and_delete_batch(
            map.as_raw_fd(),
            from_at,
            (&raw mut next).cast(),
            keys.as_mut_ptr().cast(),
            values.as_mut_ptr().cast(),
            &raw mut taken,
            ptr::null(),
        )
    };
    *place = Some(next);
    match Errno::check(result) {
        Ok(_) => Ok((taken as usize, false)),
        Err(Errno(libc::ENOENT)) => Ok((taken as usize, true)),
        Err(errno) => Err(errno),
    }
}

/// Writes the key after `key` to `next`; the first one when `key` is `None`. Lengths as in [`map_lookup`].
pub(crate) fn map_next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
    let key = key.map_or(ptr::null(), |key| key.as_ptr());
    // SAFETY: as in `map_lookup`; a null key is allowed.
    Errno::check(unsafe { libbpf_sys::bpf_map_get_next_key(map.as_raw_fd(), key.cast(), next.as_mut_ptr().cast()) })
        .map(drop)
}

/// Number of CPUs that this machine may ever have: a per-CPU value has a slot for each.
pub(crate) fn possible_cpus() -> usize {
    libbpf_rs::num_possible_cpus().unwrap_or(1)
}

/// Clears every pin path of an object that is not loaded yet; returns whether there was one.
pub(crate) fn forget_pins(object: &mut OpenObject) -> bool {
    let mut any = false;
    for map in object.maps_mut() {
        let map = map.as_libbpf_object().as_ptr();
        // SAFETY: a live map of an open object; a null path clears it.
        unsafe {
            if !libbpf_sys::bpf_map__pin_path(map).is_null() {
                any = true;
                libbpf_sys::bpf_map__set_pin_path(map, ptr::null());
            }
        }
    }
    any
}

/// Resolves and relocates an open object and creates its maps; what is left for the load is the programs.
pub(crate) fn prepare(object: &mut OpenObject) -> Result<(), Errno> {
    // SAFETY: a live, open object.
    Errno::check(unsafe { libbpf_sys::bpf_object__prepare(object.as_libbpf_object().as_ptr()) }).map(drop)
}

/// Replaces the instructions of a prepared program, and moves its debug information along.
pub(crate) fn replace_insns(
    program: &libbpf_rs::OpenProgramMut<'_>,
    mut insns: Vec<bpf_insn>,
    insertion: &Insertion,
) -> Result<(), Errno> {
    let program = program.as_libbpf_object().as_ptr();
    // SAFETY: a live program of a prepared object; libbpf copies the instructions. Both tables belong to the program,
    // have as many entries as libbpf says, and are read again only when the program is loaded.
    unsafe {
        Errno::check(libbpf_sys::bpf_program__set_insns(program, insns.as_mut_ptr(), insns.len() as u64))?;
        let (functions, n) =
            (libbpf_sys::bpf_program__func_info(program), libbpf_sys::bpf_program__func_info_cnt(program));
        for i in 0..if functions.is_null() { 0 } else { n as usize } {
            let entry = &mut *functions.add(i);
            entry.insn_off = insertion.moved(entry.insn_off as usize) as u32;
        }
        let (lines, n) = (libbpf_sys::bpf_program__line_info(program), libbpf_sys::bpf_program__line_info_cnt(program));
        for i in 0..if lines.is_null() { 0 } else { n as usize } {
            let entry = &mut *lines.add(i);
            entry.insn_off = insertion.moved(entry.insn_off as usize) as u32;
        }
    }
    Ok(())
}

/// Links a program to an interface, or whatever else `target` means for the attach type.
pub(crate) fn create_link(program: BorrowedFd<'_>, target: i32, attach_type: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: a plain system call; the options may be null.
    let fd =
        Errno::check(unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), target, attach_type, ptr::null()) })?;
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a socket filter to a socket.
pub(crate) fn attach_socket_filter(program: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let program: RawFd = program.as_raw_fd();
    // SAFETY: the option's value is one int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_BPF,
            (&raw const program).cast(),
            size_of::<RawFd>() as u32,
        )
    };
    if result < 0 { Err(Errno::last()) } else { Ok(()) }
}

/// A raw packet socket bound to an interface: it sees every frame, in both directions, and changes none.
pub(crate) fn packet_socket(ifindex: i32) -> Result<OwnedFd, Errno> {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: a plain system call.
    let fd = unsafe {
        libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, i32::from(protocol))
    };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel just gave us this descriptor.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all zeroes is a valid address of this type.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = ifindex;
    // SAFETY: the address has the length given.
    let result =
        unsafe { libc::bind(fd.as_raw_fd(), (&raw const address).cast(), size_of::<libc::sockaddr_ll>() as u32) };
    if result < 0 { Err(Errno::last()) } else { Ok(fd) }
}

/// How often a perf event fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// Times a second.
    Frequency(u64),
    /// Once every so many nanoseconds of CPU clock.
    Period(u64),
}

/// Opens a sampling CPU-clock event for every process on one CPU. This needs no hardware counter.
pub(crate) fn open_cpu_clock(cpu: i32, sampling: Sampling) -> Result<OwnedFd, Errno> {
    let mut attr = libbpf_sys::perf_event_attr {
        type_: libbpf_sys::PERF_TYPE_SOFTWARE,
        size: size_of::<libbpf_sys::perf_event_attr>() as u32,
        config: u64::from(libbpf_sys::PERF_COUNT_SW_CPU_CLOCK),
        ..Default::default()
    };
    match sampling {
        Sampling::Frequency(hz) => {
            attr.__bindgen_anon_1.sample_freq = hz;
            attr.set_freq(1);
        }
        Sampling::Period(ns) => attr.__bindgen_anon_1.sample_period = ns,
    }
    const FLAG_CLOEXEC: u64 = 8;
    // SAFETY: `attr` has the size it states.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, -1, cpu, -1, FLAG_CLOEXEC) };
    if fd < 0 {
        return Err(Errno::last());
    }
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
