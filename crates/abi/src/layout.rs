//! Layouts of what passes between host and guest, their canonical description and its fingerprint.
//!
//! The description is a text that names everything both sides have to agree on, in order: each field's name, offset,
//! size and alignment, the same of every nested and pointed-to type, and of an enum its representation and each
//! variant's name and number. The names of types do not matter, so they do not stand in it.
//!
//! ```
//! use skep_abi::layout::{Layout, describe};
//!
//! #[derive(Layout)]
//! #[repr(C)]
//! struct Span { start: u32, len: u16 }
//!
//! assert_eq!(describe(&Span::DESC).as_str(), "{start@0:u32;len@4:u16}8/4");
//! ```

use core::marker::PhantomData;

pub use skep_derive::{Layout, Wire};

/// The layout of a type.
#[derive(Clone, Copy, Debug)]
pub struct Desc {
    /// Bytes.
    pub size: usize,
    /// Bytes.
    pub align: usize,
    /// What it is made of.
    pub shape: Shape,
}

/// What a type is made of.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// A number, by its name in Rust.
    Scalar(&'static str),
    /// So many of one type.
    Array(&'static Desc, usize),
    /// The fields, in the order of the declaration.
    Struct(&'static [Member]),
    /// The representation's name, and each variant's name and number.
    Enum(&'static str, &'static [(&'static str, i64)]),
    /// A [`List`] of the type.
    List(&'static Desc),
}

/// A field of a struct.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The field's name.
    pub name: &'static str,
    /// Bytes from the struct's start.
    pub offset: usize,
    /// The field's type.
    pub desc: &'static Desc,
}

/// A type whose layout is fixed and known.
pub trait Layout {
    /// The layout.
    const DESC: Desc;
}

/// A value that passes between host and guest as the bytes of its layout, little endian, padding 0.
pub trait Wire: Sized {
    /// Writes the value; `to` has the layout's size.
    fn write_to(&self, to: &mut [u8]);
    /// Reads a value; `None` where `from` is too short or holds a number that is no variant.
    fn read_from(from: &[u8]) -> Option<Self>;
}

/// Consecutive values of one type somewhere in linear memory.
#[repr(C)]
pub struct List<T> {
    /// The address of the first, a multiple of the type's alignment; of an empty list it means nothing.
    pub at: u32,
    /// How many.
    pub len: u32,
    of: PhantomData<T>,
}

impl<T> List<T> {
    /// `len` values from address `at`.
    pub const fn new(at: u32, len: u32) -> Self {
        Self { at, len, of: PhantomData }
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<T> {}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl<T> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.len) == (other.at, other.len)
    }
}

impl<T> core::fmt::Debug for List<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} at {:#x}", self.len, self.at)
    }
}

impl<T: Layout> Layout for List<T> {
    const DESC: Desc = Desc { size: 8, align: 4, shape: Shape::List(&T::DESC) };
}

impl<T> Wire for List<T> {
    fn write_to(&self, to: &mut [u8]) {
        self.at.write_to(&mut to[..4]);
        self.len.write_to(&mut to[4..8]);
    }

    fn read_from(from: &[u8]) -> Option<Self> {
        Some(Self::new(u32::read_from(from)?, u32::read_from(from.get(4..)?)?))
    }
}

impl<T: Layout, const N: usize> Layout for [T; N] {
    const DESC: Desc = Desc { size: size_of::<Self>(), align: align_of::<Self>(), shape: Shape::Array(&T::DESC, N) };
}

macro_rules! scalars {
    ($($ty:ident)*) => {
        $(
            impl Layout for $ty {
                const DESC: Desc =
                    Desc { size: size_of::<$ty>(), align: size_of::<$ty>(), shape: Shape::Scalar(stringify!($ty)) };
            }

            impl Wire for $ty {
                fn write_to(&self, to: &mut [u8]) {
                    to.copy_from_slice(&self.to_le_bytes());
                }

                fn read_from(from: &[u8]) -> Option<Self> {
                    Some(Self::from_le_bytes(*from.first_chunk()?))
                }
            }
        )*
    };
}

scalars! { u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 }

/// Bytes of the longest description.
pub const MAX_DESCRIPTION: usize = 4096;

/// A canonical description.
pub struct Description {
    bytes: [u8; MAX_DESCRIPTION],
    len: usize,
}

/// The canonical description of one type. Panics, which in a constant is an error of the build, above
/// [`MAX_DESCRIPTION`] bytes.
pub const fn describe(desc: &Desc) -> Description {
    Description { bytes: [0; MAX_DESCRIPTION], len: 0 }.desc(desc)
}

/// The fingerprint of a hook's request and response together: BLAKE3 of the description of both. Panics as
/// [`describe`].
pub const fn fingerprint(request: &Desc, response: &Desc) -> [u8; 32] {
    let text = Description { bytes: [0; MAX_DESCRIPTION], len: 0 };
    let text = text.text("skep layout 1:").desc(request).text("->").desc(response);
    crate::blake3::hash(&text.bytes, text.len)
}

impl Description {
    /// The text.
    pub fn as_str(&self) -> &str {
        // Only texts were put in, so it is one; names may be of any script.
        core::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    const fn text(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut i = 0;
        while i < text.len() {
            self.bytes[self.len] = text[i];
            self.len += 1;
            i += 1;
        }
        self
    }

    const fn number(self, number: i64) -> Self {
        let mut text = if number < 0 { self.text("-") } else { self };
        let number = number.unsigned_abs();
        let mut unit = 1;
        while number / unit >= 10 {
            unit *= 10;
        }
        while unit > 0 {
            text.bytes[text.len] = b'0' + (number / unit % 10) as u8;
            text.len += 1;
            unit /= 10;
        }
        text
    }

    const fn desc(self, desc: &Desc) -> Self {
        match &desc.shape {
            Shape::Scalar(name) => self.text(name),
            Shape::Array(of, count) => self.text("[").desc(of).text(";").number(*count as i64).text("]"),
            Shape::List(of) => self.text("*").desc(of),
            Shape::Struct(members) => {
                self.members(members).number(desc.size as i64).text("/").number(desc.align as i64)
            }
            Shape::Enum(repr, variants) => self.text(repr).variants(variants),
        }
    }

    const fn members(self, members: &[Member]) -> Self {
        let mut text = self.text("{");
        let mut i = 0;
        while i < members.len() {
            let member = &members[i];
            text = if i == 0 { text } else { text.text(";") };
            text = text.text(member.name).text("@").number(member.offset as i64).text(":").desc(member.desc);
            i += 1;
        }
        text.text("}")
    }

    const fn variants(self, variants: &[(&str, i64)]) -> Self {
        let mut text = self.text("(");
        let mut i = 0;
        while i < variants.len() {
            text = if i == 0 { text } else { text.text("|") };
            text = text.text(variants[i].0).text("=").number(variants[i].1);
            i += 1;
        }
        text.text(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Layout)]
    #[repr(C)]
    struct Inner {
        a: u32,
        b: u32,
    }

    #[derive(Layout)]
    #[repr(C)]
    struct Request {
        id: u64,
        inner: Inner,
        rows: List<Inner>,
    }

    #[derive(Layout)]
    #[repr(C)]
    struct Response {
        kept: u32,
    }

    #[derive(Layout, Wire, Clone, Copy, Debug, PartialEq)]
    #[repr(i16)]
    enum Choice {
        No = -1,
        Yes = 300,
    }

    const BASE: [u8; 32] = fingerprint(&Request::DESC, &Response::DESC);

    fn with_request<T: Layout>() -> [u8; 32] {
        fingerprint(&T::DESC, &Response::DESC)
    }

    #[test]
    fn a_description_names_offsets_sizes_and_pointed_to_types() {
        assert_eq!(
            describe(&Request::DESC).as_str(),
            "{id@0:u64;inner@8:{a@0:u32;b@4:u32}8/4;rows@16:*{a@0:u32;b@4:u32}8/4}24/8"
        );
        assert_eq!(describe(&<[Choice; 3]>::DESC).as_str(), "[i16(No=-1|Yes=300);3]");
    }

    #[test]
    fn a_change_in_a_nested_type_changes_the_fingerprint() {
        // The origin enters nested types by name only; here the names stay and what they name changes.
        mod other {
            use super::super::*;
            #[derive(Layout)]
            #[repr(C)]
            pub(super) struct Inner {
                pub a: u32,
                pub b: i32,
            }
            #[derive(Layout)]
            #[repr(C)]
            pub(super) struct Request {
                pub id: u64,
                pub inner: Inner,
                pub rows: List<super::Inner>,
            }
            #[derive(Layout)]
            #[repr(C)]
            pub(super) struct BehindAList {
                pub id: u64,
                pub(super) inner: super::Inner,
                pub rows: List<Inner>,
            }
        }
        assert_ne!(with_request::<other::Request>(), BASE);
        assert_ne!(with_request::<other::BehindAList>(), BASE);
    }

    #[test]
    fn the_order_of_fields_counts() {
        // The origin sorts fields away; these two have the same fields and the same size.
        #[derive(Layout)]
        #[repr(C)]
        struct Reordered {
            inner: Inner,
            id: u64,
            rows: List<Inner>,
        }
        assert_ne!(with_request::<Reordered>(), BASE);
    }

    #[test]
    fn the_response_counts() {
        // The origin leaves the response out.
        #[derive(Layout)]
        #[repr(C)]
        struct Wider {
            kept: u64,
        }
        assert_ne!(fingerprint(&Request::DESC, &Wider::DESC), BASE);
    }

    #[test]
    fn a_renumbered_variant_counts_and_a_renamed_type_does_not() {
        #[derive(Layout)]
        #[repr(i16)]
        #[allow(dead_code)]
        enum Renumbered {
            No = -1,
            Yes = 301,
        }
        #[derive(Layout)]
        #[repr(C)]
        struct Renamed {
            kept: u32,
        }
        assert_ne!(with_request::<Renumbered>(), with_request::<Choice>());
        assert_eq!(fingerprint(&Request::DESC, &Renamed::DESC), BASE);
    }

    #[test]
    fn a_value_survives_the_wire_and_an_unknown_variant_does_not() {
        let mut bytes = [0; 2];
        Choice::Yes.write_to(&mut bytes);
        assert_eq!(bytes, [44, 1]);
        assert_eq!(Choice::read_from(&bytes), Some(Choice::Yes));
        assert_eq!(Choice::read_from(&[0, 0]), None);
        assert_eq!(Choice::read_from(&[0]), None);
    }
}
