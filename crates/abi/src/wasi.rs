//! WASI preview 1: the functions that guests of worlds `program` and `operator` may import, as the standard's witx
//! lowers them.

use crate::{Func, ValType, ValType::*};

/// The functions' module.
pub const MODULE: &str = "wasi_snapshot_preview1";

const fn errno(name: &'static str, params: &'static [ValType]) -> Func {
    Func::import(MODULE, name, params, &[I32])
}

/// Arguments, environment, exit.
pub const PROCESS: &[Func] = &[
    errno("args_get", &[I32, I32]),
    errno("args_sizes_get", &[I32, I32]),
    errno("environ_get", &[I32, I32]),
    errno("environ_sizes_get", &[I32, I32]),
    Func::import(MODULE, "proc_exit", &[I32], &[]),
    errno("proc_raise", &[I32]),
    errno("sched_yield", &[]),
];

/// Clocks, and waiting for one.
pub const CLOCK: &[Func] = &[
    errno("clock_res_get", &[I32, I32]),
    errno("clock_time_get", &[I32, I64, I32]),
    errno("poll_oneoff", &[I32, I32, I32, I32]),
];

/// Random bytes.
pub const RANDOM: &[Func] = &[errno("random_get", &[I32, I32])];

/// Descriptors the guest holds: the standard streams, and what [`FILES`] opened.
pub const DESCRIPTORS: &[Func] = &[
    errno("fd_advise", &[I32, I64, I64, I32]),
    errno("fd_allocate", &[I32, I64, I64]),
    errno("fd_close", &[I32]),
    errno("fd_datasync", &[I32]),
    errno("fd_fdstat_get", &[I32, I32]),
    errno("fd_fdstat_set_flags", &[I32, I32]),
    errno("fd_fdstat_set_rights", &[I32, I64, I64]),
    errno("fd_filestat_get", &[I32, I32]),
    errno("fd_filestat_set_size", &[I32, I64]),
    errno("fd_filestat_set_times", &[I32, I64, I64, I32]),
    errno("fd_pread", &[I32, I32, I32, I64, I32]),
    errno("fd_prestat_dir_name", &[I32, I32, I32]),
    errno("fd_prestat_get", &[I32, I32]),
    errno("fd_pwrite", &[I32, I32, I32, I64, I32]),
    errno("fd_read", &[I32, I32, I32, I32]),
    errno("fd_readdir", &[I32, I32, I32, I64, I32]),
    errno("fd_renumber", &[I32, I32]),
    errno("fd_seek", &[I32, I64, I32, I32]),
    errno("fd_sync", &[I32]),
    errno("fd_tell", &[I32, I32]),
    errno("fd_write", &[I32, I32, I32, I32]),
];

/// Paths below the directories that were opened for the guest.
pub const FILES: &[Func] = &[
    errno("path_create_directory", &[I32, I32, I32]),
    errno("path_filestat_get", &[I32, I32, I32, I32, I32]),
    errno("path_filestat_set_times", &[I32, I32, I32, I32, I64, I64, I32]),
    errno("path_link", &[I32, I32, I32, I32, I32, I32, I32]),
    errno("path_open", &[I32, I32, I32, I32, I32, I64, I64, I32, I32]),
    errno("path_readlink", &[I32, I32, I32, I32, I32, I32]),
    errno("path_remove_directory", &[I32, I32, I32]),
    errno("path_rename", &[I32, I32, I32, I32, I32, I32]),
    errno("path_symlink", &[I32, I32, I32, I32, I32]),
    errno("path_unlink_file", &[I32, I32, I32]),
];

/// Sockets.
pub const SOCKETS: &[Func] = &[
    errno("sock_accept", &[I32, I32, I32]),
    errno("sock_recv", &[I32, I32, I32, I32, I32, I32]),
    errno("sock_send", &[I32, I32, I32, I32, I32]),
    errno("sock_shutdown", &[I32, I32]),
];

/// What a WASI command exports: it is called once and ends with the program.
pub const START: Func = Func::export("_start", &[], &[]);
/// What a WASI reactor exports where it has something to set up: it is called before anything else.
pub const INITIALIZE: Func = Func::export("_initialize", &[], &[]);
