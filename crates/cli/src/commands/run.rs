//! `skep run`.

use std::{
    ffi::{OsStr, OsString},
    io::IsTerminal as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use skep_error::{Error, Kind, Result};
use skep_runtime::program::{self, RunOptions};
use skep_sandbox::Preopen;

use crate::console;

const EXAMPLES: &str = "\
Examples:
  sudo skep run bootstrap.wasm                   trace every exec and exit until Ctrl-C
  sudo skep run bootstrap.wasm -d 100            what follows the file goes to the guest
  sudo skep run --timeout 10s runqlat.wasm 1 5   end after ten seconds
  sudo skep run --timeout 1min sockops.wasm /sys/fs/cgroup
  sudo skep run --dir /tmp/out::/out tool.wasm /out/log
  sudo skep run --policy /etc/skep/policy.toml bootstrap.wasm

Exit status: the guest's own, its lowest eight bits, also where the kernel refuses to load or
  attach: the guest is told and ends as it likes. When the guest cannot run or is cut off:
  1 refused by the policy, 2 usage, 65 bad module, 66 no such file, 69 this kernel or build cannot,
  70 a defect of Skep, 71 refused by the kernel, 74 a system call failed, 77 no privilege,
  124 timed out, 130 interrupted, 134 the guest trapped.";

/// Arguments of `skep run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Sets a variable in the guest's environment, which is empty otherwise
    #[arg(long, value_name = "NAME=VALUE", value_parser = OsStringValueParser::new().try_map(parse_env))]
    env: Vec<(OsString, OsString)>,

    /// Lets the guest use a directory: HOST, HOST::GUEST, or either with :ro at the end
    #[arg(long, value_name = "HOST[::GUEST][:ro]", value_parser = OsStringValueParser::new().try_map(parse_dir))]
    dir: Vec<Preopen>,

    /// Ends the run after this time, such as 10s or 2min, or 10 for seconds; compiling the module counts
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    timeout: Option<Duration>,

    /// Bytes of memory that the guest may take, such as 64M; 1G unless given
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    max_memory: Option<usize>,

    /// Goes on without programs that the kernel refuses to load or attach, and says which
    #[arg(long)]
    best_effort: bool,

    /// Runs the module only if this policy, a TOML file, admits it to the slot `program`; without one everything is granted
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,

    /// Compiles the module anew and keeps nothing
    #[arg(long)]
    no_cache: bool,

    /// The module
    file: PathBuf,

    /// The guest's arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<u8> {
    let stop = console::stop_on_signals(console::Again::Waits)?;
    let options = RunOptions {
        file: args.file.clone(),
        args: args.args.clone(),
        env: args.env.clone(),
        dirs: args.dir.clone(),
        timeout: args.timeout,
        max_memory: args.max_memory,
        best_effort: args.best_effort,
        no_cache: args.no_cache,
        policy: args.policy.clone(),
        on_slow_compilation: std::io::stderr().is_terminal().then_some(compiling),
    };
    let (result, losses) = program::run(&options, &stop, console::show);
    let lost = [
        (losses.ring, "lost: the guest's ring buffers were full"),
        (losses.perf, "lost: the guest's perf buffers were full"),
        (losses.unread, "left unread when the guest ended"),
    ];
    for (count, how) in lost {
        match count {
            0 => {}
            1 => console::note(&format!("1 record was {how}")),
            _ => console::note(&format!("{count} records were {how}")),
        }
    }
    // A status is what the shell would make of it.
    Ok(result? as u8)
}

fn compiling(file: &Path) {
    console::note(&format!("compiling {}", file.display()));
}

fn parse_env(text: OsString) -> Result<(OsString, OsString)> {
    match split_once(&text, "=") {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Error::new(Kind::Usage, "write it as NAME=VALUE")),
    }
}

fn parse_dir(text: OsString) -> Result<Preopen> {
    let (text, writable) = match text.as_bytes().strip_suffix(b":ro") {
        Some(text) => (OsStr::from_bytes(text), false),
        None => (&*text, true),
    };
    let (host, guest) = split_once(text, "::").unwrap_or((text, text));
    if host.is_empty() || guest.is_empty() {
        return Err(Error::new(Kind::Usage, "write it as HOST or HOST::GUEST"));
    }
    // WASI has bytes for arguments and UTF-8 for paths.
    let guest = guest.to_str().ok_or_else(|| {
        Error::new(Kind::Usage, "the guest cannot know it by a name that is not UTF-8: write it as HOST::GUEST")
    })?;
    Ok(Preopen { host: host.into(), guest: guest.to_owned(), writable })
}

fn split_once<'a>(text: &'a OsStr, separator: &str) -> Option<(&'a OsStr, &'a OsStr)> {
    let bytes = text.as_bytes();
    let at = bytes.windows(separator.len()).position(|window| window == separator.as_bytes())?;
    Some((OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + separator.len()..])))
}

/// A time such as `10s`, `2min` or `1m 30s`; a number alone is seconds.
pub(super) fn parse_time(text: &str) -> Result<Duration, humantime::DurationError> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.map_or_else(|| humantime::parse_duration(text), Ok)
}

fn parse_bytes(text: &str) -> Result<usize> {
    let bad = || Error::new(Kind::Usage, "write it as a number of bytes, or with K, M or G");
    let upper = text.to_ascii_uppercase();
    let (digits, unit) = upper.split_at(upper.find(|c: char| !c.is_ascii_digit()).unwrap_or(upper.len()));
    let shift = match unit {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return Err(bad()),
    };
    let number: usize = digits.parse().map_err(|_| bad())?;
    number.checked_mul(1 << shift).filter(|&bytes| bytes > 0).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories() {
        let dir = parse_dir("/sys::/s:ro".into()).unwrap();
        assert_eq!((dir.host, dir.guest, dir.writable), ("/sys".into(), "/s".to_owned(), false));
        let dir = parse_dir("/tmp".into()).unwrap();
        assert_eq!((dir.host, dir.guest, dir.writable), ("/tmp".into(), "/tmp".to_owned(), true));
        assert!(parse_dir("::x".into()).is_err());
    }

    #[test]
    fn bytes_that_are_no_text() {
        let odd = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        assert_eq!(parse_env(odd(b"A\xff=\xfe=")).unwrap(), (odd(b"A\xff"), odd(b"\xfe=")));
        let dir = parse_dir(odd(b"/\xff::/odd:ro")).unwrap();
        assert_eq!((dir.host, dir.guest, dir.writable), (odd(b"/\xff").into(), "/odd".to_owned(), false));
        for unnameable in [&b"/\xff"[..], b"/tmp::/\xff"] {
            assert!(parse_dir(odd(unnameable)).unwrap_err().to_string().contains("UTF-8"));
        }
    }

    #[test]
    fn times() {
        assert_eq!(parse_time("10").unwrap(), Duration::from_secs(10));
        assert_eq!(parse_time("1m 30s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_time("0.5").unwrap(), Duration::from_millis(500));
        for bad in ["", "-1", "inf", "10 parsecs"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_bytes("64M").unwrap(), 64 << 20);
        assert_eq!(parse_bytes("2GiB").unwrap(), 2 << 30);
        assert_eq!(parse_bytes("4096").unwrap(), 4096);
        assert_eq!(parse_bytes("16kb").unwrap(), 16 << 10);
        for bad in ["", "0", "M", "-1", "64BBBIIIB", "64IB", "1MM", "1.5G", "99999999999999G"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }
}
