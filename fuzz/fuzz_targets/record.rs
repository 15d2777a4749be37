//! A record file of any bytes: no panic, and what was read of it stays readable when more of it is damaged.
//!
//! An input is a file as it stands, or, when it starts with `!`, blocks that get the head and the checksum that a writer gives them: `!`,
//! then so many times a kind, three bytes of length, and that many bytes. So the reader's inside is reached, which a wrong checksum hides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};
use skep_flow::{Pipeline, Source};
use skep_sinks::{Format, Options, Output, record::RecordSource};
use std::{fs::File, io::Write as _, os::fd::AsRawFd as _, path::PathBuf, time::Duration};

fuzz_target!(|data: &[u8]| {
    let bytes = match data.split_first() {
        Some((b'!', blocks)) => written(blocks),
        _ => data.to_vec(),
    };
    let (_file, path) = file(&bytes);
    let Ok(mut source) = RecordSource::open(&path) else { return };
    let mut buffer = vec![0; source.schema().stride().max(64 << 10)];
    let mut records = 0;
    loop {
        let Ok(fill) = source.fill(&mut buffer, Duration::ZERO) else { return };
        records += fill.records;
        if fill.end {
            break;
        }
    }
    for format in [Format::Jsonl, Format::Table, Format::Folded, Format::Pprof] {
        let Ok(source) = RecordSource::open(&path) else { panic!("it was opened a moment ago") };
        let (output, _) = Output::memory();
        let run = Pipeline::new(Box::new(source)).sink(format.sink(output, &Options::default()));
        // Formats ask for fields that a foreign file need not have.
        if let Ok(summary) = run.run(&Default::default(), |_| {}) {
            assert_eq!(summary.events, records as u64, "{}", format.name());
        }
    }
});

/// A file in memory, and its name.
fn file(bytes: &[u8]) -> (File, PathBuf) {
    let fd = memfd_create("record", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(fd);
    file.write_all(bytes).expect("writing to memory");
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    (file, path)
}

fn written(mut blocks: &[u8]) -> Vec<u8> {
    let mut bytes = b"SKEPREC\x01".to_vec();
    while let Some((&[kind, low, middle, high], rest)) = blocks.split_first_chunk() {
        let len = (usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16).min(rest.len());
        let (plain, rest) = rest.split_at(len);
        let packed = lz4_flex::block::compress(plain);
        let start = bytes.len();
        bytes.extend_from_slice(&[b'S', b'K', b'B', b'K', kind & 7, 0, 0, 0]);
        // Records of 8 bytes, such as the first seeds have.
        for number in [packed.len(), plain.len(), plain.len() / 8] {
            bytes.extend_from_slice(&(number as u32).to_le_bytes());
        }
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&bytes[start..]);
        checksum.update(&packed);
        bytes.extend_from_slice(&checksum.finalize().to_le_bytes());
        bytes.extend_from_slice(&packed);
        blocks = rest;
    }
    bytes
}
