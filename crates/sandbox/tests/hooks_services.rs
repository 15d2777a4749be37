//! World `hooks`: what a plugin is lent, each service by what it does, and the caps on what a plugin gives back or takes.

mod plugin;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use plugin::{END, filter_of, one_field, plugin, plugin_with};
use skep_admit::{Policy, RejectionKind, Slot, admit, inspect};
use skep_event::Selection;
use skep_sandbox::{
    TrapKind,
    worlds::hooks::{Failed, Kernel, MapHandle, NoKernel, Plugin, Services, State},
};

/// A kernel of one map, `counts`, of four-byte keys and eight-byte values, and one symbol.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<BTreeMap<[u8; 4], [u8; 8]>>>);

impl Kernel for Fake {
    fn map_open(&mut self, name: &str) -> Result<MapHandle, i32> {
        if name == "counts" { Ok(MapHandle { map: 77, key_size: 4, value_size: 8 }) } else { Err(libc::ENOENT) }
    }

    fn map_lookup(&mut self, map: u32, key: &[u8], value: &mut [u8]) -> Result<(), i32> {
        assert_eq!(map, 77);
        let map = self.0.lock().unwrap();
        value.copy_from_slice(map.get(key).ok_or(libc::ENOENT)?);
        Ok(())
    }

    fn map_next_key(&mut self, _: u32, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), i32> {
        let map = self.0.lock().unwrap();
        let found = map.keys().find(|known| key.is_none_or(|key| known.as_slice() > key)).ok_or(libc::ENOENT)?;
        next.copy_from_slice(found);
        Ok(())
    }

    fn map_update(&mut self, _: u32, key: &[u8], value: &[u8], flags: u64) -> Result<(), i32> {
        if flags != 0 {
            return Err(libc::EINVAL);
        }
        self.0.lock().unwrap().insert(key.try_into().unwrap(), value.try_into().unwrap());
        Ok(())
    }

    fn map_delete(&mut self, _: u32, key: &[u8]) -> Result<(), i32> {
        self.0.lock().unwrap().remove(key).map(drop).ok_or(libc::ENOENT)
    }

    fn symbol_name(&mut self, address: u64) -> Option<String> {
        (address == 0xffff_ffff_8100_0000).then(|| "vfs_read".to_owned())
    }

    fn symbol_address(&mut self, name: &str) -> Option<u64> {
        (name == "vfs_read").then_some(0xffff_ffff_8100_0000)
    }
}

