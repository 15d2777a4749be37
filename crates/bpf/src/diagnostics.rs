//! What libbpf says while it works, kept for the error that follows.
//!
//! libbpf prints; it returns no more than an error number. Its warnings name the program, carry the verifier's log and
//! often the reason, so they are caught on the thread that made the call and read when the call has failed.

use std::{cell::RefCell, sync::Once};

use libbpf_rs::PrintLevel;

thread_local! {
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps a message of libbpf's for the call on this thread that waits for it.
pub(crate) fn print(level: PrintLevel, text: &str) {
    let caught = CAUGHT.with_borrow_mut(|caught| match (caught.as_mut(), level) {
        (Some(caught), PrintLevel::Warn | PrintLevel::Info) => {
            caught.push_str(text);
            true
        }
        _ => false,
    });
    if !caught {
        tracing::debug!(target: "libbpf", "{}", text.trim_end());
    }
}

/// Runs `work` and returns, beside its result, what libbpf printed on this thread meanwhile.
pub(crate) fn capture<T>(work: impl FnOnce() -> T) -> (T, Messages) {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(crate::sys::print_through_diagnostics);
    let outer = CAUGHT.replace(Some(String::new()));
    let result = work();
    let text = CAUGHT.replace(outer).unwrap_or_default();
    (result, Messages { text })
}

/// What libbpf printed during one call.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Messages {
    text: String,
}

impl Messages {
    /// The program that failed to load, where libbpf names one.
    pub(crate) fn failed_program(&self) -> Option<&str> {
        // The second comes before the load: what the program is to be attached to is not there.
        let at = self
            .text
            .find("BPF program load failed")
            .or_else(|| self.text.find("failed to find kernel BTF type ID"))?;
        let line = self.text[..at].lines().last()?;
        line.split('\'').nth(1)
    }

    /// The function or type that this kernel's BTF does not have.
    pub(crate) fn missing_type(&self) -> Option<&str> {
        self.text.split_once("failed to find kernel BTF type ID of '")?.1.split('\'').next()
    }

    /// As if libbpf had printed this.
    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// The verifier's log, where there is one.
    pub(crate) fn verifier_log(&self) -> Option<&str> {
        let start = self.text.find("-- BEGIN PROG LOAD LOG --")?;
        let log = self.text[start..].split_once('\n')?.1;
        Some(log.split("-- END PROG LOAD LOG --").next().unwrap_or(log).trim_end())
    }

    /// Everything but the verifier's log, one line for each message.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        let (before, after) = match self.text.find("-- BEGIN PROG LOAD LOG --") {
            Some(start) => {
                let end = self.text[start..].find("-- END PROG LOAD LOG --").map_or(self.text.len(), |end| start + end);
                (&self.text[..self.text[..start].rfind('\n').map_or(0, |at| at + 1)], &self.text[end..])
            }
            None => (self.text.as_str(), ""),
        };
        let after = after.split_once('\n').map_or("", |(_, rest)| rest);
        before.lines().chain(after.lines()).map(|line| line.strip_prefix("libbpf: ").unwrap_or(line))
    }

    /// Whether libbpf said `words` anywhere.
    pub(crate) fn contains(&self, words: &str) -> bool {
        self.text.contains(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal() -> Messages {
        Messages {
            text: "libbpf: prog 'p': BPF program load failed: Permission denied\n\
                   libbpf: prog 'p': -- BEGIN PROG LOAD LOG --\n\
                   0: (95) exit\nR0 !read_ok\n\
                   -- END PROG LOAD LOG --\n\
                   libbpf: prog 'p': failed to load: -13\n"
                .to_owned(),
        }
    }

    #[test]
    fn a_refused_program_is_named_and_its_log_is_found() {
        assert_eq!(refusal().failed_program(), Some("p"));
        assert_eq!(refusal().verifier_log(), Some("0: (95) exit\nR0 !read_ok"));
    }

    #[test]
    fn the_other_lines_are_those_outside_the_log() {
        assert_eq!(
            refusal().lines().collect::<Vec<_>>(),
            ["prog 'p': BPF program load failed: Permission denied", "prog 'p': failed to load: -13"]
        );
    }

    #[test]
    fn messages_of_one_capture_do_not_reach_another() {
        let ((), outer) = capture(|| {
            print(PrintLevel::Warn, "outer\n");
            let ((), inner) = capture(|| print(PrintLevel::Warn, "inner\n"));
            assert_eq!(inner.text, "inner\n");
        });
        assert_eq!(outer.text, "outer\n");
    }
}
