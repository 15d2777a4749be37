use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
};

use libbpf_sys::*;

use super::{
    Area, Finding, Reason, Surroundings, Verdict,
    sys::{self, Btf, BtfKind, Load},
};
use crate::{Errno, privilege::to_load};

/// A type of program, or of tracing program, and what loading one takes.
struct Row {
    name: &'static str,
    program_type: u32,
    attach_type: u32,
    /// The kernel that first had it.
    since: (u32, u32),
    /// The option without which the kernel lacks it, beyond `CONFIG_BPF_SYSCALL`; may be empty.
    option: &'static str,
    needs: Needs,
}

/// What a program needs beside its type to be loaded, or after it to be attached.
enum Needs {
    Nothing,
    /// A function of the kernel that it is made for.
    Function(&'static str),
    /// The type of a tracepoint.
    Tracepoint(&'static str),
    /// A member of a struct of functions, both named.
    Member(&'static str, &'static str),
    /// Another program with a function to replace.
    Program,
    /// To be loaded as one that may sleep.
    Sleep,
    /// A source of events under `/sys/bus/event_source/devices`.
    Events(&'static str),
    /// That `bpf` is among the active security modules; loaded for a hook of that name.
    Lsm(&'static str),
    /// Links of many functions at once: to kernel functions.
    KprobeMulti,
    /// The same, to functions of processes.
    UprobeMulti,
}

const fn row(
    name: &'static str,
    program_type: u32,
    attach_type: u32,
    since: (u32, u32),
    option: &'static str,
    needs: Needs,
) -> Row {
    Row { name, program_type, attach_type, since, option, needs }
}

use Needs::*;

/// Versions are those of the kernel's own documentation of each type (`bpf-docs`, `include/uapi/linux/bpf.h` by release).
const ROWS: &[Row] = &[
    row("tracepoint", BPF_PROG_TYPE_TRACEPOINT, 0, (4, 7), "CONFIG_BPF_EVENTS", Nothing),
    row("raw_tp", BPF_PROG_TYPE_RAW_TRACEPOINT, 0, (4, 17), "CONFIG_BPF_EVENTS", Nothing),
    row("raw_tp.w", BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, 0, (5, 2), "CONFIG_BPF_EVENTS", Nothing),
    row(
        "tp_btf",
        BPF_PROG_TYPE_TRACING,
        BPF_TRACE_RAW_TP,
        (5, 5),
        "CONFIG_BPF_EVENTS",
        Tracepoint("sched_process_exec"),
    ),
    row("kprobe", BPF_PROG_TYPE_KPROBE, 0, (4, 1), "CONFIG_KPROBES", Events("kprobe")),
    row("kprobe.multi", BPF_PROG_TYPE_KPROBE, BPF_TRACE_KPROBE_MULTI, (5, 18), "CONFIG_FPROBE", KprobeMulti),
    row("uprobe", BPF_PROG_TYPE_KPROBE, 0, (4, 1), "CONFIG_UPROBES", Events("uprobe")),
    row("uprobe.multi", BPF_PROG_TYPE_KPROBE, BPF_TRACE_UPROBE_MULTI, (6, 6), "CONFIG_UPROBES", UprobeMulti),
    row("perf_event", BPF_PROG_TYPE_PERF_EVENT, 0, (4, 9), "CONFIG_PERF_EVENTS", Nothing),
    row("fentry", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, (5, 5), FTRACE, Function("bpf_fentry_test1")),
    row("fexit", BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT, (5, 5), FTRACE, Function("bpf_fentry_test1")),
    row("fmod_ret", BPF_PROG_TYPE_TRACING, BPF_MODIFY_RETURN, (5, 7), FTRACE, Function("security_file_open")),
    row("freplace", BPF_PROG_TYPE_EXT, 0, (5, 6), FTRACE, Program),
    row("lsm", BPF_PROG_TYPE_LSM, BPF_LSM_MAC, (5, 7), "CONFIG_BPF_LSM", Lsm("bpf_lsm_file_open")),
    row("lsm_cgroup", BPF_PROG_TYPE_LSM, BPF_LSM_CGROUP, (6, 0), "CONFIG_BPF_LSM", Lsm("bpf_lsm_socket_bind")),
    row("iter/task", BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, (5, 8), "", Function("bpf_iter_task")),
    row("iter/task_file", BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, (5, 8), "", Function("bpf_iter_task_file")),
    row("iter/task_vma", BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, (5, 12), "", Function("bpf_iter_task_vma")),
    row("iter/tcp", BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, (5, 9), "", Function("bpf_iter_tcp")),
    row("iter/udp", BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, (5, 9), "", Function("bpf_iter_udp")),
    row("iter/bpf_map", BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, (5, 8), "", Function("bpf_iter_bpf_map")),
    row("iter/cgroup", BPF_PROG_TYPE_TRACING, BPF_TRACE_ITER, (6, 1), "CONFIG_CGROUPS", Function("bpf_iter_cgroup")),
    row("struct_ops", BPF_PROG_TYPE_STRUCT_OPS, 0, (5, 6), "CONFIG_BPF_JIT", Member("tcp_congestion_ops", "ssthresh")),
    row("xdp", BPF_PROG_TYPE_XDP, 0, (4, 8), "CONFIG_NET", Nothing),
    row("tc", BPF_PROG_TYPE_SCHED_CLS, 0, (4, 1), "CONFIG_NET", Nothing),
    row("action", BPF_PROG_TYPE_SCHED_ACT, 0, (4, 1), "CONFIG_NET", Nothing),
    row("netfilter", BPF_PROG_TYPE_NETFILTER, BPF_NETFILTER, (6, 4), "CONFIG_NETFILTER_BPF_LINK", Nothing),
    row("socket", BPF_PROG_TYPE_SOCKET_FILTER, 0, (3, 19), "CONFIG_NET", Nothing),
    row("sockops", BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, (4, 13), "CONFIG_CGROUP_BPF", Nothing),
    row("sk_skb", BPF_PROG_TYPE_SK_SKB, 0, (4, 14), "CONFIG_NET", Nothing),
    row("sk_msg", BPF_PROG_TYPE_SK_MSG, BPF_SK_MSG_VERDICT, (4, 17), "CONFIG_NET", Nothing),
    row("sk_lookup", BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, (5, 9), "CONFIG_INET", Nothing),
    row("sk_reuseport", BPF_PROG_TYPE_SK_REUSEPORT, BPF_SK_REUSEPORT_SELECT, (4, 19), "CONFIG_INET", Nothing),
    row("flow_dissector", BPF_PROG_TYPE_FLOW_DISSECTOR, BPF_FLOW_DISSECTOR, (4, 20), "CONFIG_NET", Nothing),
    row("cgroup_skb", BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS, (4, 10), "CONFIG_CGROUP_BPF", Nothing),
    row("cgroup/sock", BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE, (4, 10), "CONFIG_CGROUP_BPF", Nothing),
    row(
        "cgroup/sock_addr",
        BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
        BPF_CGROUP_INET4_CONNECT,
        (4, 17),
        "CONFIG_CGROUP_BPF",
        Nothing,
    ),
    row("cgroup/sockopt", BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_GETSOCKOPT, (5, 3), "CONFIG_CGROUP_BPF", Nothing),
    row("cgroup/dev", BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, (4, 15), "CONFIG_CGROUP_BPF", Nothing),
    row("cgroup/sysctl", BPF_PROG_TYPE_CGROUP_SYSCTL, BPF_CGROUP_SYSCTL, (5, 2), "CONFIG_CGROUP_BPF", Nothing),
    row("lwt_in", BPF_PROG_TYPE_LWT_IN, 0, (4, 10), "CONFIG_LWTUNNEL_BPF", Nothing),
    row("lwt_out", BPF_PROG_TYPE_LWT_OUT, 0, (4, 10), "CONFIG_LWTUNNEL_BPF", Nothing),
    row("lwt_xmit", BPF_PROG_TYPE_LWT_XMIT, 0, (4, 10), "CONFIG_LWTUNNEL_BPF", Nothing),
    row("lwt_seg6local", BPF_PROG_TYPE_LWT_SEG6LOCAL, 0, (4, 18), "CONFIG_IPV6_SEG6_BPF", Nothing),
    row("lirc_mode2", BPF_PROG_TYPE_LIRC_MODE2, BPF_LIRC_MODE2, (4, 18), "CONFIG_BPF_LIRC_MODE2", Nothing),
    row("syscall", BPF_PROG_TYPE_SYSCALL, 0, (5, 14), "", Sleep),
];

const FTRACE: &str = "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS";

/// `r0 = 0; exit`: what every type of program may do.
pub(super) fn return_zero() -> [bpf_insn; 2] {
    let insn = |code| bpf_insn { code, ..Default::default() };
    [insn((BPF_ALU64 | BPF_MOV | BPF_K) as u8), insn((BPF_JMP | BPF_EXIT) as u8)]
}

/// Loads a program of each type, and finds out whether it could be attached where that can be told without attaching.
pub(super) fn probe(around: &Surroundings) -> Vec<Finding> {
    ROWS.iter()
        .map(|row| {
            let verdict = match load(row, around) {
                Ok(program) => attachable(row, &program, around),
                Err(reason) => Verdict::Fails(reason),
            };
            Finding { area: Area::Programs, name: row.name, verdict, note: String::new() }
        })
        .collect()
}

fn load(row: &Row, around: &Surroundings) -> Result<OwnedFd, Reason> {
    let mut how = Load { program_type: row.program_type, attach_type: row.attach_type, ..Load::default() };
    let failed = |errno| around.reason(errno, row.since, row.option, to_load(row.program_type));
    let absent = || missing_type(row, around);
    let find = |name: &str, kind| around.btf.as_ref().and_then(|btf| btf.find(name, kind)).ok_or_else(absent);
    let base;
    match row.needs {
        Function(name) | Lsm(name) => how.attach_btf_id = find(name, BtfKind::Func)?,
        Tracepoint(name) => how.attach_btf_id = find(&format!("btf_trace_{name}"), BtfKind::Typedef)?,
        Member(name, member) => {
            how.attach_btf_id = find(name, BtfKind::Struct)?;
            let index = around.btf.as_ref().and_then(|btf| btf.member_index(how.attach_btf_id, member));
            how.attach_type = index.ok_or_else(absent)?;
        }
        Program => {
            base = replaceable().map_err(failed)?;
            how.attach_program = Some(base.program.as_fd());
            how.attach_btf_id = base.function;
            how.types = Some((base.types.as_fd(), base.function));
        }
        Sleep => how.flags = BPF_F_SLEEPABLE,
        Nothing | Events(_) | KprobeMulti | UprobeMulti => {}
    }
    sys::load(&return_zero(), &how).map_err(failed)
}

/// Why the kernel's types lack what a program is made for.
fn missing_type(row: &Row, around: &Surroundings) -> Reason {
    if !around.capabilities.allow_bpf() {
        return Reason::NoPrivilege;
    }
    if around.version < row.since {
        return Reason::TooOld { since: row.since };
    }
    let option = match &around.btf {
        None => "CONFIG_DEBUG_INFO_BTF",
        Some(_) if row.option.is_empty() => return Reason::Errno(libc::ENOENT),
        Some(_) => row.option,
    };
    Reason::NotBuilt { option, certain: around.config.is_set(option) == Some(false) }
}

/// A program whose one function another may replace.
struct Replaceable {
    types: OwnedFd,
    function: u32,
    program: OwnedFd,
}

fn replaceable() -> Result<Replaceable, Errno> {
    let (btf, function) = Btf::of_a_function().ok_or(Errno(libc::ENOMEM))?;
    let types = btf.load()?;
    let how = Load { program_type: BPF_PROG_TYPE_XDP, types: Some((types.as_fd(), function)), ..Load::default() };
    let program = sys::load(&return_zero(), &how)?;
    Ok(Replaceable { types, function, program })
}

fn attachable(row: &Row, program: &OwnedFd, around: &Surroundings) -> Verdict {
    let option = row.option;
    let not_built = |option| Reason::NotBuilt { option, certain: around.config.is_set(option) == Some(false) };
    match row.needs {
        Events(source) if !Path::new("/sys/bus/event_source/devices").join(source).exists() => {
            Verdict::Limited(not_built(option))
        }
        Lsm(_) => match super::system::active_lsms() {
            Some(active) if active.split(',').any(|name| name == "bpf") => Verdict::Works,
            active => Verdict::Limited(Reason::LsmNotActive { active }),
        },
        KprobeMulti | UprobeMulti if around.version < row.since => Verdict::Fails(Reason::TooOld { since: row.since }),
        KprobeMulti => match sys::kprobe_multi(program.as_fd()) {
            Errno(libc::EOPNOTSUPP) => Verdict::Fails(not_built(option)),
            _ => Verdict::Works,
        },
        UprobeMulti => match sys::uprobe_multi(program.as_fd()) {
            Errno(libc::EBADF) => Verdict::Works,
            errno => Verdict::Fails(around.reason(errno, row.since, option, to_load(row.program_type))),
        },
        _ => Verdict::Works,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_program_type_has_a_row() {
        let probed: HashSet<u32> = ROWS.iter().map(|row| row.program_type).collect();
        let missing: Vec<u32> = (1..__MAX_BPF_PROG_TYPE).filter(|number| !probed.contains(number)).collect();
        assert!(missing.is_empty(), "no row for program types {missing:?}");
    }
}
