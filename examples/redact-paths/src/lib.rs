//! Blots out what lies below `/home` and `/root` in a path, marks what it changed, and hides the user id.
#![no_std]

use skep_guest::hooks::Shaping;

#[derive(Clone, Copy, skep_guest::Record)]
#[repr(C)]
struct Opened {
    uid: u32,
    filename: [u8; 64],
}

/// Prefixes that stay; what follows, up to the NUL, is blotted out.
const PRIVATE: [&[u8]; 2] = [b"/home/", b"/root/"];

fn redact(path: &mut [u8]) -> bool {
    let len = path.iter().position(|&byte| byte == 0).unwrap_or(path.len());
    for prefix in PRIVATE {
        if len > prefix.len() && path.starts_with(prefix) {
            path[prefix.len()..len].fill(b'*');
            return true;
        }
    }
    false
}

#[skep_guest::plugin(
    name = "redact-paths",
    version = "0.1.0",
    description = "Blots out the private part of paths",
    pages = 64
)]
mod plugin {
    use super::*;

    /// Changes filename, adds the column redacted (1 where it did), hides uid
    #[shape(on_failure = "closed")]
    fn paths(batch: &mut Shaping<'_, Opened>) {
        batch.hide("uid");
        let mut marks = batch.add_column::<u8>("redacted");
        batch.for_each(|index, opened| {
            let changed = redact(&mut opened.filename);
            if let Some(mark) = marks.as_mut().and_then(|marks| marks.get_mut(index)) {
                *mark = u8::from(changed);
            }
        });
    }
}
