//! Every sink over the same five events, against the files of `tests/golden`. `BLESS=1` writes them anew.

use skep_abi::event_context::EventContext;
use skep_error::Kind;
use skep_event::{
    Batch, Frame, StackTable,
    context::{self, tail},
};
use skep_flow::{Fill, Pipeline, Source, operators::Format as FormatOperator};
use skep_sinks::{Format, Measure, Options, Output};
use std::{io::Read as _, path::Path, time::Duration};

/// Events that need no kernel.
struct Given {
    schema: skep_event::Schema,
    stacks: StackTable,
    records: Vec<u8>,
}

impl Source for Given {
    fn schema(&self) -> &skep_event::Schema {
        &self.schema
    }

    fn fill(&mut self, buffer: &mut [u8], _: Duration) -> skep_error::Result<Fill> {
        let records = std::mem::take(&mut self.records);
        buffer[..records.len()].copy_from_slice(&records);
        Ok(Fill { records: records.len() / context::STRIDE, end: true })
    }

    fn live(&self) -> bool {
        false
    }

    fn lost(&self) -> u64 {
        2
    }

    fn stacks(&self) -> StackTable {
        self.stacks.clone()
    }
}

fn record(event: EventContext, comm: &str, count: u64) -> Vec<u8> {
    let mut record = vec![0; context::STRIDE];
    let mut head = [0; 88];
    event.write_to(&mut head);
    record[..88].copy_from_slice(&head);
    record[tail::COMM..tail::COMM + comm.len()].copy_from_slice(comm.as_bytes());
    record[tail::COUNT..tail::COUNT + 8].copy_from_slice(&count.to_le_bytes());
    record
}

fn given() -> Box<Given> {
    let frame = |name: &str, kernel| Frame {
        address: 0x1000,
        name: name.into(),
        module: if kernel { "[kernel]".into() } else { "/usr/bin/app".into() },
        build_id: "abcd".into(),
        kernel,
        ..Frame::default()
    };
    let stacks = StackTable::new();
    stacks.insert(1, vec![frame("hot;loop", false), frame("main", false)]);
    stacks.insert(2, vec![frame("cold", false), frame("main", false)]);
    stacks.insert(3, vec![frame("vfs_read", true), frame("ksys_read", true)]);
    let unresolved = Frame { address: 0x77, module: "/usr/lib/x.so".into(), file_offset: 0x42, ..Frame::default() };
    stacks.insert(4, vec![unresolved]);
    let base = EventContext { pid: 10, tid: 11, user_stack_id: 1, kernel_stack_id: -1, ..EventContext::default() };
    let sample = |n: u64, user: i64, kernel: i64| EventContext {
        timestamp_ns: n * 1_000_000,
        user_stack_id: user,
        kernel_stack_id: kernel,
        duration_ns: n * 700,
        syscall_id: 3,
        event_type: 2,
        return_value: -(n as i64),
        ..base
    };
    let records = [
        record(sample(1, 1, -1), "app", 1),
        record(sample(2, 1, -14), "app", 5),
        record(sample(3, 2, 3), "app", 2),
        record(sample(4, 4, -1), "wor\x1bker", 1),
        record(sample(500, -1, -1), "idle", 1),
    ];
    Box::new(Given { schema: context::schema(), stacks, records: records.concat() })
}

fn run(format: Format, options: &Options) -> Vec<u8> {
    let (output, bytes) = Output::memory();
    let mut source = given();
    for field in [
        "unfinished",
        "cgroup_id",
        "lock_flags",
        "lock_kind",
        "lock_addr",
        "arg0",
        "arg1",
        "arg2",
        "arg3",
        "arg4",
        "arg5",
    ] {
        let index = source.schema.find(field).unwrap();
        source.schema.field_mut(index).unwrap().hidden = true;
    }
    let rule = Box::new(|value: &skep_event::Value<'_>| value.as_u64().map(|n| format!("call{n}")));
    Pipeline::new(source)
        .operator(Box::new(FormatOperator::new("syscall_id", "syscall", true, rule)))
        .sink(format.sink(output, options))
        .run(&Default::default(), |_| {})
        .unwrap();
    std::mem::take(&mut bytes.lock().unwrap())
}

fn golden(name: &str, bytes: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, bytes).unwrap();
    }
    let wanted = std::fs::read(&path).unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(bytes), String::from_utf8_lossy(&wanted), "{name}; BLESS=1 writes it anew");
}

