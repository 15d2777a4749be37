/// Data that is valid for every pattern of bits and has no padding: what maps and records hold.
///
/// [`record!`](crate::record) implements it for structures of such fields, checked when it compiles.
///
/// # Safety
/// Every pattern of `size_of::<Self>()` initialised bytes is a value, and every value is fully initialised bytes.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($ty:ty),*) => {
        $(
            // SAFETY: an integer has neither padding nor invalid patterns.
            unsafe impl Plain for $ty {}
        )*
    };
}
plain!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

// SAFETY: an array's elements follow each other without gaps.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// The value whose bytes are all zero.
pub(crate) fn zeroed<T: Plain>() -> T {
    // SAFETY: every pattern of bits is a value of a `Plain` type.
    unsafe { core::mem::zeroed() }
}

/// Reads a value from the start of `bytes`; `None` where they are too few.
pub fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: the bytes are there, any pattern is a value, and the read needs no alignment.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// Declares a structure laid out as C does, whose fields are [`Plain`] and leave no gaps: a record or a map's value.
///
/// ```
/// skep_guest::record! {
///     /// What the program sends.
///     pub struct Event {
///         /// The process.
///         pub pid: u32,
///         /// Its parent.
///         pub ppid: u32,
///         /// Its name, padded with zero.
///         pub comm: [u8; 16],
///     }
/// }
/// let bytes = [7u8; 24];
/// assert_eq!(Event::read(&bytes).map(|event| event.pid), Some(0x0707_0707));
/// assert!(Event::read(&bytes[..23]).is_none());
/// ```
#[macro_export]
macro_rules! record {
    ($(#[$attr:meta])* $vis:vis struct $name:ident { $($(#[$field_attr:meta])* $field_vis:vis $field:ident: $ty:ty),* $(,)? }) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug)]
        #[repr(C)]
        $vis struct $name { $($(#[$field_attr])* $field_vis $field: $ty),* }

        const _: () = {
            const fn is_plain<T: $crate::Plain>() {}
            $(is_plain::<$ty>();)*
            assert!(0 $(+ size_of::<$ty>())* == size_of::<$name>(), "the structure has padding: name it as a field");
        };

        // SAFETY: every field is plain and together they fill the structure; both checked above.
        unsafe impl $crate::Plain for $name {}

        impl $name {
            /// Reads one from the start of a record; `None` where it is too short.
            $vis fn read(record: &[u8]) -> Option<Self> {
                $crate::program::read(record)
            }
        }
    };
}
