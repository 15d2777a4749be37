use std::borrow::Cow;

/// Text out of a module as part of a message: a line break in a name would start a line that reads as another message.
/// What else steers a terminal is the matter of whoever prints it.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains('\n') { text.replace('\n', "\\n").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_is_shown_and_not_made() {
        assert_eq!(one_line("x\nskep: error: y"), "x\\nskep: error: y");
        assert!(matches!(one_line("x"), Cow::Borrowed("x")));
    }
}
