//! Standard error and signals.

use std::{
    borrow::Cow,
    io::IsTerminal as _,
    sync::atomic::{AtomicU8, Ordering},
    thread,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use skep_error::{Error, Result, ResultExt as _};
use skep_sandbox::{Reason, Stop};
use tracing_subscriber::EnvFilter;

static VERBOSE: AtomicU8 = AtomicU8::new(0);

/// Lines of the verifier's log that are shown without `-v`.
const LOG_LINES: usize = 12;

/// Sets up what is shown, before anything else.
pub(crate) fn start(verbose: u8) {
    VERBOSE.store(verbose, Ordering::Relaxed);
    let level = match verbose {
        0 => "warn,libbpf=off",
        1 => "info,libbpf=warn,wasmtime=warn,cranelift=warn",
        _ => "debug,wasmtime=warn,cranelift=warn,cranelift_codegen=warn,regalloc2=warn",
    };
    let filter = EnvFilter::try_from_env("SKEP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(verbose > 1)
        .without_time()
        .init();
}

/// Shows an error as a person reads it.
pub(crate) fn show(error: &Error) {
    let lines = if VERBOSE.load(Ordering::Relaxed) > 0 { usize::MAX } else { LOG_LINES };
    eprintln!("skep: {}", printable(&error.report(lines)));
}

/// A text without what could move a terminal's cursor or change its colours: names come from modules of strangers. Line
/// ends and tabs stay.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if harmful(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Says something that is no error.
pub(crate) fn note(text: &str) {
    eprintln!("skep: {text}");
}

/// A request to end that Ctrl-C, SIGTERM and SIGHUP make.
pub(crate) fn stop_on_signals() -> Result<Stop> {
    let stop = Stop::new()?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context(|| "watching for signals")?;
    let request = stop.clone();
    thread::Builder::new()
        .name("skep-signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                request.request(Reason::Interrupted);
            }
        })
        .context(|| "watching for signals")?;
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_as_its_number() {
        assert_eq!(printable("a\u{1b}[2Jb\u{9b}1m\r"), "a\\u{1b}[2Jb\\u{9b}1m\\u{d}");
        assert!(matches!(printable("two\nlines\tand ä"), Cow::Borrowed(_)));
    }
}