fn options() -> Options {
    Options { title: "test".into(), sample_period_ns: 10_101_010, ..Options::default() }
}

#[test]
fn text_sinks_write_what_the_goldens_say() {
    golden("samples.folded", &run(Format::Folded, &options()));
    golden("samples.top", &run(Format::Top, &options()));
    golden("events.table", &run(Format::Table, &options()));
    golden("events.jsonl", &run(Format::Jsonl, &options()));
    golden("events.trace.json", &run(Format::Chrome, &options()));
    let by_comm = Options { histogram_key: Some("comm".into()), measure: Measure::Duration, ..options() };
    golden("durations.hist", &run(Format::Histogram, &by_comm));
    let leaf = Options { leaf: Some("syscall".into()), measure: Measure::Duration, ..options() };
    golden("durations.folded", &run(Format::Folded, &leaf));
    golden("samples.svg", &run(Format::FlameGraph, &options()));
}

#[test]
fn what_had_not_ended_is_marked_and_the_mark_spends_nothing_of_its_own() {
    let shown = |format: Format| {
        let (output, bytes) = Output::memory();
        let mut source = given();
        source.records[tail::UNFINISHED] = 1;
        let options = Options { measure: Measure::Duration, ..options() };
        Pipeline::new(source).sink(format.sink(output, &options)).run(&Default::default(), |_| {}).unwrap();
        String::from_utf8(std::mem::take(&mut bytes.lock().unwrap())).unwrap()
    };
    let folded = shown(Format::Folded);
    assert!(
        folded.contains("app;main;hot_loop;[unfinished] 700\n") && folded.contains("app;main;hot_loop 1400\n"),
        "{folded}"
    );
    let top = shown(Format::Top);
    let row = |name: &str| {
        top.lines().find(|line| line.ends_with(name)).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((&row("[unfinished]")[0], &row("[unfinished]")[2]), (&"0ns".to_owned(), &"700ns".to_owned()), "{top}");
    assert_eq!((&row("hot;loop")[0], &row("hot;loop")[2]), (&"2.1us".to_owned(), &"2.1us".to_owned()), "{top}");
}

#[test]
fn a_table_shows_stacks_below_its_rows_where_they_are_asked_for() {
    let table = String::from_utf8(run(Format::Table, &Options { stacks: true, ..options() })).unwrap();
    let stacks: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("    ").filter(|rest| !rest.starts_with(' '))).collect();
    assert_eq!(table.lines().count(), 6 + stacks.len(), "{table}");
    let wanted = [
        "hot;loop",
        "main",
        "hot;loop",
        "main",
        "vfs_read [kernel]",
        "ksys_read [kernel]",
        "cold",
        "main",
        "x.so+0x42",
    ];
    assert_eq!(stacks, wanted);
}

#[test]
fn json_sinks_write_json() {
    let trace: serde_json::Value = serde_json::from_slice(&run(Format::Chrome, &options())).unwrap();
    let all = trace.as_array().unwrap();
    let events: Vec<_> = all.iter().filter(|event| event["ph"] != "M").collect();
    assert_eq!(events.len(), 5);
    assert_eq!(events[0]["dur"], 0.7);
    assert_eq!(events[0]["name"], "call3");
    // Each name stands before the first event that has it.
    let names: Vec<_> =
        all.iter().filter(|event| event["name"] == "thread_name").map(|event| &event["args"]["name"]).collect();
    assert_eq!(names, ["app", "wor\u{1b}ker", "idle"]);
    assert_eq!((&all[0]["ph"], &all[0]["tid"]), (&"M".into(), &11.into()));
    let scope: serde_json::Value = serde_json::from_slice(&run(Format::Speedscope, &options())).unwrap();
    assert_eq!(scope["profiles"][0]["type"], "sampled");
    assert_eq!(scope["profiles"][0]["endValue"], 8);
    let first = scope["profiles"][0]["samples"][0].as_array().unwrap();
    let names: Vec<&str> = first
        .iter()
        .map(|at| scope["shared"]["frames"][at.as_u64().unwrap() as usize]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["main", "hot;loop"], "outermost first");
    for line in run(Format::Jsonl, &options()).split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
        let row: serde_json::Value = serde_json::from_slice(line).unwrap();
        assert_eq!(row["syscall"], "call3");
    }
}

