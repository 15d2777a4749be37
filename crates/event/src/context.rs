//! The records of the profiling collectors: world `filter`'s event of 88 bytes, and what its public layout has no room for.
//!
//! The same layout is `struct skep_event` in `gadgets/include/skep_event.h`.

use crate::{Field, FieldKind, Place, Schema};
use skep_abi::event_context::{self, MEMBERS, MemberType};

/// Bytes of a record.
pub const STRIDE: usize = 176;

/// Set in `syscall_id` for a system call of i386 (a 32-bit program, or `int 0x80`): its numbers are not those of x86-64.
pub const I386: u32 = 1 << 31;

/// Offsets and lengths of what follows the event.
pub mod tail {
    /// The thread's name, 16 bytes.
    pub const COMM: usize = 88;
    /// How many events the record stands for, u64; times are their sums.
    pub const COUNT: usize = 104;
    /// The id of the thread's cgroup (v2), u64.
    pub const CGROUP: usize = 112;
    /// Lock: [`super::LockKind`], u16.
    pub const LOCK_KIND: usize = 120;
    /// 1 for a wait or call that was under way when the run ended, and whose time is up to there, u8.
    pub const UNFINISHED: usize = 122;
    /// Lock: the futex operation or the flags of `lock:contention_begin`, u32.
    pub const LOCK_FLAGS: usize = 124;
    /// System call: six arguments, u64 each, where they were asked for.
    pub const ARGS: usize = 128;
}

/// What was waited for: the values of `lock_kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum LockKind {
    /// A lock in user space, by futex.
    Futex = 0,
    /// A condition variable in user space: the wait was not for a lock to be let go.
    Condition = 1,
    /// A lock of the kernel.
    Kernel = 2,
}

impl LockKind {
    /// The kind with that number.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        Some(match raw {
            0 => Self::Futex,
            1 => Self::Condition,
            2 => Self::Kernel,
            _ => return None,
        })
    }

    /// Its name in outputs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Futex => "futex",
            Self::Condition => "condition",
            Self::Kernel => "kernel",
        }
    }
}

/// The schema of those records, called `events`, with the arguments of system calls.
pub fn schema() -> Schema {
    schema_of("events", true)
}

/// The schema of those records with the name of what was collected: it tells a record file's reader what to show. Without
/// `arguments` it has no fields for those of system calls: nobody can take bytes that were never filled for arguments that are 0.
///
/// # Panics
/// Never: the table is fixed and a test makes it.
pub fn schema_of(name: &str, arguments: bool) -> Schema {
    let mut fields: Vec<Field> = MEMBERS
        .iter()
        .map(|member| {
            let kind = match member.ty {
                MemberType::U32 => FieldKind::Uint32,
                MemberType::U64 => FieldKind::Uint64,
                MemberType::I64 => FieldKind::Int64,
            };
            Field::new(member.name, kind, Place::Record { offset: member.offset, size: member.ty.size() })
        })
        .collect();
    let tail = [
        ("comm", FieldKind::CString, tail::COMM, 16),
        ("count", FieldKind::Uint64, tail::COUNT, 8),
        ("cgroup_id", FieldKind::Uint64, tail::CGROUP, 8),
        ("lock_kind", FieldKind::Uint16, tail::LOCK_KIND, 2),
        ("unfinished", FieldKind::Bool, tail::UNFINISHED, 1),
        ("lock_flags", FieldKind::Uint32, tail::LOCK_FLAGS, 4),
    ];
    fields.extend(tail.map(|(name, kind, offset, size)| Field::new(name, kind, Place::Record { offset, size })));
    if arguments {
        let place = |at| Place::Record { offset: tail::ARGS + 8 * at, size: 8 };
        fields.extend((0..6usize).map(|at| Field::new(format!("arg{at}"), FieldKind::Uint64, place(at))));
    }
    Schema::new(name, STRIDE, fields).expect("the table is well formed")
}

const _: () = assert!(event_context::SIZE == tail::COMM && tail::ARGS + 48 == STRIDE);

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_is_well_formed() {
        let schema = super::schema();
        assert_eq!(schema.stride(), 176);
        assert_eq!(schema.find("return_value"), Some(11));
        assert!(schema.find("arg5").is_some());
    }
}
