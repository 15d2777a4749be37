//! What the targets that take modules have in common: an input is a module as it stands, so that the modules under
//! `examples/` make a corpus. One that starts with `!` is the entropy of a valid module of wasm-smith's; one that starts
//! with `?` is entropy and changes to the module made of it: `?`, a count, so many times a place (three bytes) and a
//! byte, entropy.

use libfuzzer_sys::arbitrary::Unstructured;
use rustix::time::{ClockId, clock_gettime};
use std::borrow::Cow;

/// The module of an input, if it makes one.
pub fn module(data: &[u8]) -> Option<Cow<'_, [u8]>> {
    match data.split_first() {
        Some((b'!', entropy)) => generated(entropy).map(Cow::Owned),
        Some((b'?', rest)) => changed(rest).map(Cow::Owned),
        _ => Some(Cow::Borrowed(data)),
    }
}

fn generated(entropy: &[u8]) -> Option<Vec<u8>> {
    let config = wasm_smith::Config::default();
    wasm_smith::Module::new(config, &mut Unstructured::new(entropy)).ok().map(|module| module.to_bytes())
}

fn changed(data: &[u8]) -> Option<Vec<u8>> {
    let (count, rest) = data.split_first()?;
    let (changes, entropy) = rest.split_at_checked(usize::from(*count) * 4)?;
    let mut module = generated(entropy)?;
    for change in changes.chunks_exact(4) {
        let place = usize::from(change[0]) | usize::from(change[1]) << 8 | usize::from(change[2]) << 16;
        if let Some(byte) = module.len().checked_sub(1).and_then(|last| module.get_mut(place % (last + 1))) {
            *byte = change[3];
        }
    }
    Some(module)
}

/// Milliseconds that this thread has computed.
pub fn computed_ms() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}
