//! Standard error and signals.

use std::{
    borrow::Cow,
    io::{IsTerminal as _, Write as _},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ},
    flag,
    iterator::Signals,
};
use skep_error::{Error, Kind, Result, ResultExt as _};
use skep_sandbox::{Reason, Stop};
use tracing_subscriber::EnvFilter;

static VERBOSE: AtomicU8 = AtomicU8::new(0);
/// The end that signals and times ask for, once a command watches for it.
static STOP: OnceLock<Stop> = OnceLock::new();
/// How long a message waits for its reader after that.
const GRACE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

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
    let asked = std::env::var_os("SKEP_LOG")
        .filter(|text| !text.is_empty())
        .map(|text| EnvFilter::try_new(text.to_string_lossy()));
    let (filter, refused) = match asked {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(level), Some(error)),
        None => (EnvFilter::new(level), None),
    };
    let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours && std::io::stderr().is_terminal())
        .with_target(verbose > 1)
        .without_time()
        // What cannot be logged would be said on standard error, and that this cannot be said is a panic there.
        .log_internal_errors(false)
        .init();
    if let Some(error) = refused {
        note(&format!("SKEP_LOG is left out, it cannot be read: {error}"));
    }
}

/// Makes a file that may not grow (`ulimit -f`) an error of whoever writes it: the signal that comes with it would end the
/// process. Where it cannot be caught, it stays as it was.
pub(crate) fn outlive_file_limits() {
    let _ = flag::register(SIGXFSZ, Arc::default());
}

/// Shows an error as a person reads it.
pub(crate) fn show(error: &Error) {
    let lines = if VERBOSE.load(Ordering::Relaxed) > 0 { usize::MAX } else { LOG_LINES };
    say(&error.report(lines));
}

/// Says something that is no error.
pub(crate) fn note(text: &str) {
    say(text);
}

fn say(text: &str) {
    remark(&format!("skep: {text}"));
}

/// One line on standard error. Where nobody reads it, nobody can be told.
pub(crate) fn remark(text: &str) {
    if is_read() {
        let _ = writeln!(std::io::stderr(), "{}", printable(text));
    }
}

/// Waits until standard error takes a message. Once the end was asked for, a reader that is stuck gets a second more: it
/// must not keep the process alive.
fn is_read() -> bool {
    let stderr = std::io::stderr();
    let Some(stop) = STOP.get() else { return true };
    loop {
        let ending = stop.requested().is_some();
        let mut fds = [PollFd::new(&stderr, PollFlags::OUT), PollFd::new(stop, PollFlags::IN)];
        let watched = if ending { &mut fds[..1] } else { &mut fds[..] };
        match rustix::event::poll(watched, ending.then_some(&GRACE)) {
            Ok(0) => return false,
            // An error there is one that writing meets at once.
            Ok(_) if !fds[0].revents().is_empty() => return true,
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

/// Text that a terminal shows and does not obey: names out of a module may be anything.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    if text.chars().all(harmless) {
        return text.into();
    }
    let escape = |c: char| if harmless(c) { c.to_string() } else { c.escape_unicode().to_string() };
    text.chars().map(escape).collect::<String>().into()
}

/// Writes to standard output; a reader that has gone ends the command quietly, as it ends any other in a pipe.
///
/// # Errors
/// `Io` for any other failure.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context(|| "writing to standard output"),
    }
}

/// A bit for each signal that this process ignores, the lowest for signal 1 (proc(5), `SigIgn`).
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// What a signal does that comes when the end was asked for a second ago, or longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Nothing more: the run ends by itself.
    Waits,
    /// It ends the process. Nothing stays attached then, and what outputs have not taken yet is lost.
    Ends,
}

/// A request to end that Ctrl-C, SIGTERM and SIGHUP make.
pub(crate) fn stop_on_signals(again: Again) -> Result<Stop> {
    let made = Stop::new()?;
    let stop = STOP.get_or_init(|| made).clone();
    // What a parent had ignored, as `nohup` does, stays so.
    let ignored = ignored_signals();
    let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = Signals::new(heeded).context(|| "watching for signals")?;
    let request = stop.clone();
    thread::Builder::new()
        .name("skep-signals".to_owned())
        .spawn(move || {
            let mut first = None;
            for _ in signals.forever() {
                request.request(Reason::Interrupted);
                if again == Again::Ends && first.get_or_insert_with(Instant::now).elapsed() > Duration::from_secs(1) {
                    note("ended at once, by a second signal: what the outputs had not taken yet is lost");
                    std::process::exit(Kind::Interrupted.exit_code().into());
                }
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