/// Calls a filter once whose body writes i64 values for [`results`], one after the other from address 1024; what it
/// returns itself is nonsense. The body's answer comes back in a metric, by name `a`, `b`, ….
fn lent(capabilities: &str, imports: &str, body: &str, kernel: impl Kernel + 'static) -> (Plugin, Vec<i64>) {
    let budget = format!(r#"}}}},"capabilities":[{capabilities},"metrics"]}}"#);
    let imports = format!(r#"{imports} (import "skep" "metric_set" (func $set (param i32 i32 i64)))"#);
    let data = r#"(data (i32.const 8) "countsvfs_readabcdefghij")"#;
    let wasm = filter_of(&format!("{body} (i64.const 0)"), &budget, &format!("{imports} {data}"));
    let services = Services::new(|_, _| {}, Box::new(kernel), Vec::new());
    let policy = format!("[[grant]]\ncapabilities = [{capabilities}, \"metrics\"]");
    let policy = Policy::parse(&policy, Path::new("")).unwrap();
    let mut plugin = plugin_with(&wasm, Slot::Filter, &policy, one_field(), services);
    plugin.filter(&mut Selection::all(1)).unwrap();
    let values = plugin.services().map(|services| services.metrics().values().copied().collect()).unwrap_or_default();
    (plugin, values)
}

/// `(set letter number value)`: the letters `a` … lie at address 22.
fn set(letter: u32, value: &str) -> String {
    format!("(call $set (i32.const {}) (i32.const 1) {value})", 22 + letter)
}

fn widened(value: &str) -> String {
    format!("(i64.extend_i32_s {value})")
}

#[test]
fn maps_are_opened_read_walked_and_written() {
    let imports = r#"
        (import "skep" "map_open" (func $open (param i32 i32) (result i32)))
        (import "skep" "map_lookup" (func $lookup (param i32 i32 i32) (result i32)))
        (import "skep" "map_next_key" (func $next (param i32 i32 i32) (result i32)))
        (import "skep" "map_update" (func $update (param i32 i32 i32 i64) (result i32)))
        (import "skep" "map_delete" (func $delete (param i32 i32) (result i32)))"#;
    let kernel = Fake::default();
    kernel.0.lock().unwrap().extend([([1, 0, 0, 0], 10u64.to_le_bytes()), ([2, 0, 0, 0], 20u64.to_le_bytes())]);
    let (key, value) = ("(i32.const 512)", "(i32.const 520)");
    let steps = [
        widened("(call $open (i32.const 8) (i32.const 6))"),
        widened("(call $open (i32.const 8) (i32.const 5))"),
        widened(&format!("(call $next (i32.const 0) (i32.const 0) {key})")),
        widened(&format!("(call $lookup (i32.const 0) {key} {value})")),
        format!("(i64.load {value})"),
        widened(&format!("(call $update (i32.const 0) (i32.const 516) {value} (i64.const 0))")),
        widened(&format!("(call $update (i32.const 0) (i32.const 516) {value} (i64.const 9))")),
        widened(&format!("(call $delete (i32.const 0) {key})")),
        widened(&format!("(call $delete (i32.const 0) {key})")),
        widened(&format!("(call $lookup (i32.const 3) {key} {value})")),
    ];
    let body: String = (0..).zip(&steps).map(|(letter, step)| set(letter, step)).collect();
    let (plugin, values) = lent(r#""map-read", "map-write""#, imports, &body, kernel.clone());
    let (enoent, einval, ebadf) = (-i64::from(libc::ENOENT), -i64::from(libc::EINVAL), -i64::from(libc::EBADF));
    assert_eq!(values, [0, enoent, 0, 0, 10, 0, einval, 0, enoent, ebadf], "{:?}", plugin.last_failure());
    let map = kernel.0.lock().unwrap();
    assert_eq!(map.get(&[0; 4]), Some(&10u64.to_le_bytes()), "stored under the key at 516, which is 0");
    assert_eq!(map.get(&[1, 0, 0, 0]), None, "removed");
}

#[test]
fn map_values_outside_memory_end_the_call_and_nothing_else() {
    let imports = r#"
        (import "skep" "map_open" (func $open (param i32 i32) (result i32)))
        (import "skep" "map_lookup" (func $lookup (param i32 i32 i32) (result i32)))"#;
    let body = "(drop (call $open (i32.const 8) (i32.const 6)))
        (drop (call $lookup (i32.const 0) (i32.const 512) (i32.const -4)))";
    let kernel = Fake::default();
    kernel.0.lock().unwrap().insert([0; 4], [1; 8]);
    let (plugin, _) = lent(r#""map-read""#, imports, body, kernel);
    assert!(matches!(plugin.last_failure(), Some(Failed::Trapped(None, _))), "{:?}", plugin.last_failure());
    assert_eq!(plugin.state(), &State::Running);
}

#[test]
fn symbols_of_the_kernel_are_found_by_name_and_by_address() {
    let imports = r#"
        (import "skep" "ksym_name" (func $name (param i64 i32 i32) (result i32)))
        (import "skep" "ksym_address" (func $address (param i32 i32) (result i64)))"#;
    let name = |address: &str, room: u32| {
        widened(&format!("(call $name (i64.const {address}) (i32.const 512) (i32.const {room}))"))
    };
    let steps = [
        "(call $address (i32.const 14) (i32.const 8))".to_owned(),
        "(call $address (i32.const 14) (i32.const 3))".to_owned(),
        name("0xffffffff81000000", 64),
        "(i64.load (i32.const 512))".to_owned(),
        name("0xffffffff81000000", 7),
        name("1", 64),
    ];
    let body: String = (0..).zip(&steps).map(|(letter, step)| set(letter, step)).collect();
    let (plugin, values) = lent(r#""kallsyms""#, imports, &body, Fake::default());
    let address = 0xffff_ffff_8100_0000_u64.cast_signed();
    let text = i64::from_le_bytes(*b"vfs_read");
    let expected = [address, 0, 8, text, -i64::from(libc::ERANGE), -i64::from(libc::ENOENT)];
    assert_eq!(values, expected, "{:?}", plugin.last_failure());
}

#[test]
fn the_clocks_are_those_of_the_host() {
    let imports = r#"
        (import "skep" "clock_monotonic" (func $monotonic (result i64)))
        (import "skep" "clock_realtime" (func $realtime (result i64)))"#;
    let ns = |clock| {
        let time = rustix::time::clock_gettime(clock);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    let now = || [ns(rustix::time::ClockId::Monotonic), ns(rustix::time::ClockId::Realtime)];
    let body = [set(0, "(call $monotonic)"), set(1, "(call $realtime)")].concat();
    let before = now();
    let (_, values) = lent(r#""clock""#, imports, &body, NoKernel);
    let after = now();
    for clock in 0..2 {
        assert!((before[clock]..=after[clock]).contains(&values[clock]), "{before:?} {values:?} {after:?}");
    }
}

/// A filter's response at 1024: done, no error, a bitmap of `words` words at 2048.
fn answers(words: u32) -> String {
    format!(
        "(i32.store (i32.const 1036) (i32.const 2048)) (i32.store (i32.const 1040) (i32.const {words}))
         (i64.store (i32.const 2048) (i64.const 5)) (i64.const {})",
        (1024u64 << 32) | 20
    )
}

#[test]
fn an_answer_is_read_up_to_the_budget_of_output_and_no_further() {
    // A response of 20 bytes and a word of 8.
    for (budget, taken) in [(28, true), (27, false), (19, false)] {
        let more = format!(r#"}}}},"budget":{{"output_bytes":{budget}}}}}"#);
        let mut plugin = plugin(&filter_of(&answers(1), &more, ""), Slot::Filter, one_field());
        let mut selection = Selection::all(3);
        plugin.filter(&mut selection).unwrap();
        match taken {
            true => assert_eq!(selection.iter().collect::<Vec<_>>(), [0, 2], "{budget}"),
            false => {
                let said = Failed::Nonsense("more output than its budget allows".into());
                assert_eq!(plugin.last_failure(), Some(&said), "{budget}");
                assert_eq!(selection.count(), 3, "it fails open");
            }
        }
    }
}

#[test]
fn a_policy_clamps_the_output_that_a_plugin_asks_for() {
    let wasm = filter_of(&answers(1), r#"}},"budget":{"output_bytes":1000000}}"#, "");
    let policy = Policy::parse("[ceiling]\noutput_bytes = 27", Path::new("")).unwrap();
    let mut plugin = plugin_with(&wasm, Slot::Filter, &policy, one_field(), Services::log_only());
    plugin.filter(&mut Selection::all(3)).unwrap();
    assert!(matches!(plugin.last_failure(), Some(Failed::Nonsense(_))), "{:?}", plugin.last_failure());
}

#[test]
fn a_table_grows_up_to_its_budget_and_starts_no_higher() {
    let table = |elements: u32| format!("(table $t {elements} funcref)");
    let grow = |by: u32| {
        format!(
            "(if (i32.ne (table.grow $t (ref.null func) (i32.const {by})) (i32.const 8)) (then unreachable)) {}",
            answers(1)
        )
    };
    let more = r#"}},"budget":{"table_elements":10}}"#;
    let last_of = |by: u32| {
        let mut plugin = plugin(&filter_of(&grow(by), more, &table(8)), Slot::Filter, one_field());
        plugin.filter(&mut Selection::all(1)).unwrap();
        plugin.last_failure().cloned()
    };
    assert_eq!(last_of(2), None);
    assert!(matches!(last_of(3), Some(Failed::Trapped(Some(TrapKind::Unreachable), _))), "{:?}", last_of(3));
    let rejection = admit(&inspect(&filter_of(&answers(1), more, &table(11))), Slot::Filter, &Policy::default());
    assert_eq!(rejection.unwrap_err().kind, RejectionKind::TableAboveCap);
    let default = admit(&inspect(&filter_of(&answers(1), END, &table(10_001))), Slot::Filter, &Policy::default());
    assert_eq!(default.unwrap_err().kind, RejectionKind::TableAboveCap);
}

#[test]
fn all_plugins_of_a_process_share_one_thread_for_their_deadlines() {
    let wasm = filter_of(&answers(1), END, "");
    let mut plugins: Vec<Plugin> = (0..3).map(|_| plugin(&wasm, Slot::Filter, one_field())).collect();
    for plugin in &mut plugins {
        plugin.filter(&mut Selection::all(1)).unwrap();
    }
    let threads = std::fs::read_dir("/proc/self/task").unwrap().filter(|thread| {
        let name = thread.as_ref().unwrap().path().join("comm");
        std::fs::read_to_string(name).is_ok_and(|name| name.trim() == "skep-epoch")
    });
    assert_eq!(threads.count(), 1);
}
