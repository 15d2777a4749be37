//! The calls that the probes make; each is safe to call.

use std::{
    ffi::{CStr, CString, c_char},
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
    ptr::{self, NonNull},
};

use libbpf_sys::bpf_insn;

use crate::Errno;

/// Kinds of BTF types, from the kernel's `btf.h`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum BtfKind {
    Struct = 4,
    Typedef = 8,
    Func = 12,
}

/// The kernel's type information.
pub(super) struct Btf(NonNull<libbpf_sys::btf>);

impl Btf {
    /// Reads `/sys/kernel/btf/vmlinux`, some megabytes; `None` when the kernel shows none.
    pub(super) fn of_this_kernel() -> Option<Self> {
        // SAFETY: takes nothing; null on failure.
        NonNull::new(unsafe { libbpf_sys::btf__load_vmlinux_btf() }).map(Self)
    }

    /// A base program `int probe(struct xdp_md *)` in types, for a program that others may replace; with the type id
    /// of the function.
    pub(super) fn of_a_function() -> Option<(Self, u32)> {
        // SAFETY: takes nothing; null on failure.
        let btf = Self(NonNull::new(unsafe { libbpf_sys::btf__new_empty() })?);
        let raw = btf.0.as_ptr();
        const SIGNED: i32 = 1;
        const GLOBAL: u32 = 1;
        // SAFETY: `raw` is live, the names are NUL-terminated, the type ids are those just returned.
        let function = unsafe {
            let int = libbpf_sys::btf__add_int(raw, c"int".as_ptr(), 4, SIGNED);
            let context = libbpf_sys::btf__add_struct(raw, c"xdp_md".as_ptr(), 4);
            libbpf_sys::btf__add_field(raw, c"data".as_ptr(), int, 0, 0);
            let pointer = libbpf_sys::btf__add_ptr(raw, context);
            let proto = libbpf_sys::btf__add_func_proto(raw, int);
            libbpf_sys::btf__add_func_param(raw, c"ctx".as_ptr(), pointer);
            libbpf_sys::btf__add_func(raw, c"probe".as_ptr(), GLOBAL, proto)
        };
        Some((btf, u32::try_from(function).ok()?))
    }

    /// The id of a type.
    pub(super) fn find(&self, name: &str, kind: BtfKind) -> Option<u32> {
        let name = CString::new(name).ok()?;
        // SAFETY: live BTF, NUL-terminated name.
        let id = unsafe { libbpf_sys::btf__find_by_name_kind(self.0.as_ptr(), name.as_ptr(), kind as u32) };
        u32::try_from(id).ok().filter(|id| *id > 0)
    }

    /// The place of a member within a struct, counted from 0.
    pub(super) fn member_index(&self, id: u32, member: &str) -> Option<u32> {
        // SAFETY: live BTF; a struct's members follow its type, as many as the low 16 bits of `info` say; the names
        // are NUL-terminated strings of the BTF.
        unsafe {
            let ty = libbpf_sys::btf__type_by_id(self.0.as_ptr(), id).as_ref()?;
            let members = ptr::from_ref(ty).add(1).cast::<libbpf_sys::btf_member>();
            (0..ty.info & 0xffff).find(|index| {
                let name = libbpf_sys::btf__name_by_offset(self.0.as_ptr(), (*members.add(*index as usize)).name_off);
                !name.is_null() && CStr::from_ptr(name).to_bytes() == member.as_bytes()
            })
        }
    }

    /// Hands the types to the kernel.
    pub(super) fn load(&self) -> Result<OwnedFd, Errno> {
        let mut len = 0;
        // SAFETY: live BTF; its raw data has `len` bytes and lives as long.
        descriptor(unsafe {
            let data = libbpf_sys::btf__raw_data(self.0.as_ptr(), &mut len);
            libbpf_sys::bpf_btf_load(data, u64::from(len), ptr::null_mut())
        })
    }
}

impl Drop for Btf {
    fn drop(&mut self) {
        // SAFETY: ours, and not used again.
        unsafe { libbpf_sys::btf__free(self.0.as_ptr()) }
    }
}

