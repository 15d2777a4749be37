//! The event of world `filter`: `EventContext`, 88 bytes, little endian.
//!
//! Public origin: the "WASM Filters" page of Aperture, `#[repr(C)]`. That page's third example reads `duration_ns` at offset 56;
//! under `#[repr(C)]` that is `wait_ns`, and `duration_ns` is at 72. The table here is the layout.

/// Bytes of an event.
pub const SIZE: usize = 88;
/// Alignment of an event in guest memory.
pub const ALIGN: usize = 8;

/// What an event is about: the values of `event_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum EventType {
    /// A sample of a CPU.
    Cpu = 0,
    /// A wait for a lock.
    Lock = 1,
    /// A system call.
    Syscall = 2,
}

/// How the bytes of a member are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum MemberType {
    U32,
    U64,
    I64,
}

impl MemberType {
    /// Bytes it takes.
    pub const fn size(self) -> usize {
        match self {
            Self::U32 => 4,
            Self::U64 | Self::I64 => 8,
        }
    }
}

/// One member of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its public name.
    pub name: &'static str,
    /// Its type.
    pub ty: MemberType,
    /// Bytes from the event's start.
    pub offset: usize,
}

macro_rules! event_context {
    ($(
        $(#[$doc:meta])* $name:ident: $ty:ident = $tag:ident @ $offset:literal, $constant:ident
        $(, $padding:ident @ $padding_offset:literal)?;
    )*) => {
        /// Every member, by rising offset. Bytes 12–15, 28–31 and 68–71 are padding and always 0.
        pub const MEMBERS: &[Member] =
            &[$(Member { name: stringify!($name), ty: MemberType::$tag, offset: $offset },)*];

        /// The offset of each member.
        pub mod offset {
            $(#[doc = concat!("Of `", stringify!($name), "`.")] pub const $constant: usize = $offset;)*
        }

        /// One event as the host has it. End a literal with `..EventContext::default()`.
        // The padding is there by name, so that an event is copied as it lies: worth a hundredth of what asking a filter takes.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct EventContext {
            $(
                $(#[$doc])* pub $name: $ty,
                $(#[doc(hidden)] pub $padding: u32,)?
            )*
        }

        $(const _: () = assert!(core::mem::offset_of!(EventContext, $name) == $offset);)*

        impl EventContext {
            /// The event as the guest sees it.
            #[inline(always)]
            pub fn write_to(&self, to: &mut [u8; SIZE]) {
                // By words: eleven stores, where zeroing first and then storing members would be twice as many.
                let mut words = [0u64; SIZE / 8];
                $(
                    words[$offset / 8] |= (self.$name as u64) << (8 * ($offset % 8));
                    $(words[$padding_offset / 8] |= (self.$padding as u64) << (8 * ($padding_offset % 8));)?
                )*
                for (to, word) in to.as_chunks_mut::<8>().0.iter_mut().zip(words) {
                    *to = word.to_le_bytes();
                }
            }

            /// The event in `bytes`; padding is not looked at, and 0 in the event.
            #[inline(always)]
            pub fn read_from(bytes: &[u8; SIZE]) -> Self {
                let mut event = Self::default();
                $({
                    let mut member = [0; size_of::<$ty>()];
                    member.copy_from_slice(&bytes[$offset..$offset + size_of::<$ty>()]);
                    event.$name = <$ty>::from_le_bytes(member);
                })*
                event
            }
        }
    };
}

event_context! {
    /// 0 CPU, 1 lock, 2 system call: [`EventType`].
    event_type: u32 = U32 @ 0, EVENT_TYPE;
    /// The process (thread group).
    pid: u32 = U32 @ 4, PID;
    /// The thread.
    tid: u32 = U32 @ 8, TID, padding_12 @ 12;
    /// Nanoseconds of CLOCK_MONOTONIC.
    timestamp_ns: u64 = U64 @ 16, TIMESTAMP_NS;
    /// The CPU it happened on.
    cpu_id: u32 = U32 @ 24, CPU_ID, padding_28 @ 28;
    /// The user stack's id, negative if there is none.
    user_stack_id: i64 = I64 @ 32, USER_STACK_ID;
    /// The kernel stack's id, negative if there is none.
    kernel_stack_id: i64 = I64 @ 40, KERNEL_STACK_ID;
    /// Lock: the lock's address.
    lock_addr: u64 = U64 @ 48, LOCK_ADDR;
    /// Lock: nanoseconds waited.
    wait_ns: u64 = U64 @ 56, WAIT_NS;
    /// System call: its number.
    syscall_id: u32 = U32 @ 64, SYSCALL_ID, padding_68 @ 68;
    /// System call: nanoseconds from entry to exit.
    duration_ns: u64 = U64 @ 72, DURATION_NS;
    /// System call: what it returned.
    return_value: i64 = I64 @ 80, RETURN_VALUE;
}

const _: () = assert!(size_of::<EventContext>() == SIZE && align_of::<EventContext>() == ALIGN);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_round_trip_and_its_padding_is_zero() {
        let event = EventContext {
            event_type: EventType::Syscall as u32,
            pid: 1,
            tid: 2,
            timestamp_ns: 3,
            cpu_id: 4,
            user_stack_id: -5,
            kernel_stack_id: 6,
            lock_addr: 7,
            wait_ns: 8,
            syscall_id: 9,
            duration_ns: 10,
            return_value: -11,
            ..EventContext::default()
        };
        let mut bytes = [0xaa; SIZE];
        event.write_to(&mut bytes);
        assert_eq!(EventContext::read_from(&bytes), event);
        for padding in [12..16, 28..32, 68..72] {
            assert_eq!(bytes[padding], [0; 4]);
        }
        assert_eq!(bytes[offset::DURATION_NS], 10);
        assert_eq!(bytes[offset::WAIT_NS], 8);
    }

    #[test]
    fn the_members_and_the_padding_cover_the_event() {
        let members: usize = MEMBERS.iter().map(|member| member.ty.size()).sum();
        assert_eq!(members + 12, SIZE);
    }
}
