//! Recordings made here, without a kernel: what `skep replay` does with them needs no root.
#![allow(dead_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use skep_abi::{event_context::EventContext, hooks::wire::FILTER_V1};
use skep_event::{
    Schema,
    context::{STRIDE, schema_of, tail},
};
use skep_flow::{Fill, Pipeline, Source};
use skep_sinks::{Format, Options, Output};

struct Given {
    schema: Schema,
    records: Vec<u8>,
}

impl Source for Given {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn fill(&mut self, buffer: &mut [u8], _: Duration) -> skep_error::Result<Fill> {
        let room = buffer.len() / STRIDE * STRIDE;
        let count = self.records.len().min(room);
        buffer[..count].copy_from_slice(&self.records[..count]);
        self.records.drain(..count);
        Ok(Fill { records: count / STRIDE, end: self.records.is_empty() })
    }

    fn live(&self) -> bool {
        false
    }
}

/// A record file of what that collector could have seen, with or without fields for arguments.
pub(crate) fn recording(to: &Path, collector: &str, arguments: bool, events: &[EventContext]) {
    let mut records = Vec::new();
    for event in events {
        let mut record = [0; STRIDE];
        event.write_to(record.first_chunk_mut().unwrap());
        record[tail::COMM..tail::COMM + 4].copy_from_slice(b"test");
        record[tail::COUNT] = 1;
        records.extend(record);
    }
    let source = Given { schema: schema_of(collector, arguments), records };
    Pipeline::new(Box::new(source))
        .sink(Format::Record.sink(Output::create(to).unwrap(), &Options::default()))
        .run(&Default::default(), |_| {})
        .unwrap();
}

/// System calls with the numbers 0 and up, a microsecond apart.
pub(crate) fn calls(count: u32) -> Vec<EventContext> {
    let call = |n: u32| EventContext {
        event_type: 2,
        pid: 10,
        tid: 11,
        timestamp_ns: 1_000 * u64::from(n + 1),
        user_stack_id: -1,
        kernel_stack_id: -1,
        syscall_id: n % 300,
        duration_ns: 500,
        ..EventContext::default()
    };
    (0..count).map(call).collect()
}

/// A plugin of world `hooks` with that body of its hook `filter`, what it says of that hook besides its version, imports, pages
/// and the names of capabilities, as JSON.
pub(crate) fn plugin(dir: &Path, body: &str, hook: &str, imports: &str, pages: u32, able: &str) -> PathBuf {
    let escape = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>();
    let metadata = format!(
        r#"{{"name":"t","version":"1","hooks":{{"filter":{{"wire_version":1{hook}}}}},"capabilities":[{able}]}}"#
    );
    let text = format!(
        r#"(module {imports} (memory (export "memory") {pages}) (global $next (mut i32) (i32.const 65536))
            (data (i32.const 1024) "a line of the plugin")
            (func (export "skep_alloc") (param i32 i32) (result i32)
                global.get $next (global.set $next (i32.add (global.get $next) (local.get 0))))
            (func (export "skep_free") (param i32 i32 i32))
            (func (export "skep_filter") (param i32 i32) (result i64) {body})
            (@custom "skep.plugin.v1" "{}")
            (@custom "skep.schema.filter.v1" "{}"))"#,
        escape(metadata.as_bytes()),
        escape(&FILTER_V1)
    );
    let file = dir.join("plugin.wasm");
    fs::write(&file, wat::parse_str(text).unwrap()).unwrap();
    file
}
