//! A page for the event in a module that says that its memory never grows.

/// The id of the section of memories.
const MEMORIES: u8 = 5;
/// Limits with a maximum.
const WITH_MAXIMUM: u8 = 1;

/// The valid module with the maximum of its memory raised by one page; `None` where it defines none that has a maximum.
pub(super) fn raise_maximum(wasm: &[u8]) -> Option<Vec<u8>> {
    // Past the magic and the version.
    let mut at = 8;
    loop {
        let id = *wasm.get(at)?;
        let (size, start) = number(wasm, at + 1)?;
        let end = start.checked_add(size as usize)?;
        let section = wasm.get(start..end)?;
        if id == MEMORIES {
            let [1, WITH_MAXIMUM, ..] = section else { return None };
            let (_, maximum_at) = number(section, 2)?;
            let (maximum, _) = number(section, maximum_at)?;
            let raised = [&section[..maximum_at], &encoded(maximum.checked_add(1)?)].concat();
            return Some([&wasm[..=at], &encoded(raised.len() as u32), &raised, &wasm[end..]].concat());
        }
        at = end;
    }
}

/// The number at `at`, LEB128 as Wasm writes it, and where the next byte is.
fn number(bytes: &[u8], at: usize) -> Option<(u32, usize)> {
    let mut value = 0;
    for (count, byte) in bytes.get(at..)?.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * count);
        if byte & 0x80 == 0 {
            return Some((value, at + count + 1));
        }
    }
    None
}

fn encoded(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(text: &str) -> Option<Vec<u8>> {
        raise_maximum(&wat::parse_str(text).unwrap())
    }

    #[test]
    fn the_maximum_alone_changes() {
        for (from, to) in [(1, 2), (16, 17), (127, 128), (16_383, 16_384)] {
            let module = |pages: u32| {
                format!(r#"(module (func) (memory (export "memory") 1 {pages}) (data (i32.const 0) "x"))"#)
            };
            assert_eq!(raised(&module(from)), Some(wat::parse_str(module(to)).unwrap()));
        }
        for other in ["(module)", "(module (memory 1))", r#"(module (import "env" "memory" (memory 1 1)))"#] {
            assert_eq!(raised(other), None, "{other}");
        }
    }

    #[test]
    fn numbers_may_be_longer_than_they_need_be_and_no_bytes_are_a_panic() {
        let padded = b"\0asm\x01\0\0\0\x05\x86\x80\0\x01\x01\x81\0\x81\0";
        assert_eq!(raise_maximum(padded).as_deref(), Some(&b"\0asm\x01\0\0\0\x05\x05\x01\x01\x81\0\x02"[..]));
        for cut in 0..padded.len() {
            assert_eq!(raise_maximum(&padded[..cut]), None, "{cut} bytes");
        }
        assert_eq!(raise_maximum(b"\0asm\x01\0\0\0\x00\xff\xff\xff\xff\xff\xff"), None);
    }
}
