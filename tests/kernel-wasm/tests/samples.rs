//! The filters and plugins under `examples/`, in the kernel and in wasmtime: what they answer to a batch of records, and
//! every byte of their memory after it.

use std::path::Path;

use skep_bpf::kernel_wasm::{InstanceId, KernelModule, Outcome};
use skep_suite::kernel_gate;
use wasm2bpf::{Binding, Options};
use wasmtime::{Engine, Instance, Linker, Module, Store, Val};

/// One module on both sides.
struct Both {
    kernel: KernelModule,
    id: InstanceId,
    store: Store<()>,
    instance: Instance,
}

impl Both {
    fn new(path: &str) -> Self {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path)).unwrap();
        // What a filter logs is no part of its answer.
        let log = (("env".to_owned(), "log".to_owned()), Binding::Nothing);
        let options = Options { imports: [log].into_iter().collect(), max_memory_pages: 64, ..Options::default() };
        let object = wasm2bpf::compile(&bytes, &options).unwrap_or_else(|refusal| panic!("{path}: {refusal}"));
        let kernel = KernelModule::load(object, &bytes, 1, false).unwrap();
        let (_, verified) = &kernel.loaded().verified()[0];
        assert!(verified.walked <= 2 * verified.emitted, "{path}: {verified:?}");
        let (id, trap) = kernel.instantiate(0, &|_, _| None).unwrap();
        assert_eq!(trap, None, "{path}");
        let mut store = Store::new(&Engine::default(), ());
        let module = Module::new(store.engine(), &bytes).unwrap();
        let mut linker = Linker::new(store.engine());
        linker.func_wrap("env", "log", |_: i32, _: i32| {}).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        Self { kernel, id, store, instance }
    }

    /// Calls an export with i32s on both sides; what both return.
    fn call(&mut self, name: &str, arguments: &[u32]) -> u64 {
        let export = self.kernel.object().module.exports.iter().find(|export| export.name == name).unwrap();
        let words: Vec<u64> = arguments.iter().map(|&argument| argument.into()).collect();
        let ours = match self.kernel.call(self.id, export.index, &words, 1_000_000).unwrap().outcome {
            Outcome::Returned(values) => values[0],
            trapped => panic!("{name}: {trapped:?}"),
        };
        let function = self.instance.get_func(&mut self.store, name).unwrap();
        let values: Vec<Val> = arguments.iter().map(|&argument| Val::I32(argument as i32)).collect();
        let mut result = [Val::I32(0)];
        function.call(&mut self.store, &values, &mut result).unwrap();
        let theirs = match result[0] {
            Val::I32(value) => u64::from(value as u32),
            Val::I64(value) => value as u64,
            ref other => panic!("{name} returned {other:?}"),
        };
        assert_eq!(ours, theirs, "{name}");
        assert!(self.kernel.guards_intact(self.id).unwrap());
        assert!(self.memory() == self.theirs(), "{name} left another memory");
        ours
    }

    fn write(&mut self, at: u32, bytes: &[u8]) {
        self.kernel.write_memory(self.id, at, bytes).unwrap();
        let memory = self.instance.get_memory(&mut self.store, "memory").unwrap();
        memory.write(&mut self.store, at as usize, bytes).unwrap();
    }

    fn theirs(&mut self) -> Vec<u8> {
        let memory = self.instance.get_memory(&mut self.store, "memory").unwrap();
        memory.data(&self.store).to_vec()
    }

    fn memory(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; self.theirs().len()];
        self.kernel.read_memory(self.id, 0, &mut bytes).unwrap();
        bytes
    }

    /// A word of memory.
    fn word(&mut self, at: u64) -> u64 {
        let memory = self.memory();
        u64::from_le_bytes(memory[at as usize..at as usize + 8].try_into().unwrap())
    }
}

/// Offsets in an event of world `filter`, of 88 bytes.
const EVENT: usize = 88;
const DURATION: usize = 72;
const RESULT: usize = 80;

/// A record of that type, duration and result; the rest counts up.
fn event(kind: u32, duration: u64, result: i64) -> Vec<u8> {
    let mut record: Vec<u8> = (0..EVENT as u8).collect();
    record[..4].copy_from_slice(&kind.to_le_bytes());
    record[DURATION..RESULT].copy_from_slice(&duration.to_le_bytes());
    record[RESULT..].copy_from_slice(&result.to_le_bytes());
    record
}

fn events() -> Vec<Vec<u8>> {
    (0..150u64).map(|n| event((n % 3) as u32, n * 17_000, -((n % 7) as i64))).collect()
}

#[test]
fn kernel_filters_answer_as_in_user_space() {
    if !kernel_gate("examples/filters in the kernel") {
        return;
    }
    // Above their stack.
    const AT: u32 = 32_768;
    let (mut slow, mut failed) = (Both::new("filters/slow.wasm"), Both::new("filters/failed.wasm"));
    for record in events() {
        let (kind, duration) = (record[0], u64::from_le_bytes(record[DURATION..RESULT].try_into().unwrap()));
        slow.write(AT, &record);
        assert_eq!(slow.call("filter", &[AT, EVENT as u32]), u64::from(kind != 2 || duration >= 1_000_000));
        failed.write(AT, &record);
        assert_eq!(failed.call("filter", &[AT, EVENT as u32]), u64::from(record[RESULT] != 0));
    }
}