#[test]
fn in_a_trace_a_time_off_the_cpu_is_a_bar_and_a_sample_an_instant() {
    let mut source = given();
    let off = EventContext { pid: 7, tid: 7, timestamp_ns: 9_000, wait_ns: 2_000, ..EventContext::default() };
    source.records = [record(off, "sleeper", 1), record(EventContext { wait_ns: 0, ..off }, "sleeper", 1)].concat();
    let (output, bytes) = Output::memory();
    Pipeline::new(source).sink(Format::Chrome.sink(output, &options())).run(&Default::default(), |_| {}).unwrap();
    let trace: serde_json::Value = serde_json::from_slice(&bytes.lock().unwrap()).unwrap();
    let events = trace.as_array().unwrap();
    let kinds: Vec<_> =
        events.iter().map(|event| (event["ph"].as_str().unwrap(), event["name"].as_str().unwrap())).collect();
    assert_eq!(kinds, [("M", "thread_name"), ("M", "process_name"), ("X", "off the CPU"), ("i", "sleeper")]);
    assert_eq!((&events[2]["ts"], &events[2]["dur"], &events[2]["tid"]), (&7.0.into(), &2.0.into(), &7.into()));
}

#[test]
fn a_profile_for_pprof_is_gzipped_and_names_its_functions() {
    let bytes = run(Format::Pprof, &options());
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
    for name in ["hot;loop", "vfs_read", "nanoseconds", "/usr/bin/app", "x.so+0x42", "abcd"] {
        assert!(plain.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
    }
}

#[test]
fn a_flame_graph_shows_frames_and_losses() {
    let svg = String::from_utf8(run(Format::FlameGraph, &options())).unwrap();
    assert!(svg.contains("hot_loop") && svg.contains("vfs_read (2 samples") && svg.contains("lost: 2 in the kernel"));
}

#[test]
fn a_difference_shows_both_profiles_and_refuses_what_is_none() {
    let svg = skep_sinks::diff::svg("main;a 10\nmain;b 10\n", "main;a 30\nmain;c 10\n", "diff").unwrap();
    let svg = String::from_utf8(svg).unwrap();
    assert!(svg.contains("<title>c") && svg.contains("%"));
    let error = skep_sinks::diff::svg("main;a 10\n", "<svg>", "diff").unwrap_err();
    assert!(error.to_string().contains("second profile"));
}

#[test]
fn weights_whose_sum_no_number_holds_are_refused_or_stay_the_largest_number() {
    let (huge, small) = (format!("a;b {}\na;c {}\n", u64::MAX, u64::MAX), "a;b 1\n");
    for (before, after, which) in [(huge.as_str(), small, "first"), (small, huge.as_str(), "second")] {
        let error = skep_sinks::diff::svg(before, after, "diff").unwrap_err();
        assert!(error.kind() == Kind::BadInput && error.to_string().contains(which), "{error}");
    }
    let most = format!("a;b {}\n", 1u64 << 55);
    skep_sinks::diff::svg(&most, small, "diff").unwrap();
    skep_sinks::diff::svg(small, &most, "diff").unwrap();
    // Numbers of a recording that means no good.
    let options = Options { measure: Measure::Samples, ..options() };
    let formats = Format::ALL.iter().filter(|format| format.is_of_stacks() || **format == Format::Histogram);
    for (format, count) in formats.flat_map(|format| [(format, u64::MAX), (format, 0)]) {
        let (output, _) = Output::memory();
        let mut source = given();
        for record in source.records.chunks_exact_mut(context::STRIDE) {
            record[tail::COUNT..tail::COUNT + 8].copy_from_slice(&count.to_le_bytes());
        }
        let ran = Pipeline::new(source).sink(format.sink(output, &options)).run(&Default::default(), |_| {});
        match format {
            Format::FlameGraph if count > 0 => assert_eq!(ran.unwrap_err().kind(), Kind::BadInput),
            _ => drop(ran.unwrap()),
        }
    }
}

#[test]
fn formats_are_chosen_by_name_and_ending() {
    assert_eq!(Format::from_path(Path::new("x.trace.json")).unwrap(), Format::Chrome);
    assert_eq!(Format::from_path(Path::new("a/x.json")).unwrap(), Format::Jsonl);
    assert_eq!(Format::from_path(Path::new("x.pb.gz")).unwrap(), Format::Pprof);
    assert!(Format::from_path(Path::new("svg")).is_err());
    assert_eq!(Format::from_name("foldde").unwrap_err().help_text(), Some("did you mean \"folded\"?"));
    assert!(Output::create(Path::new("/nonexistent/x.svg")).is_err());
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()).unwrap(), *format);
    }
}

