use core::ffi::CStr;

use super::{Errno, Map, Pages, sys};

/// An eBPF object in the kernel; dropping it detaches its programs and closes it.
#[derive(Debug)]
pub struct Object {
    handle: i64,
}

impl Object {
    /// Loads an ELF object, most often one that `include_bytes!` put into the guest.
    ///
    /// # Errors
    /// [`Errno::INVAL`] for any failure: the host tells the person why on its standard error.
    pub fn load(elf: &[u8]) -> Result<Self, Errno> {
        let len = i32::try_from(elf.len()).map_err(|_| Errno::INVAL)?;
        // SAFETY: the host reads `len` bytes that the slice owns.
        Self::from_handle(unsafe { sys::load(elf.as_ptr(), len) })
    }

    /// [`Object::load`] with the object's arena placed at `arena`, which must be as long as the arena is.
    ///
    /// # Errors
    /// As [`Object::load`]; a kernel before 6.9 has no arenas.
    pub fn load_with_arena(elf: &[u8], arena: &mut Pages) -> Result<Self, Errno> {
        let len = i32::try_from(elf.len()).map_err(|_| Errno::INVAL)?;
        // SAFETY: the host reads `len` bytes that the slice owns and maps over pages that `arena` owns; it is volatile
        // memory from then on, which `Pages` never gives a reference to.
        let handle = unsafe { sys::load_at(elf.as_ptr(), len, arena.as_mut_ptr()) };
        let object = Self::from_handle(handle)?;
        arena.set_mapped();
        Ok(object)
    }

    fn from_handle(handle: i64) -> Result<Self, Errno> {
        if handle > 0 { Ok(Self { handle }) } else { Err(Errno::INVAL) }
    }

    /// Attaches a program where its section says.
    ///
    /// # Errors
    /// [`Errno::NOENT`] where there is no such program; else what the kernel said.
    pub fn attach(&self, program: &CStr) -> Result<(), Errno> {
        // SAFETY: both are NUL-terminated or null, and only read.
        Errno::check(unsafe { sys::attach(self.handle, program.as_ptr().cast(), core::ptr::null()) }).map(drop)
    }

    /// Attaches a program to `target`: a cgroup's path, an interface, `path:symbol`, according to its type.
    ///
    /// # Errors
    /// As [`Object::attach`].
    pub fn attach_to(&self, program: &CStr, target: &CStr) -> Result<(), Errno> {
        // SAFETY: as above.
        let result = unsafe { sys::attach(self.handle, program.as_ptr().cast(), target.as_ptr().cast()) };
        Errno::check(result).map(drop)
    }

    /// Attaches a program to the directory behind a WASI descriptor: a cgroup that was preopened.
    ///
    /// # Errors
    /// As [`Object::attach`].
    pub fn attach_to_directory(&self, program: &CStr, descriptor: i32) -> Result<(), Errno> {
        // SAFETY: as above.
        Errno::check(unsafe { sys::attach_fd(self.handle, program.as_ptr().cast(), descriptor) }).map(drop)
    }

    /// Reads on in what an attached iterator program prints, into `buf`; the bytes read, or 0 at its end, after which
    /// the next call starts it anew. Skep only.
    ///
    /// # Errors
    /// [`Errno::NOENT`] where no attached program has that name; [`Errno::INVAL`] for one that is no iterator, or an
    /// empty `buf`.
    pub fn read_iterator(&self, program: &CStr, buf: &mut [u8]) -> Result<usize, Errno> {
        let len = u32::try_from(buf.len()).unwrap_or(u32::MAX);
        // SAFETY: the host reads a NUL-terminated name and writes at most `len` bytes, which `buf` has.
        let read = unsafe { sys::iter_read(self.handle, program.as_ptr().cast(), buf.as_mut_ptr(), len) };
        Errno::check(read).map(|bytes| bytes as usize)
    }

    /// The map of that name.
    ///
    /// # Errors
    /// [`Errno::NOENT`] where there is none.
    pub fn map(&self, name: &CStr) -> Result<Map<'_>, Errno> {
        // SAFETY: as above.
        let handle = Errno::check(unsafe { sys::map_fd(self.handle, name.as_ptr().cast()) })?;
        Ok(Map::new(self, handle))
    }

    pub(crate) fn handle(&self) -> i64 {
        self.handle
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the handle is ours and not used again.
        unsafe { sys::close(self.handle) };
    }
}
