//! The unsafe half of the runner: one loaded object, its arena mapped here, and PROG_TEST_RUN of its syscall programs.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    marker::PhantomData,
    ptr::NonNull,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use skep_error::{Error, Kind, Result};

use crate::{
    diagnostics::{self, Messages},
    explain,
    sys::Errno,
};

/// The size of a page of the arena, in bytes.
const PAGE: usize = 4096;

/// How an object is loaded.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Pages of 4 KiB that the arena has; at most 1 Mi (4 GiB).
    pub arena_pages: u32,
    /// Keep the verifier's log of a load that succeeds too (its statistics only).
    pub keep_log: bool,
}

/// A range of the arena: words where it can be, bytes before and after.
struct Cells<'a> {
    head: &'a [AtomicU8],
    words: &'a [AtomicU64],
    tail: &'a [AtomicU8],
}

/// What the verifier said about one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Instructions emitted, as the kernel counts them after it linked the program.
    pub emitted: u32,
    /// Instructions the verifier walked (`bpf_prog_info.verified_insns`, kernel 5.16).
    pub walked: u32,
    /// From the call of the loader to its return: verification and JIT.
    pub load_time: Duration,
}

/// A loaded object. Dropping it unloads its programs and unmaps its arena.
pub struct Loaded {
    object: NonNull<libbpf_sys::bpf_object>,
    arena: NonNull<u8>,
    arena_len: usize,
    /// Where the arena is mapped, to be used again.
    address: u64,
    verified: Vec<(String, Verified)>,
    log: String,
}

// SAFETY: libbpf objects have no thread affinity; `Loaded` owns this one and hands out no pointer to it.
unsafe impl Send for Loaded {}
// SAFETY: through a shared reference, the loaded object is only asked for what no longer changes, and the arena's bytes
// are read and written as atomics.
unsafe impl Sync for Loaded {}

/// Where the next arena is mapped: every load takes an address of its own whose low 32 bits are zero, so that arena
/// offsets are the low half of the address and loads in one process never collide.
static NEXT_ARENA: AtomicU64 = AtomicU64::new(1 << 44);

/// Addresses of arenas that are gone: there is room for some 14,000 only.
static FREE_ARENAS: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn take_address() -> u64 {
    let free = FREE_ARENAS.lock().unwrap_or_else(PoisonError::into_inner).pop();
    free.unwrap_or_else(|| NEXT_ARENA.fetch_add(1 << 33, Ordering::Relaxed))
}

/// Why the kernel did not take the object; `log` is the verifier's.
fn refusal(errno: i32, messages: &Messages, log: String) -> Error {
    if log.trim().is_empty() {
        // Refused before verification: no privilege, a policy, a kernel without arenas.
        return explain::load_failure(Errno(errno), messages, None).context("loading the compiled object");
    }
    let why = "the kernel's verifier refused what was compiled";
    Error::new(Kind::Kernel, why).with_errno(errno).detail(log).help(
        "a module that compiles and does not load is a defect of the compiler: report it with the listing and the \
         verifier's log",
    )
}

impl Loaded {
    /// Loads `elf`. Its arena map must be called `arena`; without one, its section `.bss.wasm` takes its place.
    ///
    /// # Errors
    /// `BadInput` when libbpf cannot open the object, `Kernel` when the kernel refuses it: the detail is the
    /// verifier's log.
    pub fn load(elf: &[u8], options: &LoadOptions) -> Result<Self> {
        let mut log = vec![0u8; 1 << 20];
        let name = CString::new("wasm2bpf").unwrap_or_default();
        let opts = libbpf_sys::bpf_object_open_opts {
            sz: size_of::<libbpf_sys::bpf_object_open_opts>() as _,
            object_name: name.as_ptr(),
            kernel_log_buf: log.as_mut_ptr().cast::<c_char>(),
            kernel_log_size: log.len() as _,
            kernel_log_level: if options.keep_log { 4 } else { 0 },
            ..Default::default()
        };
        // SAFETY: the buffer outlives the call, libbpf copies it; `opts` and the log outlive the load below.
        let object = unsafe { libbpf_sys::bpf_object__open_mem(elf.as_ptr().cast(), elf.len() as _, &opts) };
        let Some(object) = NonNull::new(object) else {
            return Err(Error::io(std::io::Error::last_os_error()).context("opening the compiled object with libbpf"));
        };
        let at = take_address();
        let (verified, log_text) = (Vec::new(), String::new());
        let mut loaded =
            Self { object, arena: NonNull::dangling(), arena_len: 0, address: at, verified, log: log_text };
        let (map, is_arena) = loaded.prepare_map(options.arena_pages);
        let start = Instant::now();
        // SAFETY: `object` is open; the log buffer it writes to is alive.
        let (rc, messages) = diagnostics::capture(|| unsafe { libbpf_sys::bpf_object__load(object.as_ptr()) });
        let load_time = start.elapsed();
        loaded.log = CStr::from_bytes_until_nul(&log).map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        if rc != 0 {
            if options.keep_log {
                // The statistics that were asked for do not say why: once more, for the whole log.
                return Self::load(elf, &LoadOptions { keep_log: false, ..options.clone() });
            }
            return Err(refusal(-rc, &messages, std::mem::take(&mut loaded.log)));
        }
        loaded.verified = loaded.collect_verified(load_time);
        if !map.is_null() {
            let mut size = 0;
            // SAFETY: the map is loaded; libbpf mapped the arena at `at` and keeps it mapped until the object closes.
            let base = unsafe { libbpf_sys::bpf_map__initial_value(map, &mut size) };
            let Some(base) = NonNull::new(base.cast::<u8>()) else {
                return Err(Error::new(Kind::Kernel, "the arena is not mapped").context("loading the compiled object"));
            };
            loaded.arena = base;
            let len = options.arena_pages as usize * PAGE;
            // Of an arena, libbpf says how long its global variables are.
            loaded.arena_len = if is_arena { len } else { len.min(size as usize) };
        }
        Ok(loaded)
    }

