/// Text for a terminal: names of threads, functions, files and fields are chosen by strangers, and no control character of theirs gets
/// there.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    push_shown(&mut shown, text);
    shown
}

/// The same, added to `line`.
pub(crate) fn push_shown(line: &mut String, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        line.push_str(text);
    } else {
        line.extend(text.chars().map(|c| if c.is_control() { '?' } else { c }));
    }
}