/// A field of a record: name, kind, offset and size.
type Field = (&'static str, u32, usize, usize);

/// Kinds of fields (`skep_abi::operator::FieldKind`).
const INT64: u32 = 5;
const UINT32: u32 = 8;
const UINT64: u32 = 9;
const CSTRING: u32 = 13;

/// Puts a batch into the plugin's memory and calls the hook with it; where the response is. The layouts are those of
/// `skep_abi::hooks::wire`.
fn ask(plugin: &mut Both, hook: &str, records: &[Vec<u8>], fields: &[Field], flags: u32) -> u64 {
    let stride = records[0].len();
    let image = plugin.call("skep_alloc", &[65_536, 8]) as u32;
    assert_ne!(image, 0);
    let mut place = image + 64;
    let mut put = |plugin: &mut Both, bytes: &[u8]| {
        plugin.write(place, bytes);
        let at = place;
        place = (place + bytes.len() as u32).next_multiple_of(8);
        at
    };
    let words = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let mut described = Vec::new();
    for &(name, kind, offset, size) in fields {
        let at = put(plugin, name.as_bytes());
        described.extend(words(&[at, name.len() as u32, kind, offset as u32, size as u32]));
    }
    let fields_at = put(plugin, &described);
    let records_at = put(plugin, &records.concat());
    let count = records.len();
    let selected: Vec<u8> = (0..count.div_ceil(64))
        .flat_map(|word| (u64::MAX >> (64 - (count - 64 * word).min(64))).to_le_bytes())
        .collect();
    let selected_at = put(plugin, &selected);
    let output_at = put(plugin, &vec![0; 8192]);
    let list_words = selected.len() as u32 / 8;
    let request = [
        &1u64.to_le_bytes()[..],
        &words(&[records_at, (count * stride) as u32, count as u32, stride as u32, flags, 0]),
        &words(&[selected_at, list_words, fields_at, fields.len() as u32, 0, 0, output_at, 1024]),
    ]
    .concat();
    plugin.write(image, &request);
    let response = plugin.call(hook, &[image, request.len() as u32]);
    let at = response >> 32;
    // The status, and the list that says why.
    let (status, why) = (plugin.word(at) as u32, plugin.word(at + 4));
    let memory = plugin.memory();
    let why = &memory[why as u32 as usize..][..(why >> 32) as usize];
    assert_eq!(status, 0, "the plugin failed: {}", String::from_utf8_lossy(why));
    at
}

const EVENT_FIELDS: [Field; 12] = [
    ("event_type", UINT32, 0, 4),
    ("pid", UINT32, 4, 4),
    ("tid", UINT32, 8, 4),
    ("timestamp_ns", UINT64, 16, 8),
    ("cpu_id", UINT32, 24, 4),
    ("user_stack_id", INT64, 32, 8),
    ("kernel_stack_id", INT64, 40, 8),
    ("lock_addr", UINT64, 48, 8),
    ("wait_ns", UINT64, 56, 8),
    ("syscall_id", UINT32, 64, 4),
    ("duration_ns", UINT64, DURATION, 8),
    ("return_value", INT64, RESULT, 8),
];

#[test]
fn kernel_filter_plugins_keep_what_they_keep_in_user_space() {
    if !kernel_gate("examples/slow-syscalls in the kernel") {
        return;
    }
    let events = events();
    for path in ["slow-syscalls/slow-syscalls.wasm", "slow-syscalls-c/slow-syscalls-c.wasm"] {
        let mut plugin = Both::new(path);
        let response = ask(&mut plugin, "skep_filter", &events, &EVENT_FIELDS, 0);
        // `keep` is a list at 12: its address and how many words.
        let keep = plugin.word(response + 12);
        assert_eq!(keep >> 32, 3, "{path}");
        for (index, record) in events.iter().enumerate() {
            let word = plugin.word((keep & 0xffff_ffff) + index as u64 / 64 * 8);
            let duration = u64::from_le_bytes(record[DURATION..RESULT].try_into().unwrap());
            assert_eq!(word >> (index % 64) & 1 != 0, record[0] == 2 && duration >= 1_000_000, "{path}: {index}");
        }
    }
}

#[test]
fn kernel_shaping_and_observing_plugins_answer_as_in_user_space() {
    if !kernel_gate("examples/redact-paths and latency-histogram in the kernel") {
        return;
    }
    let opened = |uid: u32, path: &str| {
        let mut record = uid.to_le_bytes().to_vec();
        record.extend(path.as_bytes());
        record.resize(72, 0);
        record
    };
    let opened =
        [opened(1000, "/home/ann/notes"), opened(0, "/etc/shadow"), opened(1000, "/tmp/x"), opened(7, "/home/b")];
    let fields = [("uid", UINT32, 0, 4), ("filename", CSTRING, 4, 64)];
    for path in ["redact-paths/redact-paths.wasm", "redact-paths-c/redact-paths-c.wasm"] {
        let mut plugin = Both::new(path);
        let before = plugin.memory();
        ask(&mut plugin, "skep_shape", &opened, &fields, 0);
        assert!(before != plugin.memory(), "{path} changed nothing");
    }
    for path in ["latency-histogram/latency-histogram.wasm", "latency-histogram-c/latency-histogram-c.wasm"] {
        let mut plugin = Both::new(path);
        let response = ask(&mut plugin, "skep_observe", &events(), &EVENT_FIELDS, 1);
        // Metrics are a list at 12.
        assert!(plugin.word(response + 12) >> 32 > 0, "{path} reports nothing");
    }
}
