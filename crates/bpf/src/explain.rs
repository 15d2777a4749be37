//! From an error number and libbpf's messages to an error a person can act on.

use std::path::Path;

use skep_error::{Error, Kind};

use crate::{
    diagnostics::Messages,
    near,
    privilege::{self, Capabilities, Capability},
    sys::Errno,
};

/// Why loading an object failed; `lacking` is a capability that this process lacks for the part that failed.
pub(crate) fn load_failure(errno: Errno, messages: &Messages, lacking: Option<Capability>) -> Error {
    if !has_bpf_privilege() && is_denied(errno) {
        // What libbpf says then is about limits that have nothing to do with it.
        return Error::new(Kind::Permission, "this user may not load eBPF").with_errno(errno.0).help(NO_PRIVILEGE);
    }
    // The kernel asks for capabilities before its verifier looks at the program.
    let unverified = messages.verifier_log().is_none_or(str::is_empty);
    if let Some(capability) = lacking.filter(|_| is_denied(errno) && unverified) {
        let error = Error::new(Kind::Permission, capability.lack()).with_errno(errno.0);
        let error = error.help(privilege::fix(capability.name));
        return match messages.failed_program() {
            Some(program) => error.context(format!("loading program {program}")),
            None => error.context("creating the maps"),
        };
    }
    if let (Some(program), Some(name)) = (messages.failed_program(), messages.missing_type()) {
        return Error::new(Kind::Kernel, format!("this kernel's BTF has no {name}"))
            .with_errno(libc::ESRCH)
            .context(format!("loading program {program}"))
            .help(match name.strip_prefix("btf_trace_") {
                Some(tracepoint) => near::tracepoint(tracepoint),
                None => near::kernel_function(name),
            });
    }
    let mut error = match messages.failed_program() {
        Some(program) => refused_program(errno, program, messages),
        None => {
            let error = Error::os(errno.0).with_kind(kind_of(errno));
            match last_reason(messages) {
                Some(reason) => error.context(reason),
                None => error,
            }
        }
    };
    if let Some(log) = messages.verifier_log().filter(|log| !log.is_empty()) {
        error = error.detail(log);
    } else {
        let lines: Vec<&str> = messages.lines().filter(|line| !is_misleading(line)).collect();
        if !lines.is_empty() {
            error = error.detail(lines.join("\n"));
        }
    }
    match advice(errno, messages) {
        Some(advice) => error.help(advice),
        None => error,
    }
}

fn is_denied(errno: Errno) -> bool {
    matches!(errno.0, libc::EPERM | libc::EACCES)
}

/// libbpf blames the limit on locked memory for every EPERM; kernels since 5.11 do not use it.
fn is_misleading(line: &str) -> bool {
    line.contains("try raising 'ulimit -l'") || line.contains("RLIMIT_MEMLOCK")
}

fn refused_program(errno: Errno, program: &str, messages: &Messages) -> Error {
    let verified = messages.verifier_log().is_some_and(|log| !log.is_empty());
    let why = match (errno.0, verified) {
        (_, true) => "the kernel's verifier refused it".to_owned(),
        (libc::EPERM, false) if has_bpf_privilege() => {
            "refused by the kernel's policy (EPERM before verification)".to_owned()
        }
        _ => format!("the kernel refused it: {errno}"),
    };
    Error::new(kind_of(errno), why).with_errno(errno.0).context(format!("loading program {program}"))
}

/// EPERM and EACCES are lack of privilege only when the privilege lacks; else they are the kernel's verdict.
fn kind_of(errno: Errno) -> Kind {
    match errno.0 {
        libc::EPERM | libc::EACCES if !has_bpf_privilege() => Kind::Permission,
        _ => Kind::Kernel,
    }
}

/// The last message that says something of its own, not the summary lines that libbpf ends with.
fn last_reason(messages: &Messages) -> Option<String> {
    messages
        .lines()
        .filter(|line| !line.starts_with("failed to load object") && !is_misleading(line))
        .last()
        .map(str::to_owned)
}

