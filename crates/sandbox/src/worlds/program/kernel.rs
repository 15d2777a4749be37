//! What world `program` needs of the kernel. The runtime implements it over libbpf, tests over tables in memory.

use std::{io::Read, ops::ControlFlow, os::fd::BorrowedFd, sync::Arc, time::Duration};

use rustix::io::Errno;
use skep_error::Result;

/// Loads objects.
pub trait Kernel {
    /// Opens and loads the ELF object `elf`; its arena, if `arena_at` is given, at that address of this process.
    ///
    /// # Errors
    /// What was wrong with it, to be shown to a person; its errno goes to the guest.
    fn load(&mut self, elf: &[u8], arena_at: Option<u64>) -> Result<Box<dyn Object + Send>>;
}

/// A loaded object; dropping it detaches its programs and closes its maps.
pub trait Object {
    /// Attaches a program.
    ///
    /// # Errors
    /// As [`Kernel::load`].
    fn attach(&mut self, program: &str, target: Target<'_>) -> Result<()>;

    /// A map by its name.
    ///
    /// # Errors
    /// As [`Kernel::load`].
    fn map(&self, name: &str) -> Result<Arc<dyn Map + Send + Sync>>;

    /// Its perf event arrays: what programs send there before somebody has opened the user-space end is lost.
    fn perf_buffers(&self) -> Vec<Arc<dyn Map + Send + Sync>>;

    /// Where in its arena global variables belong that the host has to fill in, and their initial values.
    fn arena_globals(&self) -> Option<(u64, &[u8])>;

    /// The object's arena.
    fn arena(&self) -> Option<Arc<dyn Map + Send + Sync>>;

    /// Starts an attached iterator program; what it prints, from the beginning.
    ///
    /// # Errors
    /// As [`Kernel::load`]; `NotFound` where no attached program of that name is an iterator.
    fn iterate(&self, program: &str) -> Result<Box<dyn Read + Send>>;

    /// Records that its programs could not put into a full ring buffer so far.
    fn dropped(&self) -> u64;
}

/// Where a program is attached.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// What its section says.
    Section,
    /// A text whose meaning depends on its type.
    Named(&'a str),
    /// An open directory.
    Directory(BorrowedFd<'a>),
}

/// A map of a loaded object.
pub trait Map {
    /// What does not change in its life.
    fn info(&self) -> &MapInfo;

    /// Copies the value of `key`; lengths are those of [`MapInfo`].
    ///
    /// # Errors
    /// The kernel's, here and below.
    fn lookup(&self, key: &[u8], value: &mut [u8], flags: u64) -> Result<(), Errno>;

    /// Stores `value` under `key`.
    ///
    /// # Errors
    /// The kernel's.
    fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno>;

    /// Removes `key`.
    ///
    /// # Errors
    /// The kernel's.
    fn delete(&self, key: &[u8], flags: u64) -> Result<(), Errno>;

    /// The key after `key`, or the first.
    ///
    /// # Errors
    /// The kernel's.
    fn next_key(&self, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno>;

    /// Opens its user-space end.
    ///
    /// # Errors
    /// `BadInput` when it is no ring or perf buffer.
    fn open_buffer(&self) -> Result<Box<dyn Buffer + Send>>;

    /// Waits until a ring buffer has records, `stop` is readable, or the time is over; whether it has.
    ///
    /// # Errors
    /// The kernel's.
    fn wait(&self, stop: BorrowedFd<'_>, timeout: Duration) -> Result<Polled, Errno>;

    /// What `mmap(2)` maps, and what stands for the map as a value of another.
    fn descriptor(&self) -> BorrowedFd<'_>;
}

/// What does not change in a map's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapInfo {
    /// Its name in the object.
    pub name: String,
    /// `enum bpf_map_type`.
    pub kind: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value as the program sees it.
    pub value_size: u32,
    /// Entries at most.
    pub max_entries: u32,
    /// Flags of its creation.
    pub flags: u32,
    /// Bytes of a value as user space sees it.
    pub user_value_size: usize,
    /// Bytes that can be mapped.
    pub mappable: u64,
    /// What its values mean to user space.
    pub values: Values,
}

impl MapInfo {
    /// [`MapInfo::kind`] of a ring buffer (`BPF_MAP_TYPE_RINGBUF`).
    pub const RINGBUF: u32 = 27;
    /// [`MapInfo::kind`] of an arena (`BPF_MAP_TYPE_ARENA`).
    pub const ARENA: u32 = 33;
}

/// What a map's keys and values mean to user space: a guest must not name descriptors of the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Bytes.
    Plain,
    /// A value is a descriptor of a cgroup directory: the guest gives one of its own.
    Cgroup,
    /// A value is a map: the guest gives a handle.
    Map,
    /// The second four bytes of a value are a descriptor of a program, or 0.
    WithProgram,
    /// Keys or values are descriptors that a guest has no way to name.
    Descriptors,
}

/// The user-space end of a ring or perf buffer.
pub trait Buffer {
    /// Waits for records, at most `timeout`, and hands over each until `each` breaks off.
    ///
    /// # Errors
    /// The kernel's.
    fn poll(
        &mut self,
        timeout: Duration,
        stop: BorrowedFd<'_>,
        each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<Polled, Errno>;

    /// Records lost so far, as far as the buffer itself knows.
    fn lost(&self) -> u64;
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// There were records.
    Records,
    /// Nothing came in time.
    TimedOut,
    /// The run was asked to end.
    Stopped,
}
