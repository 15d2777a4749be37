use core::mem::MaybeUninit;

use skep_abi::{
    hooks::wire::{self, Request},
    layout::List,
    operator::FieldKind,
};

use super::reply::{Place, Why};

/// A field that a [`Record`] wants.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in the source's schema.
    pub name: &'static str,
    /// Where it lies in the record, in bytes.
    pub offset: usize,
    /// Bytes of it.
    pub size: usize,
}

/// A struct of fields of a source's records; derived.
///
/// # Safety
/// The type is `#[repr(C)]`, [`Self::FIELDS`] are all its fields, and every pattern of bits is a value.
pub unsafe trait Record: Copy + 'static {
    /// The fields.
    const FIELDS: &'static [Field];
}

/// The most fields that a record can have.
pub(crate) const MAX_FIELDS: usize = 64;

/// Where the fields of a record lie in a source's. It lives on the stack, once a batch; there is no allocator to box it.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Binding {
    /// Just where they lie in the record: it is read in place.
    InPlace,
    /// Elsewhere: for each field, its offset there.
    Gathered([u32; MAX_FIELDS]),
    /// Nowhere, as the text says: a field is missing, or its size is another.
    Nowhere(List<u8>),
}

/// The request that lies at `address`.
///
/// # Safety
/// `address` is that of a request, as the host passes it, which stands for the length of the call.
pub(crate) unsafe fn request<'a>(address: u32, len: u32) -> Option<&'a Request> {
    // SAFETY: the host wrote a request there; its length says that it is this version's.
    (len as usize == size_of::<Request>()).then(|| unsafe { &*(address as usize as *const Request) })
}

/// # Safety
/// `list` is one of a request.
unsafe fn bytes<'a>(list: skep_abi::layout::List<u8>) -> &'a [u8] {
    // SAFETY: the host keeps what a request points to for the length of the call.
    unsafe { core::slice::from_raw_parts(list.at as usize as *const u8, list.len as usize) }
}

static WHY: Place<Why> = Place::new(Why::new());

#[cold]
fn nowhere(say: impl FnOnce(&mut Why) -> &mut Why) -> Binding {
    // SAFETY: taken here only, and the host has read the last text before it calls again.
    Binding::Nowhere(say(unsafe { WHY.get() }).list())
}

/// Finds the fields of `R` in the request's records.
///
/// # Safety
/// The request is the host's.
pub(crate) unsafe fn bind<R: Record>(request: &Request) -> Binding {
    // SAFETY: as in `bytes`.
    let fields = unsafe {
        core::slice::from_raw_parts(request.fields.at as usize as *const wire::Field, request.fields.len as usize)
    };
    let mut offsets = [0; MAX_FIELDS];
    let mut in_place = request.stride as usize == size_of::<R>();
    if R::FIELDS.len() > MAX_FIELDS {
        return nowhere(|why| why.start("more fields are wanted than ").number(MAX_FIELDS as u32));
    }
    for (wanted, offset) in R::FIELDS.iter().zip(&mut offsets) {
        // SAFETY: the name belongs to the request.
        let found = fields.iter().find(|field| unsafe { bytes(field.name) } == wanted.name.as_bytes());
        match found {
            Some(field) if field.size as usize == wanted.size && field.kind != FieldKind::Invalid => {
                *offset = field.offset;
                in_place &= field.offset as usize == wanted.offset;
            }
            Some(field) if field.size as usize != wanted.size => {
                return nowhere(|why| {
                    let why = why.start("field ").text(wanted.name).text(" has ").number(field.size);
                    why.text(" bytes, the plugin wants ").number(wanted.size as u32)
                });
            }
            _ => return nowhere(|why| why.start("the records have no field ").text(wanted.name)),
        }
    }
    if in_place { Binding::InPlace } else { Binding::Gathered(offsets) }
}

/// The fields of one record, copied together.
///
/// # Safety
/// `record` points to a record of the request that `offsets` were bound to.
pub(crate) unsafe fn gather<R: Record>(record: *const u8, offsets: &[u32; MAX_FIELDS]) -> R {
    let mut gathered = MaybeUninit::<R>::zeroed();
    for (field, offset) in R::FIELDS.iter().zip(offsets) {
        let to = gathered.as_mut_ptr().cast::<u8>();
        // SAFETY: the field lies in both, of the same size: `bind` has compared.
        unsafe {
            core::ptr::copy_nonoverlapping(record.add(*offset as usize), to.add(field.offset), field.size);
        }
    }
    // SAFETY: every pattern of bits is a value of a `Record`.
    unsafe { gathered.assume_init() }
}

/// The fields of one record, copied back to where they came from.
///
/// # Safety
/// As [`gather`].
pub(crate) unsafe fn scatter<R: Record>(value: &R, record: *mut u8, offsets: &[u32; MAX_FIELDS]) {
    for (field, offset) in R::FIELDS.iter().zip(offsets) {
        let from = (&raw const *value).cast::<u8>();
        // SAFETY: as in `gather`.
        unsafe {
            core::ptr::copy_nonoverlapping(from.add(field.offset), record.add(*offset as usize), field.size);
        }
    }
}
