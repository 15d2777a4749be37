//! Record files: round trips, files cut off at any byte, damaged and foreign files.

use skep_abi::event_context::EventContext;
use skep_error::Kind;
use skep_event::{
    Frame, Schema, StackTable,
    context::{self, tail},
};
use skep_flow::{Fill, Pipeline, Source, operators::Filter};
use skep_sinks::{Format, Options, Output, record::RecordSource};
use std::{path::Path, time::Duration};

struct Numbers {
    schema: Schema,
    stacks: StackTable,
    next: u64,
    end: u64,
}

impl Source for Numbers {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn fill(&mut self, buffer: &mut [u8], _: Duration) -> skep_error::Result<Fill> {
        let mut records = 0;
        for slot in buffer.chunks_exact_mut(context::STRIDE) {
            if self.next == self.end {
                break;
            }
            let id = (self.next / 1000) as i64;
            let frame = Frame { name: format!("f{id}"), address: self.next, line: 7, ..Frame::default() };
            self.stacks.insert(id, vec![frame]);
            let event = EventContext { pid: 7, timestamp_ns: self.next, user_stack_id: id, ..EventContext::default() };
            let mut head = [0; 88];
            event.write_to(&mut head);
            slot.fill(0);
            slot[..88].copy_from_slice(&head);
            slot[tail::COUNT] = 1;
            self.next += 1;
            records += 1;
        }
        Ok(Fill { records, end: self.next == self.end })
    }

    fn live(&self) -> bool {
        false
    }

    fn lost(&self) -> u64 {
        42
    }

    fn lost_in_queue(&self) -> u64 {
        7
    }

    fn stacks(&self) -> StackTable {
        self.stacks.clone()
    }
}

fn recorded(count: u64) -> Vec<u8> {
    let (output, bytes) = Output::memory();
    let source = Numbers { schema: context::schema(), stacks: StackTable::new(), next: 0, end: count };
    Pipeline::new(Box::new(source))
        .sink(Format::Record.sink(output, &Options::default()))
        .run(&Default::default(), |_| {})
        .unwrap();
    std::mem::take(&mut bytes.lock().unwrap())
}

fn read(bytes: &[u8]) -> skep_error::Result<(Vec<u8>, RecordSource)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.skep");
    std::fs::write(&path, bytes).unwrap();
    read_file(&path)
}

fn read_file(path: &Path) -> skep_error::Result<(Vec<u8>, RecordSource)> {
    let mut source = RecordSource::open(path)?;
    let stride = source.schema().stride();
    let (mut all, mut buffer) = (Vec::new(), vec![0; stride * 100]);
    loop {
        let fill = source.fill(&mut buffer, Duration::ZERO)?;
        all.extend_from_slice(&buffer[..fill.records * stride]);
        if fill.end {
            return Ok((all, source));
        }
    }
}

#[test]
fn a_recording_comes_back_as_it_was() {
    let bytes = recorded(10_000);
    let (all, source) = read(&bytes).unwrap();
    assert_eq!(all.len(), 10_000 * context::STRIDE);
    for (n, record) in all.chunks_exact(context::STRIDE).enumerate() {
        assert_eq!(record[16..24], (n as u64).to_le_bytes());
    }
    assert_eq!(source.info().records, Some(10_000));
    assert_eq!(source.info().lost.kernel, 42);
    assert!(source.info().complete && source.broken().is_none());
    assert_eq!(source.stacks().get(9).unwrap()[0].name, "f9");
    assert_eq!(source.schema(), &context::schema());
    assert!(bytes.len() < all.len() / 4, "{} bytes", bytes.len());
}

#[test]
fn what_a_recorder_lost_is_lost_to_its_replay_and_to_a_recording_of_that() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lossy.skep");
    let mut bytes = recorded(100);
    for _ in 0..2 {
        std::fs::write(&path, &bytes).unwrap();
        let (output, again) = Output::memory();
        let summary = Pipeline::new(Box::new(RecordSource::open(&path).unwrap()))
            .sink(Format::Record.sink(output, &Options::default()))
            .run(&Default::default(), |_| {})
            .unwrap();
        assert_eq!((summary.lost.kernel, summary.lost.queue), (42, 7));
        bytes = std::mem::take(&mut again.lock().unwrap());
    }
}

