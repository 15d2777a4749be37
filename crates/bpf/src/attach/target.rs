//! Where a program is attached, read from text.

use std::path::{Path, PathBuf};

use skep_error::{Error, Kind, Result, did_you_mean};

/// What a guest names as the place to attach to.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// What the program's section says.
    Section,
    /// A text whose meaning depends on the program's type.
    Named(&'a str),
    /// An open directory: a cgroup.
    Directory(std::os::fd::BorrowedFd<'a>),
}

/// A function in a user-space file: `path:symbol[+offset]`, or `path:0xaddress`.
#[derive(Debug, PartialEq)]
pub(super) struct UserSymbol {
    pub(super) path: PathBuf,
    pub(super) symbol: Option<String>,
    pub(super) offset: usize,
}

impl UserSymbol {
    pub(super) fn parse(text: &str) -> Result<Self> {
        let bad = || malformed(text, "path:symbol, path:symbol+offset or path:0xaddress");
        let (path, symbol) = text.rsplit_once(':').ok_or_else(bad)?;
        let (symbol, offset) = match symbol.split_once('+') {
            Some((symbol, offset)) => (symbol, number(offset).ok_or_else(bad)?),
            None => (symbol, 0),
        };
        if path.is_empty() || symbol.is_empty() {
            return Err(bad());
        }
        let (symbol, offset) = match number(symbol) {
            Some(address) => (None, address.checked_add(offset).ok_or_else(bad)?),
            None => (Some(symbol.to_owned()), offset),
        };
        Ok(Self { path: Path::new(path).to_owned(), symbol, offset })
    }
}

/// A statically defined probe: `path:provider:name`.
pub(super) fn usdt(text: &str) -> Result<(&str, &str, &str)> {
    let bad = || malformed(text, "path:provider:name");
    let (rest, name) = text.rsplit_once(':').ok_or_else(bad)?;
    let (path, provider) = rest.rsplit_once(':').ok_or_else(bad)?;
    if path.is_empty() || provider.is_empty() || name.is_empty() { Err(bad()) } else { Ok((path, provider, name)) }
}

/// A tracepoint: `category:name` or `category/name`.
pub(super) fn tracepoint(text: &str) -> Result<(&str, &str)> {
    let parts = text.split_once([':', '/']).filter(|(category, name)| !category.is_empty() && !name.is_empty());
    parts.ok_or_else(|| malformed(text, "category:name, as in sched:sched_process_exec"))
}

/// A netfilter hook: `family:hook:priority`.
#[derive(Debug, PartialEq)]
pub(super) struct NetfilterHook {
    pub(super) family: i32,
    pub(super) hook: i32,
    pub(super) priority: i32,
}

impl NetfilterHook {
    pub(super) fn parse(text: &str) -> Result<Self> {
        const FAMILIES: [(&str, i32); 4] = [
            ("ipv4", libc::NFPROTO_IPV4),
            ("ip", libc::NFPROTO_IPV4),
            ("ipv6", libc::NFPROTO_IPV6),
            ("ip6", libc::NFPROTO_IPV6),
        ];
        const HOOKS: [(&str, i32); 5] =
            [("prerouting", 0), ("input", 1), ("forward", 2), ("output", 3), ("postrouting", 4)];
        let bad = || malformed(text, "family:hook:priority, as in ipv4:input:0");
        let mut parts = text.split(':');
        let (Some(family), Some(hook), Some(priority), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        Ok(Self {
            family: one_of(family, &FAMILIES, "netfilter family")?,
            hook: one_of(&hook.replace(['_', '-'], ""), &HOOKS, "netfilter hook")?,
            priority: priority.parse().map_err(|_| bad())?,
        })
    }
}

fn one_of(name: &str, table: &[(&str, i32)], what: &str) -> Result<i32> {
    let lower = name.to_ascii_lowercase();
    table
        .iter()
        .find(|(known, value)| *known == lower || value.to_string() == lower)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            Error::new(Kind::BadInput, format!("\"{name}\" is no {what}"))
                .help(did_you_mean(name, table.iter().map(|(known, _)| *known)))
                .with_errno(libc::EINVAL)
        })
}