    /// The map that instances are in, and whether it is an arena. Before the load, an arena is given its size and
    /// address.
    fn prepare_map(&self, pages: u32) -> (*mut libbpf_sys::bpf_map, bool) {
        let object = self.object.as_ptr();
        // SAFETY: `object` is open, and its maps belong to it; libbpf refuses to change them once they are loaded.
        unsafe {
            let map = libbpf_sys::bpf_object__find_map_by_name(object, c"arena".as_ptr());
            if map.is_null() {
                // Without an arena, instances are in an array, whose size is fixed.
                return (libbpf_sys::bpf_object__find_map_by_name(object, c".bss.wasm".as_ptr()), false);
            }
            libbpf_sys::bpf_map__set_max_entries(map, pages);
            libbpf_sys::bpf_map__set_map_extra(map, self.address);
            (map, true)
        }
    }

    fn programs(&self) -> Vec<*mut libbpf_sys::bpf_program> {
        let mut programs = Vec::new();
        let mut at = std::ptr::null_mut();
        loop {
            // SAFETY: `object` is alive; the iteration yields pointers that live as long as it.
            at = unsafe { libbpf_sys::bpf_object__next_program(self.object.as_ptr(), at) };
            if at.is_null() {
                return programs;
            }
            programs.push(at);
        }
    }

    fn collect_verified(&self, load_time: Duration) -> Vec<(String, Verified)> {
        let mut out = Vec::new();
        for program in self.programs() {
            // SAFETY: `program` belongs to the living object; `info` is plain data the kernel fills up to `len`.
            let (name, info, insns, fd) = unsafe {
                let fd = libbpf_sys::bpf_program__fd(program);
                let mut info = std::mem::zeroed::<libbpf_sys::bpf_prog_info>();
                let mut len = size_of::<libbpf_sys::bpf_prog_info>() as u32;
                libbpf_sys::bpf_prog_get_info_by_fd(fd, &mut info, &mut len);
                let name = CStr::from_ptr(libbpf_sys::bpf_program__name(program)).to_string_lossy().into_owned();
                (name, info, libbpf_sys::bpf_program__insn_cnt(program), fd)
            };
            if fd >= 0 {
                let verified = Verified { emitted: insns as u32, walked: info.verified_insns, load_time };
                out.push((name, verified));
            }
        }
        out
    }

    /// What the verifier said about each program of the object, by the program's name.
    pub fn verified(&self) -> &[(String, Verified)] {
        &self.verified
    }

    /// The verifier's log of the load, empty unless it was asked for.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// The arena's length in bytes.
    pub fn arena_len(&self) -> usize {
        self.arena_len
    }

    /// Writes `bytes` at `offset` of the arena; touching a page here is what makes the kernel allocate it.
    ///
    /// # Errors
    /// `BadInput` when the range is not inside the arena.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        let cells = self.cells(offset, bytes.len())?;
        let (head, rest) = bytes.split_at(cells.head.len());
        let (words, tail) = rest.split_at(cells.words.len() * 8);
        for (cell, &byte) in cells.head.iter().zip(head).chain(cells.tail.iter().zip(tail)) {
            cell.store(byte, Ordering::Relaxed);
        }
        for (cell, word) in cells.words.iter().zip(words.as_chunks().0) {
            cell.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Fills `len` bytes at `offset` with `byte`.
    ///
    /// # Errors
    /// `BadInput` when the range is not inside the arena.
    pub fn fill(&self, offset: usize, len: usize, byte: u8) -> Result<()> {
        let cells = self.cells(offset, len)?;
        cells.head.iter().chain(cells.tail).for_each(|cell| cell.store(byte, Ordering::Relaxed));
        cells.words.iter().for_each(|cell| cell.store(u64::from_ne_bytes([byte; 8]), Ordering::Relaxed));
        Ok(())
    }

    /// Reads `into.len()` bytes at `offset` of the arena.
    ///
    /// # Errors
    /// `BadInput` when the range is not inside the arena.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        let cells = self.cells(offset, into.len())?;
        let (head, rest) = into.split_at_mut(cells.head.len());
        let (words, tail) = rest.split_at_mut(cells.words.len() * 8);
        for (cell, byte) in cells.head.iter().zip(head).chain(cells.tail.iter().zip(tail)) {
            *byte = cell.load(Ordering::Relaxed);
        }
        for (cell, word) in cells.words.iter().zip(words.as_chunks_mut().0) {
            *word = cell.load(Ordering::Relaxed).to_ne_bytes();
        }
        Ok(())
    }

