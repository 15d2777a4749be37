use crate::{Measure, Options, Output, StackProfile};
use flate2::{Compression, write::GzEncoder};
use prost::Message;
use skep_error::{Result, ResultExt as _};
use skep_event::{Batch, Frame, Schema, StackTable};
use skep_flow::{Sink, Summary};
use std::{collections::HashMap, io::Write as _};

/// `perftools.profiles`, gzipped: what `go tool pprof` and its web view read.
pub(crate) struct Pprof {
    output: Output,
    profile: StackProfile,
    options: Options,
    started_ns: u64,
}

/// The messages of `profile.proto`, field numbers as published by pprof.
mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Profile {
        #[prost(message, repeated, tag = "1")]
        pub(super) sample_type: Vec<ValueType>,
        #[prost(message, repeated, tag = "2")]
        pub(super) sample: Vec<Sample>,
        #[prost(message, repeated, tag = "3")]
        pub(super) mapping: Vec<Mapping>,
        #[prost(message, repeated, tag = "4")]
        pub(super) location: Vec<Location>,
        #[prost(message, repeated, tag = "5")]
        pub(super) function: Vec<Function>,
        #[prost(string, repeated, tag = "6")]
        pub(super) string_table: Vec<String>,
        #[prost(int64, tag = "9")]
        pub(super) time_nanos: i64,
        #[prost(int64, tag = "10")]
        pub(super) duration_nanos: i64,
        #[prost(message, optional, tag = "11")]
        pub(super) period_type: Option<ValueType>,
        #[prost(int64, tag = "12")]
        pub(super) period: i64,
        #[prost(int64, tag = "14")]
        pub(super) default_sample_type: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ValueType {
        #[prost(int64, tag = "1")]
        pub(super) r#type: i64,
        #[prost(int64, tag = "2")]
        pub(super) unit: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Sample {
        #[prost(uint64, repeated, tag = "1")]
        pub(super) location_id: Vec<u64>,
        #[prost(int64, repeated, tag = "2")]
        pub(super) value: Vec<i64>,
        #[prost(message, repeated, tag = "3")]
        pub(super) label: Vec<Label>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Label {
        #[prost(int64, tag = "1")]
        pub(super) key: i64,
        #[prost(int64, tag = "2")]
        pub(super) str: i64,
        #[prost(int64, tag = "3")]
        pub(super) num: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Mapping {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(uint64, tag = "2")]
        pub(super) memory_start: u64,
        #[prost(uint64, tag = "3")]
        pub(super) memory_limit: u64,
        #[prost(int64, tag = "5")]
        pub(super) filename: i64,
        #[prost(int64, tag = "6")]
        pub(super) build_id: i64,
        #[prost(bool, tag = "7")]
        pub(super) has_functions: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Location {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(uint64, tag = "2")]
        pub(super) mapping_id: u64,
        #[prost(uint64, tag = "3")]
        pub(super) address: u64,
        #[prost(message, repeated, tag = "4")]
        pub(super) line: Vec<Line>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Line {
        #[prost(uint64, tag = "1")]
        pub(super) function_id: u64,
        #[prost(int64, tag = "2")]
        pub(super) line: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Function {
        #[prost(uint64, tag = "1")]
        pub(super) id: u64,
        #[prost(int64, tag = "2")]
        pub(super) name: i64,
        #[prost(int64, tag = "3")]
        pub(super) system_name: i64,
        #[prost(int64, tag = "4")]
        pub(super) filename: i64,
    }
}

/// The tables of a profile under construction; ids are 1 and up, string 0 is empty.
struct Builder {
    profile: proto::Profile,
    strings: HashMap<String, i64>,
    /// By file, build id and the address at which the file's first byte would lie.
    mappings: HashMap<(String, String, u64), u64>,
    functions: HashMap<(String, String), u64>,
    locations: HashMap<Frame, u64>,
}

impl Builder {
    fn new() -> Self {
        let profile = proto::Profile { string_table: vec![String::new()], ..proto::Profile::default() };
        Self {
            profile,
            strings: HashMap::from([(String::new(), 0)]),
            mappings: HashMap::new(),
            functions: HashMap::new(),
            locations: HashMap::new(),
        }
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(&index) = self.strings.get(text) {
            return index;
        }
        let index = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), index);
        index
    }

    fn value_type(&mut self, name: &str, unit: &str) -> proto::ValueType {
        proto::ValueType { r#type: self.string(name), unit: self.string(unit) }
    }

    fn mapping(&mut self, frame: &Frame) -> u64 {
        if frame.module.is_empty() {
            return 0;
        }
        // Of code without a name its place in the file is known, which is what a later look needs; of any other its name.
        let start = if frame.file_offset > 0 { frame.address.saturating_sub(frame.file_offset) } else { 0 };
        let limit = if frame.file_offset > 0 { (frame.address | (PAGE - 1)).saturating_add(1) } else { 0 };
        let key = (frame.module.clone(), frame.build_id.clone(), start);
        if let Some(&id) = self.mappings.get(&key) {
            let mapping = &mut self.profile.mapping[id as usize - 1];
            mapping.memory_limit = mapping.memory_limit.max(limit);
            return id;
        }
        let id = self.mappings.len() as u64 + 1;
        let (filename, build_id) = (self.string(&frame.module), self.string(&frame.build_id));
        self.profile.mapping.push(proto::Mapping {
            id,
            memory_start: start,
            memory_limit: limit,
            filename,
            build_id,
            has_functions: frame.file_offset == 0,
        });
        self.mappings.insert(key, id);
        id
    }

    fn function(&mut self, frame: &Frame) -> u64 {
        let key = (frame.label(), frame.file.clone());
        if let Some(&id) = self.functions.get(&key) {
            return id;
        }
        let id = self.functions.len() as u64 + 1;
        let (name, filename) = (self.string(&key.0), self.string(&key.1));
        self.profile.function.push(proto::Function { id, name, system_name: name, filename });
        self.functions.insert(key, id);
        id
    }

    fn location(&mut self, frame: &Frame) -> u64 {
        if let Some(&id) = self.locations.get(frame) {
            return id;
        }
        let id = self.locations.len() as u64 + 1;
        let mapping_id = self.mapping(frame);
        let line = proto::Line { function_id: self.function(frame), line: frame.line.into() };
        self.profile.location.push(proto::Location { id, mapping_id, address: frame.address, line: vec![line] });
        self.locations.insert(frame.clone(), id);
        id
    }
}

/// A mapping ends with a page.
const PAGE: u64 = 4096;

/// The format has no larger numbers.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Pprof {
    pub(crate) fn new(output: Output, options: &Options) -> Self {
        let started_ns = options.started_ns();
        Self { output, profile: StackProfile::new(options), options: options.clone(), started_ns }
    }

    fn build(&self, elapsed_ns: u64) -> proto::Profile {
        let mut builder = Builder::new();
        let period = self.options.sample_period_ns as i64;
        let (name, as_time) = match self.options.measure {
            Measure::Samples => ("cpu", period > 0),
            Measure::Wait => ("delay", true),
            Measure::Duration => ("duration", true),
        };
        let events = if self.options.measure == Measure::Samples { "samples" } else { "events" };
        let mut types = vec![builder.value_type(events, "count")];
        if as_time {
            types.push(builder.value_type(name, "nanoseconds"));
        }
        builder.profile.default_sample_type = types.last().map_or(0, |last| last.r#type);
        builder.profile.period_type = types.last().cloned();
        builder.profile.sample_type = types;
        builder.profile.period = period;
        builder.profile.time_nanos = number(self.started_ns);
        builder.profile.duration_nanos = number(elapsed_ns);
        let (thread, pid) = (builder.string("thread"), builder.string("pid"));
        for row in self.profile.rows() {
            let count = number(row.count);
            let mut value = vec![count];
            match self.options.measure {
                Measure::Samples if as_time => value.push(count.saturating_mul(period)),
                Measure::Samples => {}
                Measure::Wait | Measure::Duration => value.push(number(row.value)),
            }
            let location_id = row.frames.iter().rev().map(|frame| builder.location(frame)).collect();
            let label = vec![
                proto::Label { key: thread, str: builder.string(&row.comm), num: 0 },
                proto::Label { key: pid, str: 0, num: number(row.pid) },
            ];
            builder.profile.sample.push(proto::Sample { location_id, value, label });
        }
        builder.profile
    }
}

impl Sink for Pprof {
    fn name(&self) -> &str {
        "pprof"
    }

    fn bind(&mut self, schema: &Schema, stacks: &StackTable) -> Result<()> {
        self.profile.bind(schema, stacks)
    }

    fn write(&mut self, _: &Schema, batch: &Batch<'_>) -> Result<()> {
        self.profile.add(batch);
        Ok(())
    }

    fn finish(&mut self, _: &Schema, summary: &Summary) -> Result<()> {
        let bytes = self.build(self.options.elapsed_ns(summary.elapsed)).encode_to_vec();
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(&bytes).context(|| "compressing the profile")?;
        self.output.write(&gzip.finish().context(|| "compressing the profile")?)?;
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_says_where_the_code_lay_that_has_no_name_yet() {
        let mut builder = Builder::new();
        let frame = |address: u64, file_offset: u64| Frame {
            address,
            file_offset,
            module: "/usr/lib/x.so".into(),
            build_id: "abcd".into(),
            ..Frame::default()
        };
        let first = builder.mapping(&frame(0x7f00_0000_1234, 0x1234));
        assert_eq!(builder.mapping(&frame(0x7f00_0000_5678, 0x5678)), first);
        // Another process has it elsewhere.
        assert_ne!(builder.mapping(&frame(0x7e00_0000_1234, 0x1234)), first);
        let named = builder.mapping(&Frame { name: "f".into(), ..frame(0x7f00_0000_1234, 0) });
        let mappings = builder.profile.mapping;
        let bounds = |id: u64| (mappings[id as usize - 1].memory_start, mappings[id as usize - 1].memory_limit);
        assert_eq!(bounds(first), (0x7f00_0000_0000, 0x7f00_0000_6000));
        assert!(!mappings[first as usize - 1].has_functions);
        assert!(bounds(named) == (0, 0) && mappings[named as usize - 1].has_functions);
    }
}
