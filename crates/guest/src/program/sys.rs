//! The host's functions. Their types stand in `skep_abi::program`; a test compares the names.

#[cfg(target_arch = "wasm32")]
mod imports {
    #[link(wasm_import_module = "wasm_bpf")]
    unsafe extern "C" {
        #[link_name = "wasm_load_bpf_object"]
        pub(crate) fn load(buf: *const u8, len: i32) -> i64;
        #[link_name = "wasm_close_bpf_object"]
        pub(crate) fn close(object: i64) -> i32;
        #[link_name = "wasm_attach_bpf_program"]
        pub(crate) fn attach(object: i64, name: *const u8, target: *const u8) -> i32;
        #[link_name = "wasm_attach_bpf_program_fd"]
        pub(crate) fn attach_fd(object: i64, name: *const u8, fd: i32) -> i32;
        #[link_name = "wasm_bpf_map_fd_by_name"]
        pub(crate) fn map_fd(object: i64, name: *const u8) -> i32;
        #[link_name = "wasm_bpf_buffer_poll"]
        pub(crate) fn buffer_poll(
            object: i64,
            map: i32,
            callback: i32,
            ctx: *mut u8,
            data: *mut u8,
            max: i32,
            timeout_ms: i32,
        ) -> i32;
        #[link_name = "wasm_bpf_map_operate"]
        pub(crate) fn map_operate(
            map: i32,
            command: i32,
            key: *const u8,
            value: *mut u8,
            next_key: *mut u8,
            flags: u64,
        ) -> i32;
    }

    #[link(wasm_import_module = "skep_bpf")]
    unsafe extern "C" {
        #[link_name = "map_mmap"]
        pub(crate) fn map_mmap(map: i32, addr: *mut u8, len: u32, offset: u64, flags: i32) -> i32;
        #[link_name = "map_munmap"]
        pub(crate) fn map_munmap(addr: *mut u8, len: u32) -> i32;
        #[link_name = "map_info"]
        pub(crate) fn map_info(map: i32, info: *mut [u32; 7]) -> i32;
        #[link_name = "map_wait"]
        pub(crate) fn map_wait(map: i32, timeout_ms: i32) -> i32;
        #[link_name = "load_object_at"]
        pub(crate) fn load_at(buf: *const u8, len: i32, arena: *mut u8) -> i64;
        #[link_name = "iter_read"]
        pub(crate) fn iter_read(object: i64, name: *const u8, buf: *mut u8, len: u32) -> i32;
    }
}

/// Outside WebAssembly there is no host: everything fails with `ENOSYS`, so that guests' own tests link.
#[cfg(not(target_arch = "wasm32"))]
mod imports {
    const ENOSYS: i32 = -38;

    pub(crate) unsafe fn load(_: *const u8, _: i32) -> i64 {
        0
    }
    pub(crate) unsafe fn close(_: i64) -> i32 {
        ENOSYS
    }
    pub(crate) unsafe fn attach(_: i64, _: *const u8, _: *const u8) -> i32 {
        ENOSYS
    }
    pub(crate) unsafe fn attach_fd(_: i64, _: *const u8, _: i32) -> i32 {
        ENOSYS
    }
    pub(crate) unsafe fn map_fd(_: i64, _: *const u8) -> i32 {
        ENOSYS
    }
    pub(crate) unsafe fn buffer_poll(_: i64, _: i32, _: i32, _: *mut u8, _: *mut u8, _: i32, _: i32) -> i32 {
        ENOSYS
    }
    pub(crate) unsafe fn map_operate(_: i32, _: i32, _: *const u8, _: *mut u8, _: *mut u8, _: u64) -> i32 {
        ENOSYS
    }
    pub(crate) unsafe fn map_mmap(_: i32, _: *mut u8, _: u32, _: u64, _: i32) -> i32 {
        ENOSYS
    }
    pub(crate) unsafe fn map_munmap(_: *mut u8, _: u32) -> i32 {
        ENOSYS
    }
    pub(crate) unsafe fn map_info(_: i32, _: *mut [u32; 7]) -> i32 {
        ENOSYS
    }
    pub(crate) unsafe fn map_wait(_: i32, _: i32) -> i32 {
        ENOSYS
    }
    pub(crate) unsafe fn load_at(_: *const u8, _: i32, _: *mut u8) -> i64 {
        0
    }
    pub(crate) unsafe fn iter_read(_: i64, _: *const u8, _: *mut u8, _: u32) -> i32 {
        ENOSYS
    }
}

pub(crate) use imports::*;