    /// A range of the arena. Programs in the kernel, on other processors too, write to it at any time.
    fn cells(&self, offset: usize, len: usize) -> Result<Cells<'_>> {
        if offset.checked_add(len).is_none_or(|end| end > self.arena_len) {
            return Err(Error::new(Kind::BadInput, format!("{len} bytes at {offset:#x} are not inside the arena")));
        }
        // SAFETY: checked above; the arena is mapped readable and writable until `self` is dropped. Here nothing else
        // than these atomics refers to it, and any bytes are good values of theirs.
        let (head, words, tail) = unsafe {
            std::slice::from_raw_parts(self.arena.as_ptr().add(offset).cast::<AtomicU8>(), len).align_to::<AtomicU64>()
        };
        Ok(Cells { head, words, tail })
    }

    /// The descriptor of the program called `name`.
    ///
    /// # Errors
    /// `NotFound` when the object has no such program.
    pub fn program(&self, name: &str) -> Result<i32> {
        // SAFETY: the program belongs to the living object.
        Ok(unsafe { libbpf_sys::bpf_program__fd(self.named(name)?) })
    }

    /// The loaded program of that name.
    fn named(&self, name: &str) -> Result<*mut libbpf_sys::bpf_program> {
        // SAFETY: each program belongs to the living object, and its name lives as long.
        let found = |program: &*mut libbpf_sys::bpf_program| unsafe {
            CStr::from_ptr(libbpf_sys::bpf_program__name(*program)).to_bytes() == name.as_bytes()
                && libbpf_sys::bpf_program__fd(*program) >= 0
        };
        let program = self.programs().into_iter().find(found);
        program.ok_or_else(|| Error::new(Kind::NotFound, format!("the object has no program `{name}`")))
    }

    /// Runs a syscall program (from [`Loaded::program`]) once; `context` is what its first argument points to, read
    /// and written. Returns the program's return value.
    ///
    /// # Errors
    /// `Kernel` when the kernel refuses the run.
    pub fn run(&self, program: i32, context: &mut [u8]) -> Result<u32> {
        let mut opts = libbpf_sys::bpf_test_run_opts {
            sz: size_of::<libbpf_sys::bpf_test_run_opts>() as _,
            ctx_in: context.as_ptr().cast::<c_void>(),
            ctx_size_in: context.len() as u32,
            ..Default::default()
        };
        // A syscall program's context is written back to `ctx_in`.
        // SAFETY: `context` is writable and lives through the call, which is synchronous.
        let rc = unsafe { libbpf_sys::bpf_prog_test_run_opts(program, &mut opts) };
        if rc != 0 {
            let error = std::io::Error::from_raw_os_error(-rc);
            return Err(Error::new(Kind::Kernel, error.to_string()).context("running a compiled program"));
        }
        Ok(opts.retval)
    }
}

/// A program that is attached; dropping it detaches.
pub struct Attached<'a> {
    link: NonNull<libbpf_sys::bpf_link>,
    _object: PhantomData<&'a Loaded>,
}

impl Loaded {
    /// Attaches the program called `name` where its section says.
    ///
    /// # Errors
    /// `NotFound` when the object has no such program, `Kernel` when it cannot be attached.
    pub fn attach(&self, name: &str) -> Result<Attached<'_>> {
        let program = self.named(name)?;
        // SAFETY: `program` belongs to the living, loaded object.
        let link = unsafe { libbpf_sys::bpf_program__attach(program) };
        let link = NonNull::new(link).ok_or_else(|| {
            let error = std::io::Error::last_os_error();
            Error::new(Kind::Kernel, error.to_string()).context(format!("attaching the program `{name}`"))
        })?;
        Ok(Attached { link, _object: PhantomData })
    }
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        // SAFETY: the link is owned and destroyed once.
        unsafe { libbpf_sys::bpf_link__destroy(self.link.as_ptr()) };
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // SAFETY: the object is owned and closed once; the arena's mapping goes with it and is not used after.
        unsafe { libbpf_sys::bpf_object__close(self.object.as_ptr()) };
        FREE_ARENAS.lock().unwrap_or_else(PoisonError::into_inner).push(self.address);
    }
}
