//! Hashes and keys as hexadecimal digits.

/// Two lower-case digits a byte.
pub(crate) fn encode(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// `N` bytes out of exactly `2 * N` digits, in either case.
pub(crate) fn decode<const N: usize>(digits: &str) -> Option<[u8; N]> {
    if digits.len() != 2 * N || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back_as_the_same_bytes_and_others_not_at_all() {
        assert_eq!(encode(&[0, 0xaf, 9]), "00af09");
        assert_eq!(decode::<3>("00AF09"), Some([0, 0xaf, 9]));
        assert_eq!(decode::<3>("00af0"), None);
        assert_eq!(decode::<3>("00af0g"), None);
        assert_eq!(decode::<3>("00a\u{e9}9"), None);
    }
}