fn advice(errno: Errno, messages: &Messages) -> Option<String> {
    let log = messages.verifier_log().unwrap_or("");
    if messages.contains("failed to find valid kernel BTF") || messages.contains("Error loading vmlinux BTF") {
        return Some(
            "this kernel shows no BTF at /sys/kernel/btf/vmlinux, which CO-RE programs need: use a kernel built with \
             CONFIG_DEBUG_INFO_BTF=y"
                .to_owned(),
        );
    }
    if messages.contains("is not found in vmlinux BTF") {
        return Some("this kernel has no such function or type; `skep doctor` says what it has".to_owned());
    }
    if log.contains("unknown func") || log.contains("program of this type cannot use helper") {
        return Some(
            "the program calls a helper that this kernel does not have, or not for this type of program".to_owned(),
        );
    }
    if log.contains("BPF program is too large") || log.contains("sequence of") && log.contains("too complex") {
        return Some(
            "the verifier gave up: bound the loops, or split the program with global functions or tail calls"
                .to_owned(),
        );
    }
    if errno.0 == libc::EPERM && log.is_empty() {
        return Some(policy_advice());
    }
    match errno.0 {
        libc::EINVAL if log.is_empty() => {
            Some("this kernel may not know this type of program or map; `skep doctor` says what it knows".to_owned())
        }
        libc::ENOMEM => Some("there is not enough memory for the maps: lower their max_entries".to_owned()),
        _ => None,
    }
}

pub(crate) const NO_PRIVILEGE: &str = "loading and attaching eBPF needs root, or the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN: run it with sudo";

/// What to say when a privileged process is told EPERM without a word of the verifier.
fn policy_advice() -> String {
    let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let mode = lockdown.split('[').nth(1).and_then(|rest| rest.split(']').next());
    let lockdown = match mode {
        Some("none") | None => String::new(),
        Some(mode) => format!(" (lockdown is in mode {mode})"),
    };
    format!(
        "the privilege is there, the kernel's policy forbids this type of program{lockdown}: an LSM, lockdown or a \
         container's seccomp filter says no; `skep doctor` lists the types that load"
    )
}

/// Whether this process may use bpf(2) at all, as far as its effective capabilities tell.
pub(crate) fn has_bpf_privilege() -> bool {
    Capabilities::of_this_process().allow_bpf()
}

/// Why attaching one program failed: the program of that section, to `place` where it was given one. `lacking` is as for
/// [`load_failure`].
pub(crate) fn attach_failure(
    errno: Errno,
    section: &str,
    place: Option<&str>,
    messages: &Messages,
    lacking: Option<Capability>,
) -> Error {
    let (family, own) = section.trim_start_matches('?').split_once('/').unwrap_or((section, ""));
    let lacking = lacking.filter(|_| is_denied(errno) && has_bpf_privilege());
    let kind = if lacking.is_some() { Kind::Permission } else { kind_of(errno) };
    let error = Error::os(errno.0).with_kind(kind);
    let lines: Vec<&str> = messages.lines().collect();
    let error = if lines.is_empty() { error } else { error.detail(lines.join("\n")) };
    let error = if place.is_none() && !own.is_empty() { error.context(format!("at {own}")) } else { error };
    let advice = match lacking {
        Some(capability) => Some(format!("{}: {}", capability.lack(), privilege::fix(capability.name))),
        None => attach_advice(errno, family, place.unwrap_or(own)),
    };
    match advice {
        Some(advice) => error.help(advice),
        None => error,
    }
}

