use core::marker::PhantomData;

use skep_abi::{
    hooks::wire::{Column, Request, ShapeResponse, Status},
    layout::List,
    operator::FieldKind,
};

use super::{
    Record,
    memory::Arena,
    record::{Binding, MAX_FIELDS, bind, gather, request, scatter},
    reply::{Place, list},
};
use crate::Plain;

/// The most columns, and the most hidden names, of one response.
const MAX_COLUMNS: usize = 16;

struct Pending {
    response: ShapeResponse,
    columns: [Column; MAX_COLUMNS],
    hidden: [List<u8>; MAX_COLUMNS],
    arena: Arena,
}

const NO_COLUMN: Column = Column { name: List::new(0, 0), kind: FieldKind::Invalid, width: 0, values: List::new(0, 0) };
const NONE: ShapeResponse =
    ShapeResponse { status: Status::Done, error: List::new(0, 0), columns: List::new(0, 0), hidden: List::new(0, 0) };

static PENDING: Place<Pending> = Place::new(Pending {
    response: NONE,
    columns: [NO_COLUMN; MAX_COLUMNS],
    hidden: [List::new(0, 0); MAX_COLUMNS],
    arena: Arena::new(),
});
static RESPONSE: Place<ShapeResponse> = Place::new(NONE);

/// A value that a column can hold.
pub trait ColumnValue: Plain {
    /// Its kind.
    const KIND: FieldKind;
}

macro_rules! column_values {
    ($($ty:ty = $kind:ident),*) => { $(impl ColumnValue for $ty { const KIND: FieldKind = FieldKind::$kind; })* };
}
column_values!(u8 = Uint8, u16 = Uint16, u32 = Uint32, u64 = Uint64, i8 = Int8, i16 = Int16, i32 = Int32, i64 = Int64);

/// A text of at most `N` bytes, ended by the first NUL.
impl<const N: usize> ColumnValue for [u8; N] {
    const KIND: FieldKind = FieldKind::CString;
}

/// A batch that is being shaped.
pub struct Shaping<'a, R> {
    request: &'a Request,
    offsets: Option<[u32; MAX_FIELDS]>,
    pending: &'a mut Pending,
    of: PhantomData<R>,
}

impl<R: Record> Shaping<'_, R> {
    /// Records in the batch, selected or not.
    pub fn count(&self) -> usize {
        self.request.count as usize
    }

    /// Whether record `index` is selected.
    pub fn selected(&self, index: usize) -> bool {
        if index >= self.count() {
            return false;
        }
        let word = (self.request.selected.at as usize + index / 64 * 8) as *const u64;
        // SAFETY: the host's bitmap has a bit for every record.
        unsafe { *word >> (index % 64) & 1 == 1 }
    }

    /// Calls `change` on every selected record, with its index; what it changes is changed in the batch.
    pub fn for_each(&mut self, mut change: impl FnMut(usize, &mut R)) {
        for index in 0..self.count() {
            if !self.selected(index) {
                continue;
            }
            let record = (self.request.records.at as usize + index * self.request.stride as usize) as *mut u8;
            match &self.offsets {
                // SAFETY: a record of the request, laid out as `R` is, that nothing else refers to now.
                None => change(index, unsafe { &mut *record.cast::<R>() }),
                Some(offsets) => {
                    // SAFETY: a record of the request that the offsets were bound to.
                    let mut value = unsafe { gather::<R>(record, offsets) };
                    change(index, &mut value);
                    // SAFETY: as above.
                    unsafe { scatter(&value, record, offsets) };
                }
            }
        }
    }

    /// Adds a column: a value for each record, all zero at first. `None` when there are too many columns, or memory is
    /// at its limit.
    pub fn add_column<T: ColumnValue>(&mut self, name: &'static str) -> Option<&'static mut [T]> {
        let count = self.count();
        let used = self.pending.response.columns.len as usize;
        let place = self.pending.columns.get_mut(used)?;
        let values = self.pending.arena.values::<T>(count)?;
        let bytes = List::new(values.as_ptr() as usize as u32, size_of_val(values) as u32);
        *place = Column { name: list(name.as_bytes()), kind: T::KIND, width: size_of::<T>() as u32, values: bytes };
        self.pending.response.columns.len += 1;
        Some(values)
    }

    /// Hides a field or column from outputs; false when too many are hidden.
    pub fn hide(&mut self, name: &'static str) -> bool {
        let used = self.pending.response.hidden.len as usize;
        let Some(place) = self.pending.hidden.get_mut(used) else { return false };
        *place = list(name.as_bytes());
        self.pending.response.hidden.len += 1;
        true
    }
}

fn failed(error: List<u8>) -> i64 {
    RESPONSE.answer(ShapeResponse { status: Status::Failed, error, ..NONE })
}

/// What `skep_shape` does.
///
/// # Safety
/// `address` and `len` are the host's arguments.
pub unsafe fn shape<R: Record>(address: u32, len: u32, body: impl FnOnce(&mut Shaping<'_, R>)) -> i64 {
    // SAFETY: the host's arguments.
    let Some(request) = (unsafe { request(address, len) }) else {
        return failed(list(b"a request of another version"));
    };
    // SAFETY: the request is the host's.
    let offsets = match unsafe { bind::<R>(request) } {
        Binding::InPlace => None,
        Binding::Gathered(offsets) => Some(offsets),
        Binding::Nowhere(why) => return failed(why),
    };
    // SAFETY: taken here only, and the host never calls into a call.
    let pending = unsafe { PENDING.get() };
    pending.arena.reset();
    pending.response = NONE;
    body(&mut Shaping { request, offsets, pending: &mut *pending, of: PhantomData });
    pending.response.columns.at = pending.columns.as_ptr() as usize as u32;
    pending.response.hidden.at = pending.hidden.as_ptr() as usize as u32;
    RESPONSE.answer(pending.response)
}