#[test]
fn a_file_cut_off_at_any_byte_is_read_up_to_there() {
    // Two blocks of records with stacks before each, and all the rest.
    let bytes = recorded(1800);
    let (whole, _) = read(&bytes).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.skep");
    std::fs::write(&path, &bytes).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let mut counts = Vec::new();
    let mut refused = 0;
    for cut in (0..bytes.len()).rev() {
        file.set_len(cut as u64).unwrap();
        match read_file(&path) {
            Ok((all, source)) => {
                assert_eq!(refused, 0, "cut at {cut}: a longer file was refused");
                assert!(whole.starts_with(&all), "what is read is true");
                assert!(!source.info().complete && source.broken().is_some(), "cut at {cut} is said");
                counts.push(all.len());
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::BadInput, "{error}");
                refused += 1;
            }
        }
    }
    assert!(counts.is_sorted_by(|longer, shorter| longer >= shorter) && counts.first() == Some(&whole.len()));
    counts.dedup();
    assert_eq!(counts.len(), 3, "both blocks, one, none");
    assert!(counts.last() == Some(&0) && refused < 4096, "only a file without its schema is refused: {refused} bytes");
}

#[test]
fn a_flipped_bit_is_noticed() {
    let bytes = recorded(2000);
    let (whole, _) = read(&bytes).unwrap();
    for at in (0..bytes.len()).step_by(61) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        if let Ok((all, _)) = read(&bad) {
            assert!(whole.starts_with(&all), "flipped at {at}");
        }
    }
}

#[test]
fn foreign_files_are_refused() {
    for bytes in [&b""[..], b"\x7fELF", b"SKEPREC\x02aaaaaaaaaaaaaaaaaaaaaaaa", b"SKEPREC\x01", &[0xff; 4096]] {
        assert_eq!(read(bytes).err().unwrap().kind(), Kind::BadInput);
    }
    assert_eq!(RecordSource::open("/nonexistent.skep".as_ref()).err().unwrap().kind(), Kind::NotFound);
}

#[test]
fn a_time_is_found_through_the_index_with_the_stacks_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.skep");
    std::fs::write(&path, recorded(20_000)).unwrap();
    let mut source = RecordSource::open(&path).unwrap();
    source.start_at(15_000).unwrap();
    let mut buffer = vec![0; context::STRIDE];
    source.fill(&mut buffer, Duration::ZERO).unwrap();
    let first = EventContext::read_from(buffer[..88].try_into().unwrap());
    assert!(first.timestamp_ns > 0 && first.timestamp_ns <= 15_000);
    assert!(source.stacks().contains(0));
    let stacks = source.stacks();
    assert!(stacks.contains(first.user_stack_id));
}

#[test]
fn a_replay_is_deterministic() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.skep");
    std::fs::write(&path, recorded(5000)).unwrap();
    let replay = || {
        let (output, bytes) = Output::memory();
        let source = RecordSource::open(&path).unwrap();
        let summary = Pipeline::new(Box::new(source))
            .operator(Box::new(Filter::new("timestamp_ns>=4000").unwrap()))
            .sink(Format::Jsonl.sink(output, &Options::default()))
            .run(&Default::default(), |_| {})
            .unwrap();
        let bytes = bytes.lock().unwrap().clone();
        (summary.kept, bytes)
    };
    let (kept, first) = replay();
    assert_eq!(kept, 1000);
    assert_eq!(replay().1, first);
}