/// An interface and, for tc, a direction: `eth0`, `eth0:egress`.
pub(super) fn interface_and_direction(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((interface, direction @ ("ingress" | "egress"))) => (interface, Some(direction)),
        _ => (text, None),
    }
}

/// The index of a network interface of this network namespace.
pub(super) fn interface_index(name: &str) -> Result<i32> {
    let index = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex"))
        .ok()
        .filter(|_| !name.contains('/') && !name.is_empty())
        .and_then(|text| text.trim().parse().ok())
        .or_else(|| rustix_index(name));
    index.ok_or_else(|| {
        let known = interfaces();
        Error::new(Kind::NotFound, format!("there is no network interface \"{name}\""))
            .help(did_you_mean(name, known.iter().map(String::as_str)))
            .with_errno(libc::ENODEV)
    })
}

/// Through a socket: sysfs may show another network namespace than the process is in.
fn rustix_index(name: &str) -> Option<i32> {
    use rustix::net;
    let socket = net::socket(net::AddressFamily::INET, net::SocketType::DGRAM, None).ok()?;
    net::netdevice::name_to_index(socket, name).ok().and_then(|index| index.try_into().ok())
}

fn interfaces() -> Vec<String> {
    let dir = std::fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    dir.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A sampling rate: `99`, `99hz` or `freq:99` times a second, `period:1000000` nanoseconds.
pub(super) fn sampling(text: &str) -> Result<crate::sys::Sampling> {
    use crate::sys::Sampling;
    let bad = || malformed(text, "a frequency such as 99, or period:NANOSECONDS");
    let lower = text.to_ascii_lowercase();
    let positive = |digits: &str| digits.parse().ok().filter(|&n: &u64| n > 0).ok_or_else(bad);
    match lower.strip_prefix("period:") {
        Some(period) => positive(period).map(Sampling::Period),
        None => {
            let digits = lower.strip_prefix("freq:").unwrap_or(&lower);
            positive(digits.strip_suffix("hz").unwrap_or(digits)).map(Sampling::Frequency)
        }
    }
}

fn number(text: &str) -> Option<usize> {
    match text.strip_prefix("0x") {
        Some(hex) => usize::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn malformed(text: &str, form: &str) -> Error {
    Error::new(Kind::BadInput, format!("cannot use the target \"{text}\""))
        .help(format!("write it as {form}"))
        .with_errno(libc::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Sampling;

    #[test]
    fn user_symbols() {
        let parse = |text| UserSymbol::parse(text).unwrap();
        assert_eq!(parse("/lib/c.so:malloc+0x10").offset, 16);
        assert_eq!(parse("/lib/c.so:malloc").symbol.as_deref(), Some("malloc"));
        assert_eq!(parse("/bin/a:0x1234"), UserSymbol { path: "/bin/a".into(), symbol: None, offset: 0x1234 });
        for bad in ["", ":", "/bin/a", "/bin/a:", ":f", "/bin/a:f+x", "/bin/a:0xffffffffffffffff+0x10"] {
            assert!(UserSymbol::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn netfilter_hooks() {
        let hook = NetfilterHook::parse("ipv4:local_in:0");
        assert_eq!(hook.unwrap_err().help_text(), Some("known: prerouting, input, forward, output, postrouting"));
        let hook = NetfilterHook::parse("ipv6:post-routing:-128").unwrap();
        assert_eq!(hook, NetfilterHook { family: libc::NFPROTO_IPV6, hook: 4, priority: -128 });
        assert!(NetfilterHook::parse("ipv4:input").is_err());
    }

    #[test]
    fn sampling_rates() {
        assert_eq!(sampling("99").unwrap(), Sampling::Frequency(99));
        assert_eq!(sampling("49Hz").unwrap(), Sampling::Frequency(49));
        assert_eq!(sampling("period:1000000").unwrap(), Sampling::Period(1_000_000));
        for bad in ["", "0", "-1", "fast", "period:0"] {
            assert!(sampling(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_interface_is_named_with_those_that_exist() {
        let error = interface_index("lo0").unwrap_err();
        assert_eq!(error.errno(), Some(libc::ENODEV));
        assert!(error.report(0).contains("lo0"));
        assert_eq!(interface_and_direction("eth0:egress"), ("eth0", Some("egress")));
        assert_eq!(interface_and_direction("eth0"), ("eth0", None));
    }
}
