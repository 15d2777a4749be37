//! A real module made larger: its function bodies and data segments over again, in the same proportion, so that a few
//! MiB of what a compiler writes need not lie in the repository.

use std::{fs, path::Path};

use wasm_encoder as enc;
use wasmparser::{FromReader, Parser, Payload, SectionLimited};

/// The committed module of that path below `examples/`.
pub(crate) fn sample(path: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path);
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// A section's items, each as its bytes.
fn items<'a, T: FromReader<'a>>(bytes: &'a [u8], section: SectionLimited<'a, T>) -> Vec<&'a [u8]> {
    let end = section.range().end as usize;
    let mut starts: Vec<usize> =
        section.into_iter_with_offsets().map(|item| item.expect("a sound section").0 as usize).collect();
    starts.push(end);
    starts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// A section of `count` items: all of them as often as there is room for, the rest from all over.
fn repeated(module: &mut enc::Module, id: u8, items: &[&[u8]], count: usize) {
    let mut data = Vec::new();
    enc::Encode::encode(&(count as u32), &mut data);
    let rest = count % items.len();
    let whole = items.iter().cycle().take(count - rest);
    let spread = (0..rest).map(|n| &items[n * items.len() / rest]);
    whole.chain(spread).for_each(|item| data.extend_from_slice(item));
    module.section(&enc::RawSection { id, data: &data });
}

/// `bytes` with its code and data repeated until it is about `size` bytes long.
pub(crate) fn enlarged(bytes: &[u8], size: usize) -> Vec<u8> {
    let (mut code, mut data) = (0, 0);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.expect("a sound module") {
            Payload::CodeSectionStart { unchecked_range: range, .. } => code = range.end - range.start,
            Payload::DataSection(section) => data = section.range().end - section.range().start,
            _ => {}
        }
    }
    let scale = 1.0 + (size - bytes.len()) as f64 / (code + data) as f64;
    let scaled = |count: usize| (count as f64 * scale).ceil() as usize;
    let mut module = enc::Module::new();
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.expect("a sound module") {
            Payload::FunctionSection(section) => {
                let functions = items(bytes, section);
                repeated(&mut module, enc::SectionId::Function as u8, &functions, scaled(functions.len()));
            }
            Payload::DataCountSection { count, .. } => {
                module.section(&enc::DataCountSection { count: scaled(count as usize) as u32 });
            }
            Payload::DataSection(section) => {
                let segments = items(bytes, section);
                repeated(&mut module, enc::SectionId::Data as u8, &segments, scaled(segments.len()));
            }
            Payload::CodeSectionStart { unchecked_range: range, .. } => {
                let reader =
                    wasmparser::BinaryReader::new(&bytes[range.start as usize..range.end as usize], range.start);
                let bodies = SectionLimited::<wasmparser::FunctionBody<'_>>::new(reader).expect("a sound section");
                let bodies = items(bytes, bodies);
                repeated(&mut module, enc::SectionId::Code as u8, &bodies, scaled(bodies.len()));
            }
            Payload::CodeSectionEntry(_) => {}
            other => {
                if let Some((id, range)) = other.as_section() {
                    let data = &bytes[range.start as usize..range.end as usize];
                    module.section(&enc::RawSection { id, data });
                }
            }
        }
    }
    module.finish()
}