#[test]
fn every_format_of_a_replay_is_the_same_every_time_and_about_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.skep");
    let live = Options { sample_period_ns: 10_101_010, ..Options::default() };
    let (output, bytes) = Output::memory();
    let source = Numbers { schema: context::schema(), stacks: StackTable::new(), next: 0, end: 20_000 };
    let recording = Pipeline::new(Box::new(source)).sink(Format::Record.sink(output, &live));
    let took = recording.run(&Default::default(), |_| {}).unwrap().elapsed;
    std::fs::write(&path, &*bytes.lock().unwrap()).unwrap();
    let recorded = RecordSource::open(&path).unwrap().info().recorded;
    assert_eq!((recorded.elapsed_ns, recorded.sample_period_ns), (took.as_nanos() as u64, 10_101_010));
    assert!(recorded.started_ns > 1_700_000_000_000_000_000, "{recorded:?}");
    let replay = |format: Format| {
        let sample_period_ns = recorded.sample_period_ns;
        let options = Options { recorded: Some(recorded), sample_period_ns, ..Options::default() };
        let (output, bytes) = Output::memory();
        let pipeline = Pipeline::new(Box::new(RecordSource::open(&path).unwrap()));
        pipeline.sink(format.sink(output, &options)).run(&Default::default(), |_| {}).unwrap();
        std::mem::take(&mut *bytes.lock().unwrap())
    };
    for format in Format::ALL {
        let first = replay(*format);
        assert!(first == replay(*format), "{} differs from one replay to the next", format.name());
    }
}

/// Blocks as a writer makes them, whatever is in them.
fn block(kind: u8, items: u32, plain: &[u8]) -> Vec<u8> {
    let packed = lz4_flex::block::compress(plain);
    let mut bytes = b"SKBK".to_vec();
    bytes.extend([kind, 0, 0, 0]);
    for number in [packed.len() as u32, plain.len() as u32, items] {
        bytes.extend(number.to_le_bytes());
    }
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&bytes);
    checksum.update(&packed);
    bytes.extend(checksum.finalize().to_le_bytes());
    bytes.extend(packed);
    bytes
}

fn file(schema: &str, blocks: &[Vec<u8>]) -> Vec<u8> {
    [b"SKEPREC\x01".to_vec(), block(1, 1, schema.as_bytes()), blocks.concat()].concat()
}

#[test]
fn a_file_that_means_no_good_is_refused_or_read_up_to_the_harm() {
    let one = r#"{"name":"n","stride":8,"fields":[{"name":"a","kind":9,"offset":0,"size":8}]}"#;
    let (good, _) = read(&file(one, &[block(2, 2, &[7; 16])])).unwrap();
    assert_eq!(good, [7; 16]);
    // More memory than the file has bytes, fields without end, records of nothing, fields outside of them.
    let many = format!(r#"{{"name":"n","stride":8,"fields":[{}]}}"#, vec![r#"{"name":"a"}"#; 100_000].join(","));
    let few = [r#"{"name":"a","kind":9,"offset":0,"size":8}"#; 2].join(",");
    for schema in [
        many.as_str(),
        &format!(r#"{{"name":"n","stride":8,"fields":[{few}]}}"#),
        r#"{"name":"n","stride":0,"fields":[]}"#,
        r#"{"name":"n","stride":18446744073709551615,"fields":[]}"#,
        r#"{"name":"n","stride":8,"fields":[{"name":"a","kind":9,"offset":18446744073709551615,"size":8}]}"#,
        r#"{"name":"n","stride":8,"fields":[{"name":"a","kind":9,"offset":1,"size":8}]}"#,
        r#"{"name":"n","stride":8,"fields":[{"name":"a","kind":99,"offset":0,"size":8}]}"#,
        "[]",
        "",
    ] {
        let error = read(&file(schema, &[])).err().unwrap_or_else(|| panic!("{schema:.80} was read"));
        assert_eq!(error.kind(), Kind::BadInput, "{error}");
    }
    for (bad, words) in [
        (block(2, 3, &[7; 16]), "another length"),
        (block(2, u32::MAX, &[7; 16]), "another length"),
        (block(3, 1, b"[[[[[["), "stacks that cannot be read"),
        (block(3, 1, "[".repeat(1 << 20).as_bytes()), "stacks that cannot be read"),
        (block(3, 1, br#"[[1,[["name"]]]]"#), "stacks that cannot be read"),
        (block(9, 0, b""), "start no block"),
    ] {
        let (all, source) = read(&file(one, &[block(2, 2, &[7; 16]), bad, block(2, 2, &[8; 16])])).unwrap();
        assert_eq!(all, [7; 16], "{words}");
        assert!(source.broken().is_some_and(|why| why.contains(words)), "{words}: {:?}", source.broken());
    }
}