fn attach_advice(errno: Errno, family: &str, place: &str) -> Option<String> {
    if is_denied(errno) {
        return Some(if has_bpf_privilege() { policy_advice() } else { NO_PRIVILEGE.to_owned() });
    }
    let kprobes = || Path::new("/sys/bus/event_source/devices/kprobe").exists();
    let no_kprobes = || "this kernel has no kprobes: use one built with CONFIG_KPROBES=y".to_owned();
    match (family, errno.0) {
        ("kprobe" | "kretprobe", libc::ENOENT | libc::EOPNOTSUPP) if kprobes() => Some(near::kernel_function(place)),
        ("ksyscall" | "kretsyscall", libc::ENOENT | libc::EOPNOTSUPP) if kprobes() => Some(near::system_call(place)),
        ("kprobe" | "kretprobe" | "ksyscall" | "kretsyscall", libc::ENOENT | libc::EOPNOTSUPP) => Some(no_kprobes()),
        ("tracepoint" | "tp" | "raw_tp" | "raw_tracepoint", libc::ENOENT) => Some(near::tracepoint(place)),
        ("uprobe" | "uretprobe", libc::ENOENT) => Some(near::user_symbol(place)),
        ("usdt", libc::ENOENT) => {
            Some("the file or the probe in it does not exist: readelf -n FILE lists them".to_owned())
        }
        (_, libc::EBUSY | libc::EEXIST) => {
            Some("something is attached there already: `bpftool link` and `bpftool net` show what".to_owned())
        }
        (_, libc::EOPNOTSUPP) => Some("this kernel cannot attach this type of program there".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privilege::tests::LACKING;

    fn refused(log: &str) -> Messages {
        Messages::of(&format!(
            "libbpf: prog 'p': BPF program load failed: Permission denied\n\
             libbpf: prog 'p': -- BEGIN PROG LOAD LOG --\n{log}\n-- END PROG LOAD LOG --\n\
             libbpf: prog 'p': failed to load: -13\nlibbpf: failed to load object 'skep'\n"
        ))
    }

    /// Without privilege everything is explained by that, as it should be.
    fn privileged() -> bool {
        has_bpf_privilege()
    }

    #[test]
    fn the_verifiers_log_is_there_and_the_program_is_named() {
        let error = load_failure(Errno(libc::EACCES), &refused("0: (95) exit\nR0 !read_ok"), None);
        if !privileged() {
            assert_eq!(error.kind(), Kind::Permission);
            assert_eq!(error.help_text(), Some(NO_PRIVILEGE));
            return;
        }
        let text = error.report(usize::MAX);
        assert!(text.contains("loading program p: the kernel's verifier refused it"), "{text}");
        assert!(text.contains("R0 !read_ok"), "{text}");
        // The last lines alone are shown unless more is asked for.
        let long: Vec<String> = (0..40).map(|n| format!("line {n}")).collect();
        let text = load_failure(Errno(libc::EACCES), &refused(&long.join("\n")), None).report(3);
        assert!(text.contains("line 39") && !text.contains("line 10"), "{text}");
    }

    #[test]
    fn each_known_cause_has_its_advice() {
        if !privileged() {
            return;
        }
        let help =
            |errno, messages: &Messages| load_failure(Errno(errno), messages, None).help_text().unwrap().to_owned();
        let no_btf = Messages::of("libbpf: failed to find valid kernel BTF\n");
        assert!(help(libc::ESRCH, &no_btf).contains("CONFIG_DEBUG_INFO_BTF"));
        assert!(help(libc::EINVAL, &refused("invalid func unknown func bpf_foo#999")).contains("helper"));
        assert!(help(libc::E2BIG, &refused("BPF program is too large. Processed 1000001 insn")).contains("loops"));
        let policy = Messages::of("libbpf: prog 'p': BPF program load failed: Operation not permitted\n");
        assert!(help(libc::EPERM, &policy).contains("policy"));
        assert!(load_failure(Errno(libc::EPERM), &policy, None).report(0).contains("refused by the kernel's policy"));
    }

    #[test]
    fn a_capability_that_lacks_is_named_and_no_policy_is_blamed() {
        if !privileged() {
            return;
        }
        let denied = Messages::of("libbpf: prog 'p': BPF program load failed: Operation not permitted\n");
        let error = load_failure(Errno(libc::EPERM), &denied, Some(LACKING));
        assert_eq!(error.kind(), Kind::Permission);
        let text = error.report(0);
        assert!(text.contains("loading program p: CAP_NET_ADMIN is lacking") && !text.contains("policy"), "{text}");
        let error = attach_failure(Errno(libc::EPERM), "cgroup_skb/egress", None, &Messages::of(""), Some(LACKING));
        assert_eq!(error.kind(), Kind::Permission);
        let text = error.report(0);
        assert!(text.contains("CAP_NET_ADMIN is lacking") && !text.contains("policy"), "{text}");
        // What the verifier says is no lack of capabilities.
        let error = load_failure(Errno(libc::EACCES), &refused("R0 !read_ok"), Some(LACKING));
        assert!(error.report(0).contains("verifier refused it"), "{error}");
    }

    #[test]
    fn a_function_that_the_kernel_lacks_is_named_with_the_nearest_one() {
        if !privileged() {
            return;
        }
        let messages = Messages::of(
            "libbpf: prog 'on_unlink': failed to find kernel BTF type ID of 'vfs_unlinkk': -ESRCH\n\
             libbpf: prog 'on_unlink': failed to prepare load attributes: -ESRCH\n",
        );
        let text = load_failure(Errno(libc::EINVAL), &messages, None).report(0);
        assert!(text.contains("loading program on_unlink: this kernel's BTF has no vfs_unlinkk"), "{text}");
        assert!(text.contains("did you mean vfs_unlink?"), "{text}");
    }

    #[test]
    fn what_is_looked_for_is_the_place_that_was_given() {
        if !privileged() {
            return;
        }
        let help = |section, place| {
            let error = attach_failure(Errno(libc::ENOENT), section, place, &Messages::of(""), None);
            error.report(0)
        };
        let own = help("tp/sched/sched_swich", None);
        assert!(own.contains("at sched/sched_swich") && own.contains("did you mean sched:sched_switch?"), "{own}");
        let given = help("raw_tp/sys_enter", Some("sys_exitt"));
        assert!(given.contains("did you mean sys_exit?"), "{given}");
    }
}