#[test]
fn an_output_takes_nothing_away_before_it_is_written_and_waits_for_no_reader() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("old"), "what was there").unwrap();
    drop((Output::create(&path("old")).unwrap(), Output::create(&path("new")).unwrap()));
    assert_eq!(std::fs::read_to_string(path("old")).unwrap(), "what was there");
    assert!(!path("new").exists());
    for name in ["old", "new"] {
        let mut output = Output::create(&path(name)).unwrap();
        output.write(b"now").unwrap();
        output.flush().unwrap();
        assert_eq!(std::fs::read_to_string(path(name)).unwrap(), "now");
    }
    Output::create(&path("old")).unwrap().flush().unwrap();
    assert_eq!(std::fs::read_to_string(path("old")).unwrap(), "", "a run without rows leaves an empty file");

    std::fs::hard_link(path("new"), path("link")).unwrap();
    let error = Output::check_apart(&path("link"), &path("new")).unwrap_err();
    assert!(error.kind() == Kind::Usage && error.to_string().contains("link is the same file"), "{error}");
    Output::check_apart(&path("old"), &path("new")).unwrap();
    Output::check_apart(&path("not there"), &path("new")).unwrap();

    let fifo = path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let error = Output::create(&fifo).err().unwrap();
    assert!(error.kind() == Kind::Io && error.to_string().contains("nobody reads"), "{error}");
    let reader = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let mut output = Output::create(&fifo).unwrap();
    output.write(b"now").and_then(|()| output.flush()).unwrap();
    let mut read = [0; 3];
    (&reader).read_exact(&mut read).unwrap();
    assert_eq!(&read, b"now");
}

#[test]
fn an_empty_run_makes_valid_outputs() {
    for format in Format::ALL {
        let (output, bytes) = Output::memory();
        let mut source = given();
        source.records.clear();
        let options = options();
        Pipeline::new(source).sink(format.sink(output, &options)).run(&Default::default(), |_| {}).unwrap();
        assert!(format.is_of_stacks() || *format == Format::Jsonl || !bytes.lock().unwrap().is_empty());
    }
    let _ = Batch::new(Vec::new(), &context::schema());
}

