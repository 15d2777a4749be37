//! Guests in the text format: a frame with the imports and a way to say numbers and bytes, and a run of one.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use skep_error::{Error, Result};
use skep_sandbox::{
    Engine, Limits, Metering, Module, Output, Stop, WasiOptions,
    worlds::program::{self, Losses, Options},
};

use crate::fake::Fake;

/// Before a guest's body. Strings lie at fixed places; what is from 1024 on is the body's own.
const FRAME: &str = r#"
(module
  (import "wasm_bpf" "wasm_load_bpf_object" (func $load (param i32 i32) (result i64)))
  (import "wasm_bpf" "wasm_close_bpf_object" (func $close (param i64) (result i32)))
  (import "wasm_bpf" "wasm_attach_bpf_program" (func $attach (param i64 i32 i32) (result i32)))
  (import "wasm_bpf" "wasm_attach_bpf_program_fd" (func $attach_fd (param i64 i32 i32) (result i32)))
  (import "wasm_bpf" "wasm_bpf_map_fd_by_name" (func $map (param i64 i32) (result i32)))
  (import "wasm_bpf" "wasm_bpf_buffer_poll" (func $poll (param i64 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasm_bpf" "wasm_bpf_map_operate" (func $operate OPERATE))
  (import "skep_bpf" "map_mmap" (func $mmap (param i32 i32 i32 i64 i32) (result i32)))
  (import "skep_bpf" "iter_read" (func $iter_read (param i64 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "object")
  (data (i32.const 32) "hash\00")
  (data (i32.const 40) "wide\00")
  (data (i32.const 48) "percpu\00")
  (data (i32.const 56) "events\00")
  (data (i32.const 64) "ring\00")
  (data (i32.const 72) "other\00")
  (data (i32.const 80) "run\00")
  (data (i32.const 88) "here\00")
  (func $bytes (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $say64 (param $n i64)
    (i64.store (i32.const 96) (local.get $n))
    (call $bytes (i32.const 96) (i32.const 8)))
  (func $say (param $n i32) (call $say64 (i64.extend_i32_s (local.get $n))))
  (func $object (result i64) (call $load (i32.const 16) (i32.const 6)))
"#;

const NARROW: &str = "(param i32 i32 i32 i32 i32 i64) (result i32)";
const WIDE: &str = "(param i32 i32 i64 i64 i64 i64) (result i32)";

/// How a run went.
pub(crate) struct Ran {
    pub(crate) result: Result<i32>,
    pub(crate) losses: Losses,
    pub(crate) said: Vec<u8>,
    /// Every error that was shown.
    pub(crate) reports: Vec<String>,
}

impl Ran {
    /// What the guest said by `$say` and `$say64` alone.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        assert!(self.said.len().is_multiple_of(8), "{:?}", self.said);
        self.said.chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    /// [`Ran::numbers`] of a guest that ended well.
    #[track_caller]
    pub(crate) fn says(&self, numbers: &[i64]) {
        assert_eq!(self.numbers(), numbers, "reports: {:#?}, result: {:?}", self.reports, self.result);
        assert!(matches!(self.result, Ok(0)), "{:?}", self.result);
    }

    /// Whether one of the errors that were shown has all of those words.
    #[track_caller]
    pub(crate) fn shows(&self, words: &[&str]) {
        let has = |report: &String| words.iter().all(|word| report.contains(word));
        assert!(self.reports.iter().any(has), "{words:?} in none of {:#?}", self.reports);
    }
}

/// A standard output that a test reads.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a guest of that body.
pub(crate) fn run(fake: &Fake, body: &str) -> Ran {
    run_until(fake, body, &Stop::new().unwrap())
}

/// [`run`] with `wasm_bpf_map_operate` in the form with pointers of 64 bits.
pub(crate) fn run_wide(fake: &Fake, body: &str) -> Ran {
    run_text(fake, &frame(WIDE, body), &Stop::new().unwrap(), None)
}

/// [`run`] that may be asked to end.
pub(crate) fn run_until(fake: &Fake, body: &str, stop: &Stop) -> Ran {
    run_text(fake, &frame(NARROW, body), stop, None)
}

/// [`run`] with that standard output.
pub(crate) fn run_into(fake: &Fake, body: &str, writer: Box<dyn Write + Send>) -> Ran {
    run_text(fake, &frame(NARROW, body), &Stop::new().unwrap(), Some(writer))
}

fn frame(operate: &str, body: &str) -> String {
    format!("{}{body})", FRAME.replace("OPERATE", operate))
}

/// Runs a whole module. Whatever it does, nothing may be left loaded.
pub(crate) fn run_text(fake: &Fake, text: &str, stop: &Stop, writer: Option<Box<dyn Write + Send>>) -> Ran {
    let engine = Engine::new(Metering::Epoch).unwrap();
    let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    let module = Module::load(&engine, &wasm, None, |_| Ok(())).unwrap();
    let said = Said::default();
    let reports = Arc::new(Mutex::new(Vec::new()));
    let shown = reports.clone();
    let options = Options {
        wasi: WasiOptions::default(),
        limits: Limits::default(),
        cache: None,
        stdout: Output::new(writer.unwrap_or_else(|| Box::new(said.clone())), false, stop),
        stderr: Output::new(Box::new(io::sink()), true, stop),
        stop: stop.clone(),
        report: Box::new(move |error: &Error| shown.lock().unwrap().push(error.report(0))),
        on_stuck: Box::new(|| panic!("the guest hangs")),
    };
    let (result, losses) = program::run(&engine, &module, Box::new(fake.clone()), options);
    assert_eq!(fake.get().open, 0, "objects are left");
    let said = said.0.lock().unwrap().clone();
    let reports = reports.lock().unwrap().clone();
    Ran { result, losses, said, reports }
}
