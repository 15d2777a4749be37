//! Attaching one program: by its section, or to a target whose meaning depends on the program's type.
//!
//! Every attachment is held by a file descriptor of this process and by nothing else, so that the kernel takes it away
//! when the process ends, however it ends. Ways of attaching that outlive the process (netlink tc filters, pins) are
//! not used.

mod target;

pub use target::Target;

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use libbpf_rs::{
    Link, MapCore as _, MapType, NetfilterOpts, Object, ProgramAttachType, ProgramMut, ProgramType, TracepointCategory,
    UprobeOpts,
};
use rustix::fs::{Mode, OFlags};
use skep_error::{Error, Kind, Result, ResultExt as _};
use target::{NetfilterHook, UserSymbol};

use crate::{
    diagnostics, explain,
    privilege::{self, Capabilities},
    sys::{self, Errno},
    tracefs,
};

/// What holds one program in its place; it leaves when this is dropped.
pub(crate) enum Attachment {
    /// A link of libbpf's.
    Link(Link),
    /// Links of libbpf's, one a CPU.
    #[expect(dead_code, reason = "held to be dropped")]
    Links(Vec<Link>),
    /// A descriptor that holds the program.
    #[expect(dead_code, reason = "held to be dropped")]
    Fd(OwnedFd),
    /// The program sits in a map of its own object.
    InMap,
}

/// What an attempt says when it fails: an error of ours, or one of libbpf's.
enum Failure {
    Ours(Error),
    Kernel(Errno),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

impl From<libbpf_rs::Error> for Failure {
    fn from(error: libbpf_rs::Error) -> Self {
        Self::Kernel(errno_of(&error))
    }
}

/// The number behind an error of libbpf-rs. Its chain of sources leaves out the operating system's own error, which shows in
/// the text alone, as `std::io::Error` writes it.
pub(crate) fn errno_of(error: &libbpf_rs::Error) -> Errno {
    let text = format!("{error:#}");
    let number = text.rsplit_once("(os error ").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    Errno(number.unwrap_or_else(|| match error.kind() {
        libbpf_rs::ErrorKind::NotFound => libc::ENOENT,
        libbpf_rs::ErrorKind::PermissionDenied => libc::EPERM,
        libbpf_rs::ErrorKind::AlreadyExists => libc::EEXIST,
        libbpf_rs::ErrorKind::Unsupported => libc::EOPNOTSUPP,
        libbpf_rs::ErrorKind::OutOfMemory => libc::ENOMEM,
        _ => libc::EINVAL,
    }))
}

/// Attaches the program `name` of `object`.
pub(crate) fn attach(object: &Object, program: &ProgramMut<'_>, target: Target<'_>) -> Result<Attachment> {
    let section = program.section().to_string_lossy().into_owned();
    if matches!(program.prog_type(), ProgramType::Tracepoint | ProgramType::Kprobe) {
        // Without it the attempt fails, and the error says so.
        tracefs::ensure_mounted();
    }
    let (result, messages) = diagnostics::capture(|| match target {
        _ if let Some(why) = placeless(program.prog_type()) => {
            Err(Error::new(Kind::BadInput, why).with_errno(libc::EOPNOTSUPP).into())
        }
        Target::Section => by_section(program),
        Target::Named(text) => to_named(object, program, text),
        Target::Directory(fd) => {
            check_cgroup(fd)?;
            Ok(Attachment::Link(program.attach_cgroup(fd.as_raw_fd())?))
        }
    });
    result.map_err(|failure| match failure {
        Failure::Ours(error) => error,
        Failure::Kernel(errno) => {
            let place = if let Target::Named(text) = target { Some(text) } else { None };
            let lacking = Capabilities::of_this_process().lacking(privilege::to_attach(program.prog_type() as u32));
            explain::attach_failure(errno, &section, place, &messages, lacking)
        }
    })
}

/// Attaches every struct_ops map of `object`; their programs have no place of their own.
pub(crate) fn attach_struct_ops(object: &mut Object) -> Result<Attachment> {
    let (result, messages) = diagnostics::capture(|| {
        let maps = object.maps_mut().filter(|map| map.map_type() == MapType::StructOps);
        maps.map(|mut map| map.attach_struct_ops()).collect::<Result<Vec<Link>, _>>()
    });
    let links = result.map_err(|error| {
        let lacking = Capabilities::of_this_process().lacking(privilege::to_attach(ProgramType::StructOps as u32));
        explain::attach_failure(errno_of(&error), "struct_ops", None, &messages, lacking)
    })?;
    Ok(Attachment::Links(links))
}

/// Why a program of that type has no place that a loader could attach it to.
fn placeless(kind: ProgramType) -> Option<&'static str> {
    match kind {
        ProgramType::Syscall => Some("a syscall program is run, not attached"),
        ProgramType::SkReuseport => Some("a socket takes it, by its option SO_ATTACH_REUSEPORT_EBPF"),
        ProgramType::LwtIn | ProgramType::LwtOut | ProgramType::LwtXmit | ProgramType::LwtSeg6local => {
            Some("a route takes it (ip route … encap bpf)")
        }
        _ => None,
    }
}

