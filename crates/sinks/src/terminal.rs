/// Text for a terminal: names of threads, functions, files and fields are chosen by strangers, and no control character of theirs gets
/// there.
pub(crate) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