/// What a program is loaded with, beside its instructions.
#[derive(Default)]
pub(super) struct Load<'a> {
    pub(super) program_type: u32,
    pub(super) attach_type: u32,
    pub(super) attach_btf_id: u32,
    pub(super) flags: u32,
    /// The program to replace.
    pub(super) attach_program: Option<BorrowedFd<'a>>,
    /// The program's own types, and the id of its function.
    pub(super) types: Option<(BorrowedFd<'a>, u32)>,
}

/// Loads a program; the kernel's descriptor of it.
pub(super) fn load(insns: &[bpf_insn], how: &Load<'_>) -> Result<OwnedFd, Errno> {
    let function = libbpf_sys::bpf_func_info { insn_off: 0, type_id: how.types.map_or(0, |(_, id)| id) };
    let mut options = libbpf_sys::bpf_prog_load_opts {
        sz: size_of::<libbpf_sys::bpf_prog_load_opts>() as u64,
        attempts: 1,
        expected_attach_type: how.attach_type,
        attach_btf_id: how.attach_btf_id,
        prog_flags: how.flags,
        attach_prog_fd: how.attach_program.map_or(0, |fd| fd.as_raw_fd() as u32),
        ..Default::default()
    };
    if let Some((types, _)) = how.types {
        options.prog_btf_fd = types.as_raw_fd() as u32;
        options.func_info = (&raw const function).cast();
        options.func_info_cnt = 1;
        options.func_info_rec_size = size_of_val(&function) as u32;
    }
    // SAFETY: strings are NUL-terminated, `insns` has the length given, and what the options point to outlives the call.
    descriptor(unsafe {
        libbpf_sys::bpf_prog_load(
            how.program_type,
            c"skep_probe".as_ptr(),
            c"GPL".as_ptr(),
            insns.as_ptr(),
            insns.len() as u64,
            &mut options,
        )
    })
}

/// Creates a map of a type with sizes that suit the type.
pub(super) fn create_map(map_type: u32) -> Result<(), Errno> {
    if map_type == libbpf_sys::BPF_MAP_TYPE_STRUCT_OPS {
        return struct_ops_map();
    }
    // SAFETY: takes a number; the options must be null.
    match unsafe { libbpf_sys::libbpf_probe_bpf_map_type(map_type, ptr::null()) } {
        1 => Ok(()),
        // libbpf keeps the kernel's answer to itself, but leaves it in errno.
        0 => Err(last_errno()),
        error => Err(Errno(-error)),
    }
}

/// Type 1 is no struct of functions: a kernel that knows such maps says ENOTSUPP, one that does not says EINVAL. libbpf
/// asks with a field that kernels before 6.9 refuse whatever it holds.
fn struct_ops_map() -> Result<(), Errno> {
    const ENOTSUPP: i32 = 524;
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as u64,
        btf_vmlinux_value_type_id: 1,
        ..Default::default()
    };
    // SAFETY: the name is NUL-terminated, the options outlive the call.
    let map = descriptor(unsafe {
        libbpf_sys::bpf_map_create(
            libbpf_sys::BPF_MAP_TYPE_STRUCT_OPS,
            c"skep_probe".as_ptr(),
            4,
            4,
            1,
            &raw const options,
        )
    });
    match map {
        Ok(_) | Err(Errno(ENOTSUPP)) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Whether programs of a type may call a helper.
pub(super) fn helper(program_type: u32, helper: u32) -> Result<(), Errno> {
    // SAFETY: takes numbers; the options must be null.
    match unsafe { libbpf_sys::libbpf_probe_bpf_helper(program_type, helper, ptr::null()) } {
        1 => Ok(()),
        0 => Err(Errno(libc::EINVAL)),
        error => Err(Errno(-error)),
    }
}

/// Creates an array map of one page with `flags`.
pub(super) fn create_array(flags: u32) -> Result<OwnedFd, Errno> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as u64,
        map_flags: flags,
        ..Default::default()
    };
    // SAFETY: the name is NUL-terminated, the options outlive the call.
    descriptor(unsafe {
        libbpf_sys::bpf_map_create(
            libbpf_sys::BPF_MAP_TYPE_ARRAY,
            c"skep_probe".as_ptr(),
            4,
            4096,
            1,
            &raw const options,
        )
    })
}