fn by_section(program: &ProgramMut<'_>) -> Result<Attachment, Failure> {
    match program.prog_type() {
        ProgramType::SkLookup => netns(program, "/proc/self/ns/net"),
        ProgramType::SchedCls | ProgramType::Xdp | ProgramType::SocketFilter => {
            Err(needs_target("a network interface, such as lo").into())
        }
        ProgramType::PerfEvent => Err(needs_target("a frequency, such as 99").into()),
        ProgramType::Netfilter => Err(needs_target("family:hook:priority, as in ipv4:input:0").into()),
        ProgramType::SkMsg | ProgramType::SkSkb => Err(needs_target("the name of a sockmap of its object").into()),
        kind if is_cgroup(kind, program.attach_type()) => Err(needs_target("the path of a cgroup directory").into()),
        _ => Ok(Attachment::Link(program.attach()?)),
    }
}

fn to_named(object: &Object, program: &ProgramMut<'_>, text: &str) -> Result<Attachment, Failure> {
    let section = program.section().to_string_lossy();
    let family = section.split('/').next().unwrap_or("").trim_start_matches('?');
    let link = match program.prog_type() {
        kind if is_cgroup(kind, program.attach_type()) => {
            let directory = open_cgroup(text)?;
            program.attach_cgroup(directory.as_raw_fd())?
        }
        ProgramType::Xdp => program.attach_xdp(target::interface_index(text)?)?,
        ProgramType::SchedCls => return tc(program, text),
        ProgramType::SocketFilter => {
            let socket = sys::packet_socket(target::interface_index(text)?)?;
            sys::attach_socket_filter(program.as_fd(), socket.as_fd())?;
            return Ok(Attachment::Fd(socket));
        }
        ProgramType::PerfEvent => return perf_event(program, text),
        ProgramType::Netfilter => {
            let hook = NetfilterHook::parse(text)?;
            program.attach_netfilter_with_opts(NetfilterOpts {
                protocol_family: hook.family,
                hooknum: hook.hook,
                priority: hook.priority,
                ..Default::default()
            })?
        }
        ProgramType::SkLookup | ProgramType::FlowDissector => return netns(program, text),
        ProgramType::SkMsg | ProgramType::SkSkb => {
            program.attach_sockmap(map_named(object, text)?.as_fd().as_raw_fd())?;
            return Ok(Attachment::InMap);
        }
        ProgramType::Kprobe if family.ends_with(".multi") || family.ends_with(".session") => {
            multi(program, text, family)?
        }
        ProgramType::Kprobe if family.starts_with("usdt") => {
            let (path, provider, name) = target::usdt(text)?;
            program.attach_usdt(-1, path, provider, name)?
        }
        ProgramType::Kprobe if family.starts_with('u') => uprobe(program, text, family.starts_with("uret"))?,
        ProgramType::Kprobe if family.starts_with("ksys") => program.attach_ksyscall(false, text)?,
        ProgramType::Kprobe if family.starts_with("kretsys") => program.attach_ksyscall(true, text)?,
        ProgramType::Kprobe => program.attach_kprobe(family.starts_with("kret"), text)?,
        ProgramType::Tracing if matches!(program.attach_type(), ProgramAttachType::TraceIter) => {
            program.attach_iter(map_named(object, text)?.as_fd())?
        }
        // A section that names no place leaves it to the target.
        ProgramType::Tracepoint if !section.contains('/') => {
            let (category, name) = target::tracepoint(text)?;
            program.attach_tracepoint(TracepointCategory::Custom(category.to_owned()), name)?
        }
        ProgramType::RawTracepoint | ProgramType::RawTracepointWritable if !section.contains('/') => {
            program.attach_raw_tracepoint(text)?
        }
        _ => return by_fixed_section(program, &section, text),
    };
    Ok(Attachment::Link(link))
}