#[test]
fn a_parquet_file_reads_back_as_the_events_were() {
    use parquet::{
        file::reader::{FileReader as _, SerializedFileReader},
        record::RowAccessor as _,
    };
    let bytes = run(Format::Parquet, &options());
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let metadata = reader.metadata().file_metadata();
    assert_eq!((metadata.num_rows(), metadata.schema().name()), (5, "events"));
    let lost = metadata.key_value_metadata().unwrap().iter().find(|pair| pair.key == "skep.lost_kernel").unwrap();
    assert_eq!(lost.value.as_deref(), Some("2"));
    let names: Vec<&str> = metadata.schema().get_fields().iter().map(|field| field.name()).collect();
    let at =
        |name: &str| names.iter().position(|other| *other == name).unwrap_or_else(|| panic!("{name} of {names:?}"));
    assert!(!names.contains(&"cgroup_id"), "hidden fields stay away");
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let third = &rows[2];
    assert_eq!(third.get_uint(at("pid")).unwrap(), 10);
    assert_eq!(third.get_ulong(at("timestamp_ns")).unwrap(), 3_000_000);
    assert_eq!(third.get_long(at("return_value")).unwrap(), -3);
    assert_eq!(third.get_string(at("comm")).unwrap(), "app");
    assert_eq!(third.get_string(at("syscall")).unwrap(), "call3");
    assert_eq!(third.get_string(at("user_stack")).unwrap(), "main;cold");
    assert_eq!(third.get_string(at("kernel_stack")).unwrap(), "ksys_read;vfs_read");
    assert!(rows[4].get_string(at("user_stack")).is_err(), "none is null");
}

/// The rules of <https://www.speedscope.app/file-format-schema.json> for what Skep writes of it.
#[test]
fn a_speedscope_file_keeps_the_schemas_rules() {
    for measure in [Measure::Samples, Measure::Wait, Measure::Duration] {
        let bytes = run(Format::Speedscope, &Options { measure, ..options() });
        let file: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(file["$schema"], "https://www.speedscope.app/file-format-schema.json");
        let frames = file["shared"]["frames"].as_array().unwrap();
        for frame in frames {
            let allowed = ["name", "file", "line", "col"];
            assert!(
                frame["name"].is_string()
                    && frame.as_object().unwrap().keys().all(|key| allowed.contains(&key.as_str()))
            );
        }
        let profiles = file["profiles"].as_array().unwrap();
        assert!(!profiles.is_empty() && (file["activeProfileIndex"].as_u64().unwrap() as usize) < profiles.len());
        for profile in profiles {
            assert_eq!(profile["type"], "sampled");
            let units = ["bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"];
            assert!(profile["name"].is_string() && units.contains(&profile["unit"].as_str().unwrap()));
            let (samples, weights) = (profile["samples"].as_array().unwrap(), profile["weights"].as_array().unwrap());
            assert_eq!(samples.len(), weights.len());
            let in_range = |index: &serde_json::Value| (index.as_u64().unwrap() as usize) < frames.len();
            assert!(samples.iter().all(|sample| sample.as_array().unwrap().iter().all(in_range)));
            let (start, end) = (profile["startValue"].as_u64().unwrap(), profile["endValue"].as_u64().unwrap());
            assert_eq!(weights.iter().map(|weight| weight.as_u64().unwrap()).sum::<u64>(), end - start);
        }
    }
}

/// The rules of the Trace Event Format (JSON array form) for the kinds of event that Skep writes.
#[test]
fn a_trace_keeps_the_rules_of_the_trace_event_format() {
    let file: serde_json::Value = serde_json::from_slice(&run(Format::Chrome, &options())).unwrap();
    for event in file.as_array().unwrap() {
        assert!(event["name"].is_string() && event["args"].is_object(), "{event}");
        if event["ph"] == "M" {
            assert!(["thread_name", "process_name"].contains(&event["name"].as_str().unwrap()), "{event}");
            assert!(event["args"]["name"].is_string() && event["pid"].is_u64() && event["tid"].is_u64(), "{event}");
            continue;
        }
        assert!(
            event["cat"].is_string()
                && event["pid"].is_u64()
                && event["tid"].is_u64()
                && event["ts"].as_f64().unwrap() >= 0.0,
            "{event}"
        );
        match event["ph"].as_str().unwrap() {
            "X" => assert!(event["dur"].as_f64().unwrap() >= 0.0 && event["s"].is_null(), "{event}"),
            "i" => {
                assert!(["g", "p", "t"].contains(&event["s"].as_str().unwrap()) && event["dur"].is_null(), "{event}")
            }
            other => panic!("{other}"),
        }
    }
}
