//! eBPF objects in which bytes were changed: libbpf and the kernel load them or say no; the process lives on.

use std::fs;

use skep_suite::{Inventory, Run, guest, kernel_gate};

/// Changed objects that one run tries.
const MUTANTS: usize = 150;

/// The object that a committed guest carries: from its magic number to the end of its section headers, which come last.
fn carried_object(name: &str) -> Vec<u8> {
    let module = memory(&fs::read(guest(name)).unwrap());
    let start = module.windows(4).position(|bytes| bytes == b"\x7fELF").expect("the guest carries an object");
    let object = &module[start..];
    let number = |at: usize, len: usize| object[at..at + len].iter().rev().fold(0, |n, &b| n << 8 | usize::from(b));
    let (sections, size, count) = (number(40, 8), number(58, 2), number(60, 2));
    object[..sections + size * count].to_vec()
}

/// Linear memory as a module's data segments leave it: an object may lie in several of them.
fn memory(wasm: &[u8]) -> Vec<u8> {
    let mut memory = Vec::new();
    for part in wasmparser::Parser::new(0).parse_all(wasm) {
        let wasmparser::Payload::DataSection(segments) = part.unwrap() else { continue };
        for segment in segments.into_iter().map(Result::unwrap) {
            let wasmparser::DataKind::Active { offset_expr, .. } = segment.kind else { continue };
            let Ok(wasmparser::Operator::I32Const { value }) = offset_expr.get_operators_reader().read() else {
                continue;
            };
            let end = value as usize + segment.data.len();
            memory.resize(memory.len().max(end), 0);
            memory[value as usize..end].copy_from_slice(segment.data);
        }
    }
    memory
}

/// Pseudorandom numbers (xorshift), the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A guest that loads the object whole, then with each change in `table` (offset and bits of up to four bytes, made and
/// taken back), and then whole again. Its status is 1 when a whole one failed, 2 when all changed ones did or none.
fn module(object: &[u8], table: &[u8]) -> String {
    const AT: usize = 1024;
    let (rows, len) = ((AT + object.len()).next_multiple_of(8), object.len());
    let pages = (rows + table.len()).div_ceil(65536);
    format!(
        r#"(module
  (import "wasm_bpf" "wasm_load_bpf_object" (func $load (param i32 i32) (result i64)))
  (import "wasm_bpf" "wasm_close_bpf_object" (func $close (param i64) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") {pages})
  (data (i32.const {AT}) "{object}")
  (data (i32.const {rows}) "{table}")
  (func $change (param $row i32) (local $n i32) (local $at i32)
    (loop $next
      (local.set $at (i32.add (i32.const {AT}) (i32.load (local.get $row))))
      (i32.store8 (local.get $at) (i32.xor (i32.load8_u (local.get $at)) (i32.load (i32.add (local.get $row) (i32.const 4)))))
      (local.set $row (i32.add (local.get $row) (i32.const 8)))
      (br_if $next (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 4)))))
  (func $try (result i32) (local $object i64)
    (local.set $object (call $load (i32.const {AT}) (i32.const {len})))
    (if (i64.eqz (local.get $object)) (then (return (i32.const 0))))
    (drop (call $close (local.get $object)))
    (i32.const 1))
  (func (export "_start") (local $i i32) (local $loaded i32)
    (if (i32.eqz (call $try)) (then (call $exit (i32.const 1))))
    (loop $next
      (call $change (i32.add (i32.const {rows}) (i32.mul (local.get $i) (i32.const 32))))
      (local.set $loaded (i32.add (local.get $loaded) (call $try)))
      (call $change (i32.add (i32.const {rows}) (i32.mul (local.get $i) (i32.const 32))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {MUTANTS}))))
    (if (i32.eqz (call $try)) (then (call $exit (i32.const 1))))
    (if (i32.or (i32.eqz (local.get $loaded)) (i32.eq (local.get $loaded) (i32.const {MUTANTS})))
      (then (call $exit (i32.const 2))))))"#,
        object = text(object),
        table = text(table),
    )
}

fn run(name: &str, seed: u64) {
    let object = carried_object(name);
    let mut random = Random(seed);
    let mut table = Vec::new();
    for n in 0..MUTANTS {
        // One to four bytes each; every other one near the object's own header or its sections'.
        let changes = 1 + random.below(4);
        for change in 0..4 {
            let place = match n % 4 {
                0 => random.below(64),
                2 => object.len() - 1 - random.below(object.len().min(64 * 20)),
                _ => random.below(object.len()),
            };
            let bits = if change < changes { 1 + random.below(255) } else { 0 };
            table.extend((place as u32).to_le_bytes());
            table.extend((bits as u32).to_le_bytes());
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mutants.wasm");
    fs::write(&path, wat::parse_str(module(&object, &table)).unwrap()).unwrap();
    let finished =
        Run::skep(["run".as_ref(), "--no-cache".as_ref(), "--timeout".as_ref(), "50s".as_ref(), path.as_os_str()])
            .finish();
    assert_eq!(finished.code, Some(0), "{name}, seed {seed}: {finished:#?}");
    assert!(finished.stderr.contains("wasm_load_bpf_object"), "{finished:#?}");
}

#[test]
fn kernel_changed_objects_are_loaded_or_refused() {
    if !kernel_gate("changed objects") {
        return;
    }
    let before = Inventory::now();
    for (name, seed) in [("misuse", 0x5ce9), ("buffers", 2), ("burst", 3)] {
        run(name, seed);
    }
    Inventory::assert_nothing_left(&before, &["unused", "skep_drops", "on_getpgid"]);
}