/// The rest is bound to its place when it is loaded: the target must say the same as the section.
fn by_fixed_section(program: &ProgramMut<'_>, section: &str, text: &str) -> Result<Attachment, Failure> {
    let place = section.split_once('/').map_or("", |(_, place)| place);
    if text == place || text == section || text == place.replace('/', ":") {
        return by_section(program);
    }
    Err(Error::new(Kind::BadInput, format!("cannot use the target \"{text}\""))
        .help(format!(
            "the section \"{section}\" fixes where the program is attached: give no target, or change the section"
        ))
        .with_errno(libc::EINVAL)
        .into())
}

fn is_cgroup(kind: ProgramType, attach: ProgramAttachType) -> bool {
    matches!(
        kind,
        ProgramType::CgroupSkb
            | ProgramType::CgroupSock
            | ProgramType::CgroupSockAddr
            | ProgramType::CgroupDevice
            | ProgramType::CgroupSysctl
            | ProgramType::CgroupSockopt
            | ProgramType::SockOps
    ) || matches!(attach, ProgramAttachType::LsmCgroup)
}

fn uprobe(program: &ProgramMut<'_>, text: &str, retprobe: bool) -> Result<Link, Failure> {
    let place = UserSymbol::parse(text)?;
    if !place.path.exists() && place.path.is_absolute() {
        return Err(Error::new(Kind::NotFound, format!("there is no file {}", place.path.display()))
            .with_errno(libc::ENOENT)
            .into());
    }
    let options = UprobeOpts { retprobe, func_name: place.symbol, ..Default::default() };
    Ok(program.attach_uprobe_with_opts(-1, &place.path, place.offset, options)?)
}

/// `kprobe.multi`, `uprobe.multi` and their kin: one link to every function that a pattern with `*` and `?` fits.
fn multi(program: &ProgramMut<'_>, text: &str, family: &str) -> Result<Link, Failure> {
    let (returns, session) = (family.contains("ret"), family.ends_with(".session"));
    if family.starts_with('u') {
        let place = UserSymbol::parse(text)?;
        let pattern = place.symbol.unwrap_or_default();
        return Ok(program.attach_uprobe_multi(-1, &place.path, pattern, returns, session)?);
    }
    // libbpf-rs takes names alone; the pattern is the section's to give.
    Ok(program.attach_kprobe_multi(returns, text.split(',').collect())?)
}

fn tc(program: &ProgramMut<'_>, text: &str) -> Result<Attachment, Failure> {
    let (interface, direction) = target::interface_and_direction(text);
    let index = target::interface_index(interface)?;
    let egress = match direction {
        Some(direction) => direction == "egress",
        None => matches!(program.attach_type(), ProgramAttachType::TcxEgress),
    };
    let kind = if egress { libbpf_sys::BPF_TCX_EGRESS } else { libbpf_sys::BPF_TCX_INGRESS };
    match sys::create_link(program.as_fd(), index, kind) {
        Ok(fd) => Ok(Attachment::Fd(fd)),
        Err(Errno(libc::EINVAL)) if !kernel_has_tcx() => {
            Err(Error::new(Kind::Unsupported, "this kernel has no tcx links (Linux 6.6 and later)")
                .help("older ways of attaching tc programs outlive the process and are not used")
                .with_errno(libc::EOPNOTSUPP)
                .into())
        }
        Err(errno) => Err(errno.into()),
    }
}