/// Asks for a link of many kernel functions without naming one; the error tells whether the kernel knows such links.
pub(super) fn kprobe_multi(program: BorrowedFd<'_>) -> Errno {
    let options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as u64,
        ..Default::default()
    };
    create_link(program, libbpf_sys::BPF_TRACE_KPROBE_MULTI, &options)
}

/// Asks for a link of one place in a directory; EBADF says that the kernel knows such links and found no file.
pub(super) fn uprobe_multi(program: BorrowedFd<'_>) -> Errno {
    let offset: libc::c_ulong = 0;
    let mut options = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as u64,
        ..Default::default()
    };
    options.__bindgen_anon_1.uprobe_multi = libbpf_sys::bpf_link_create_opts__bindgen_ty_1__bindgen_ty_3 {
        path: c"/".as_ptr(),
        offsets: &raw const offset,
        cnt: 1,
        ..Default::default()
    };
    create_link(program, libbpf_sys::BPF_TRACE_UPROBE_MULTI, &options)
}

fn create_link(program: BorrowedFd<'_>, attach_type: u32, options: &libbpf_sys::bpf_link_create_opts) -> Errno {
    // SAFETY: what the options point to outlives the call.
    match descriptor(unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), -1, attach_type, options) }) {
        Ok(_) => Errno(0),
        Err(errno) => errno,
    }
}

/// Runs a program once in the kernel, on a packet of zeroes.
pub(super) fn test_run(program: BorrowedFd<'_>) -> Result<(), Errno> {
    let packet = [0u8; 64];
    let mut options = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as u64,
        data_in: packet.as_ptr().cast(),
        data_size_in: packet.len() as u32,
        repeat: 1,
        ..Default::default()
    };
    // SAFETY: what the options point to outlives the call.
    let result = unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &mut options) };
    if result < 0 { Err(Errno(-result)) } else { Ok(()) }
}

/// Counts run times while the descriptor is open.
pub(super) fn enable_stats() -> Result<OwnedFd, Errno> {
    // SAFETY: takes a number.
    descriptor(unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) })
}

/// Maps one page of an array map to this process and lets it go.
pub(super) fn mmap_once(map: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: a fresh shared mapping at an address of the kernel's choosing, unmapped at once and never accessed.
    unsafe {
        let at = libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, libc::MAP_SHARED, map.as_fd().as_raw_fd(), 0);
        if at == libc::MAP_FAILED {
            return Err(last_errno());
        }
        libc::munmap(at, 4096);
    }
    Ok(())
}

/// libbpf is silent while this lives.
pub(super) struct Quiet(libbpf_sys::libbpf_print_fn_t);

impl Quiet {
    pub(super) fn start() -> Self {
        // SAFETY: no function at all is allowed.
        Self(unsafe { libbpf_sys::libbpf_set_print(None) })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // SAFETY: the function that was set before.
        unsafe { libbpf_sys::libbpf_set_print(self.0) };
    }
}

/// The kernel's release and machine, as uname(2) tells them.
pub(super) fn uname() -> (String, String) {
    // SAFETY: all zeroes is a valid value, and the call fills it with NUL-terminated strings.
    let name = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        libc::uname(&mut name);
        name
    };
    (text(&name.release), text(&name.machine))
}

fn text(field: &[c_char]) -> String {
    let bytes: Vec<u8> = field.iter().take_while(|byte| **byte != 0).map(|byte| *byte as u8).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn last_errno() -> Errno {
    Errno(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

/// From a result of libbpf's: a descriptor, or a negative error number.
fn descriptor(result: i32) -> Result<OwnedFd, Errno> {
    if result < 0 {
        return Err(Errno(-result));
    }
    // SAFETY: the kernel just gave us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}
