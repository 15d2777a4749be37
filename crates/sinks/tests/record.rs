//! Record files: round trips, files cut off at any byte, damaged and foreign files.

use skep_abi::event_context::EventContext;
use skep_error::Kind;
use skep_event::{Frame, Schema, StackTable, context};
use skep_flow::{Fill, Pipeline, Source, operators::Filter};
use skep_sinks::{Format, Options, Output, record::RecordSource};
use std::time::Duration;

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
    let mut source = RecordSource::open(&path)?;
    let (mut all, mut buffer) = (Vec::new(), vec![0; context::STRIDE * 100]);
    loop {
        let fill = source.fill(&mut buffer, Duration::ZERO)?;
        all.extend_from_slice(&buffer[..fill.records * context::STRIDE]);
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
fn a_file_cut_off_at_any_byte_is_read_up_to_there() {
    let bytes = recorded(4000);
    let (whole, _) = read(&bytes).unwrap();
    let mut counts = Vec::new();
    let schema_ends = (9..bytes.len()).find(|&len| read(&bytes[..len]).is_ok()).unwrap();
    // Every byte near the edges of blocks, and a stride that is no multiple of anything between.
    let cuts = (0..bytes.len()).filter(|cut| *cut < schema_ends + 64 || cut % 131 == 0 || cut + 200 > bytes.len());
    for cut in cuts {
        match read(&bytes[..cut]) {
            Ok((all, source)) => {
                assert!(cut >= schema_ends);
                assert!(whole.starts_with(&all), "what is read is true");
                assert!(!source.info().complete && source.broken().is_some(), "cut at {cut} is said");
                counts.push(all.len());
            }
            Err(error) => {
                assert_eq!(error.kind(), Kind::BadInput, "{error}");
                assert!(cut < schema_ends);
            }
        }
    }
    assert!(counts.is_sorted() && counts.last() == Some(&whole.len()));
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