fn kernel_has_tcx() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (6, 6)
}

fn perf_event(program: &ProgramMut<'_>, text: &str) -> Result<Attachment, Failure> {
    let rate = target::sampling(text)?;
    let mut links = Vec::new();
    for cpu in online_cpus() {
        let event = match sys::open_cpu_clock(cpu, rate) {
            // A CPU that went offline meanwhile.
            Err(Errno(libc::ENODEV)) => continue,
            event => event?,
        };
        links.push(program.attach_perf_event(event.as_raw_fd())?);
        // The link owns the event from here on: libbpf closes it with the link.
        std::mem::forget(event);
    }
    Ok(Attachment::Links(links))
}

/// From the kernel's list, such as `0-3,5`.
fn online_cpus() -> Vec<i32> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_else(|_| "0".to_owned());
    let bounds = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<i32>().ok()?..=last.parse::<i32>().ok()?)
    };
    list.trim().split(',').filter_map(bounds).flatten().collect()
}

fn netns(program: &ProgramMut<'_>, path: &str) -> Result<Attachment, Failure> {
    let namespace = std::fs::File::open(path)
        .map_err(|error| Error::io(error).context(format!("opening the network namespace {path}")))?;
    Ok(Attachment::Link(program.attach_netns(namespace.as_raw_fd())?))
}

fn open_cgroup(path: &str) -> Result<OwnedFd> {
    // Where `O_DIRECTORY` was not asked for, a pipe would keep us waiting.
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from);
    let directory = directory.context(|| format!("opening the cgroup directory {path}"))?;
    check_cgroup(directory.as_fd()).context(|| format!("attaching to {path}"))?;
    Ok(directory)
}

/// The kernel says no more than EBADF to a directory that is no cgroup's.
fn check_cgroup(directory: BorrowedFd<'_>) -> Result<()> {
    let mount = rustix::fs::fstatfs(directory).map_err(io::Error::from).context(|| "looking at the directory")?;
    if mount.f_type as u64 == libc::CGROUP2_SUPER_MAGIC as u64 {
        return Ok(());
    }
    Err(Error::new(Kind::BadInput, "the directory is no cgroup (v2)")
        .help("name one below the mount of type cgroup2, often /sys/fs/cgroup; `skep doctor` says where it is")
        .with_errno(libc::EBADF))
}

fn map_named<'a>(object: &'a Object, name: &str) -> Result<libbpf_rs::Map<'a>> {
    object.maps().find(|map| map.name() == name).ok_or_else(|| {
        let known: Vec<String> = object.maps().map(|map| map.name().to_string_lossy().into_owned()).collect();
        Error::new(Kind::NotFound, format!("the object has no map \"{name}\""))
            .help(skep_error::did_you_mean(name, known.iter().map(String::as_str)))
            .with_errno(libc::ENOENT)
    })
}

fn needs_target(form: &str) -> Error {
    Error::new(Kind::BadInput, "its section does not say where")
        .help(format!("attach it with a target: {form}"))
        .with_errno(libc::EOPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use libbpf_rs::ErrorExt as _;

    #[test]
    fn the_number_of_an_error_is_found_under_its_contexts() {
        const ENOTSUPP: i32 = 524;
        for number in [libc::EBUSY, libc::E2BIG, libc::EBADF, libc::EACCES, libc::EPERM, libc::ENOENT, ENOTSUPP] {
            let plain = libbpf_rs::Error::from_raw_os_error(number);
            assert_eq!(errno_of(&plain), Errno(number));
            let error = plain.context("failed to attach").context("attaching a program (to lo)");
            assert_eq!(errno_of(&error), Errno(number));
        }
    }
}
