//! Every kind of place that a program can be attached to, on this kernel: each program sees what the test causes, and is
//! gone afterwards. What this kernel refuses as a matter of policy (kprobe, fentry, LSM) runs in the VM.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use skep_suite::{Cgroup, Inventory, Run, guest, in_namespace, kernel_gate, skep, trigger};

/// As in `guests/places/places.h`.
const TCP_PORT: u64 = 4242;
const UDP_PORT: u64 = 4343;
const DATAGRAM: u64 = 6;
const MESSAGE: u64 = 7;

/// Starts the guest in a network namespace of its own; it is attached when this returns.
fn attach(object: &str, programs: &[&str]) -> Run {
    attach_with("", object, programs)
}

fn attach_with(options: &str, object: &str, programs: &[&str]) -> Run {
    let mut command = format!("{} run {options} {} {object}", skep().display(), guest("places").display());
    for program in programs {
        command.push_str(&format!(" '{program}'"));
    }
    let mut command = in_namespace(&command);
    command.stdin(Stdio::piped());
    let mut run = Run::start(command);
    run.wait_ready();
    run
}

/// How often the programs of an ended guest saw what they look for, and the last detail.
fn seen(mut run: Run) -> (u64, u64) {
    run.end_input();
    let ended = run.finish();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let line =
        ended.stdout.last().and_then(|line| line.strip_prefix("seen ")).and_then(|rest| rest.split_once(", last "));
    let (count, detail) = line.unwrap_or_else(|| panic!("{ended:#?}"));
    (count.parse().unwrap(), detail.parse().unwrap())
}

/// Runs `causes` with those arguments in the guest's network namespace and, if given, in a cgroup.
fn cause(run: &Run, cgroup: Option<&Path>, arguments: &str) {
    let causes = env!("CARGO_BIN_EXE_causes");
    let join = cgroup.map(|dir| format!("echo $$ > {}/cgroup.procs && ", dir.display())).unwrap_or_default();
    let script = format!("{join}exec nsenter -t {} -n {causes} {arguments}", run.pid());
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn kernel_programs_that_see_packets() {
    if !kernel_gate("tcx, tc, xdp, socket filters, sk_lookup, netfilter") {
        return;
    }
    let before = Inventory::now();
    let (v4, v6) = ("inet", "inet6");
    let rows = [
        ("packets", "tcx_ingress=lo", v4, 8 + DATAGRAM),
        ("packets", "tcx_egress=lo", v4, 8 + DATAGRAM),
        ("packets", "classifier=lo:ingress", v4, 8 + DATAGRAM),
        ("packets", "classifier=lo:egress", v4, 8 + DATAGRAM),
        ("packets", "express=lo", v4, 8 + DATAGRAM),
        ("packets", "socket_filter=lo", v4, 8 + DATAGRAM),
        ("packets", "lookup", v4, UDP_PORT),
        ("packets", "lookup=/proc/self/ns/net", v4, UDP_PORT),
        ("netfilter", "hook=ipv4:input:0", v4, 28 + DATAGRAM),
        ("netfilter", "hook=ipv4:output:-100", v4, 28 + DATAGRAM),
        ("netfilter", "hook=ipv6:input:0", v6, 48 + DATAGRAM),
    ];
    for (object, program, family, detail) in rows {
        let run = attach(object, &[program]);
        cause(&run, None, family);
        let (count, last) = seen(run);
        // A packet socket sees a packet of the loopback interface twice: as it leaves and as it comes.
        let expected = if program == "socket_filter=lo" { 2 } else { 1 };
        assert_eq!((count, last), (expected, detail), "{program}");
    }
    let names = ["tcx_ingress", "tcx_egress", "classifier", "express", "socket_filter", "lookup", "hook"];
    Inventory::assert_nothing_left(&before, &names);
}

#[test]
fn kernel_a_flow_dissector_of_a_network_namespace() {
    if !kernel_gate("flow_dissector") {
        return;
    }
    let before = Inventory::now();
    let run = attach("packets", &["dissector=/proc/self/ns/net"]);
    // Flows are dissected where packets are steered to CPUs by their hash.
    let steer = "mount -t sysfs sysfs /sys && echo 1 > /sys/class/net/lo/queues/rx-0/rps_cpus";
    let steered = Command::new("nsenter")
        .args(["-t", &run.pid().to_string(), "-n", "unshare", "-m", "sh", "-c", steer])
        .output()
        .unwrap();
    assert!(steered.status.success(), "{steered:?}");
    cause(&run, None, "inet");
    let (count, _) = seen(run);
    assert!(count > 0, "the datagram was dissected");
    Inventory::assert_nothing_left(&before, &["dissector"]);
}

#[test]
fn kernel_programs_of_a_cgroup() {
    if !kernel_gate("every cgroup type") {
        return;
    }
    let before = Inventory::now();
    let tcp_nodelay = 1;
    let so_error = 4;
    let dev_zero = (1 << 32) | 5;
    let af_unix = 1;
    // What it is caused by, and the last that each sees, where it is the same each time.
    let rows = [
        ("packets", "skb_ingress", "inet", Some(8 + DATAGRAM)),
        ("packets", "skb_egress", "inet", Some(8 + DATAGRAM)),
        ("cgroups", "bind4", "inet", Some(TCP_PORT)),
        ("cgroups", "bind6", "inet6", Some(TCP_PORT)),
        ("cgroups", "post_bind4", "inet", Some(TCP_PORT)),
        ("cgroups", "post_bind6", "inet6", Some(TCP_PORT)),
        ("cgroups", "connect4", "inet", Some(TCP_PORT)),
        ("cgroups", "connect6", "inet6", Some(TCP_PORT)),
        ("cgroups", "connect_unix", "unix", Some(af_unix)),
        ("cgroups", "getpeername4", "inet", None),
        ("cgroups", "getpeername6", "inet6", None),
        ("cgroups", "getpeername_unix", "unix", Some(af_unix)),
        ("cgroups", "getsockname4", "inet", None),
        ("cgroups", "getsockname6", "inet6", None),
        ("cgroups", "getsockname_unix", "unix", Some(af_unix)),
        ("cgroups", "sendmsg4", "inet", Some(UDP_PORT)),
        ("cgroups", "sendmsg6", "inet6", Some(UDP_PORT)),
        ("cgroups", "sendmsg_unix", "unix", Some(af_unix)),
        ("cgroups", "recvmsg4", "inet", None),
        ("cgroups", "recvmsg6", "inet6", None),
        ("cgroups", "recvmsg_unix", "unix", Some(af_unix)),
        ("cgroups", "sock_create", "inet", Some(1)),
        ("cgroups", "sock_release", "inet", None),
        ("cgroups", "device", "inet", Some(dev_zero)),
        ("cgroups", "sysctl", "inet", Some(0)),
        ("cgroups", "getsockopt", "inet", Some(so_error)),
        ("cgroups", "setsockopt", "inet", Some(tcp_nodelay)),
    ];
    let cgroup = Cgroup::new();
    for (object, program, family, detail) in rows {
        let run = attach(object, &[&format!("{program}={}", cgroup.path().display())]);
        cause(&run, Some(cgroup.path()), family);
        let (count, last) = seen(run);
        assert!(count > 0, "{program} saw nothing");
        assert!(detail.is_none_or(|detail| detail == last), "{program}: {last}");
    }
    Inventory::assert_nothing_left(&before, &rows.map(|(_, program, _, _)| program));
}

/// A cgroup's directory that the guest was lent, named by its descriptor there; a negative one leaves it to the section.
#[test]
fn kernel_programs_attached_by_a_descriptor() {
    if !kernel_gate("wasm_attach_bpf_program_fd") {
        return;
    }
    let before = Inventory::now();
    let cgroup = Cgroup::new();
    let dirs = format!("--dir /proc --dir {}::/group", cgroup.path().display());
    let run = attach_with(&dirs, "packets", &["skb_egress@4"]);
    cause(&run, Some(cgroup.path()), "inet");
    assert_eq!(seen(run), (1, 8 + DATAGRAM));
    let run = attach("packets", &["lookup@-1"]);
    cause(&run, None, "inet");
    assert_eq!(seen(run), (1, UDP_PORT));
    Inventory::assert_nothing_left(&before, &["skb_egress", "lookup"]);

    for (program, why) in [
        ("skb_egress@3", "the directory is no cgroup (v2)"),
        ("skb_egress@5", "descriptor 5"),
        ("skb_egress@0", "descriptor 0"),
        ("skb_egress@-1", "attach it with a target: the path of a cgroup directory"),
    ] {
        let mut command = Command::new(skep());
        command.args(["run"]).args(dirs.split(' ')).arg(guest("places")).args(["packets", program]);
        let refused = Run::start(command).finish();
        assert_eq!(refused.code, Some(1), "{program}: {refused:#?}");
        assert!(refused.stderr.contains(why), "{program}: no {why:?} in {}", refused.stderr);
    }
}

#[test]
fn kernel_programs_of_a_sockmap() {
    if !kernel_gate("sk_msg, sk_skb") {
        return;
    }
    let before = Inventory::now();
    let cgroup = Cgroup::new();
    let collect = format!("collect={}", cgroup.path().display());
    for programs in [&["message=sockets"][..], &["verdict=sockets"], &["parser=sockets", "verdict=sockets"]] {
        let all: Vec<&str> = programs.iter().copied().chain([&*collect]).collect();
        let run = attach("sockmap", &all);
        cause(&run, Some(cgroup.path()), "inet");
        let (count, last) = seen(run);
        assert_eq!((count, last), (programs.len() as u64, MESSAGE), "{programs:?}");
    }
    Inventory::assert_nothing_left(&before, &["message", "verdict", "parser", "collect"]);
}

#[test]
fn kernel_a_congestion_control_lasts_as_long_as_its_guest() {
    if !kernel_gate("struct_ops") {
        return;
    }
    let before = Inventory::now();
    let run = attach("congestion", &["init"]);
    cause(&run, None, "inet skep_test");
    let (count, _) = seen(run);
    assert!(count >= 1, "the connection's control was set up");
    // Killed, it leaves as well: a name that is still registered could not be registered again.
    let run = attach("congestion", &["init"]);
    drop(run);
    let mut again = attach("congestion", &["init"]);
    again.end_input();
    assert_eq!(again.finish().code, Some(0));
    Inventory::assert_nothing_left(&before, &["init", "ssthresh", "cong_avoid", "undo_cwnd"]);
}

/// Compiles the program with the probes, whose C is this repository's own.
fn probed() -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/probed.c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("probed-{}", std::process::id()));
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(compiler).args(["-O2", "-o"]).arg(&program).arg(source).status();
    assert!(status.is_ok_and(|status| status.success()), "Rust links with a C compiler: it is there");
    Some(program)
}

#[test]
fn kernel_probes_of_programs_and_of_tracepoints() {
    if !kernel_gate("USDT, uprobes and tracepoints by target") {
        return;
    }
    let before = Inventory::now();
    let program = probed().unwrap();
    let path = program.display();
    let user = [
        (format!("user_probe={path}:skep:answer"), 1, Some(42)),
        (format!("one_function={path}:probed_one"), 1, Some(40)),
        (format!("every_function={path}:probed_*"), 2, None),
        (format!("every_return={path}:probed_*"), 2, Some(42)),
    ];
    for (place, times, detail) in &user {
        let run = attach("probes", &[place]);
        assert!(Command::new(&program).status().unwrap().success());
        let (count, last) = seen(run);
        assert_eq!(count, *times, "{place}");
        assert!(detail.is_none_or(|detail| detail == last), "{place}: {last}");
    }
    for place in ["tracepoint=syscalls:sys_enter_getpgid", "raw_tracepoint=sys_enter", "writable", "writable=sys_enter"]
    {
        let run = attach("probes", &[place]);
        trigger(1234);
        let (count, last) = seen(run);
        assert!(count >= 1, "{place}");
        assert_eq!(last, 1234, "{place}");
    }
    fs::remove_file(&program).unwrap();
    let names =
        ["user_probe", "one_function", "every_function", "every_return", "tracepoint", "raw_tracepoint", "writable"];
    Inventory::assert_nothing_left(&before, &names);
}

/// It loads, and is attached by an option of a socket, which no guest has.
#[test]
fn kernel_a_program_that_only_a_socket_can_ask_for_says_so() {
    if !kernel_gate("sk_reuseport") {
        return;
    }
    for program in ["choose", "choose=lo"] {
        let refused = Run::skep(["run".as_ref(), guest("places").as_os_str(), "probes".as_ref(), program.as_ref()]);
        let refused = refused.finish();
        assert_eq!(refused.code, Some(1), "{refused:#?}");
        for word in ["attaching program choose", "SO_ATTACH_REUSEPORT_EBPF"] {
            assert!(refused.stderr.contains(word), "no {word:?} in {}", refused.stderr);
        }
    }
}

#[test]
fn kernel_samples_of_the_cpu_clock() {
    if !kernel_gate("perf_event programs") {
        return;
    }
    // Samples come while a CPU computes: a child does, until its parent has seen some.
    let mut busy = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let places = guest("places");
    for rate in ["999", "999hz", "period:1000000"] {
        let mut command = Command::new(skep());
        command.args(["run", "--env", &format!("WANTED={}", busy.id())]).arg(&places);
        command.args(["sample", &format!("sample={rate}")]).stdin(Stdio::piped());
        let mut run = Run::start(command);
        run.wait_ready();
        let ticks = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", busy.id())).unwrap();
            // The 14th column, user time; the second ends with the last parenthesis.
            stat.rsplit_once(')').unwrap().1.split(' ').nth(12).unwrap().parse::<u64>().unwrap()
        };
        let start = ticks();
        while ticks() < start + 5 {
            std::thread::yield_now();
        }
        let (count, last) = seen(run);
        assert!(count >= 5, "{rate}: {count} samples in 50 ms");
        assert_eq!(last, u64::from(busy.id()), "{rate}");
    }
    busy.kill().unwrap();
    busy.wait().unwrap();
}

#[test]
fn kernel_iterators_are_read_by_their_guest() {
    if !kernel_gate("iterators") {
        return;
    }
    let mut run = attach("iterators", &["tasks", "elements=squares"]);
    run.end_input();
    let ended = run.finish();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    // Each is read twice over, from the beginning; the reads are shorter than what is printed.
    let me = format!("{} ", std::process::id());
    assert_eq!(ended.stdout.iter().filter(|line| line.starts_with(&me)).count(), 2, "{ended:#?}");
    let squares = ["0: 0", "1: 1", "2: 4"];
    let elements: Vec<&str> = ended.stdout.iter().map(String::as_str).filter(|line| line.contains(": ")).collect();
    let errors = ["none: -2", "no room: -22", "outside: -14"];
    assert_eq!(elements, [&squares[..], &squares, &errors].concat(), "{ended:#?}");
    assert!(ended.stderr.contains("attach the program first"), "{ended:#?}");
}

#[test]
fn kernel_best_effort_goes_on_without_what_cannot_be_attached() {
    if !kernel_gate("--best-effort") {
        return;
    }
    let places = guest("places");
    let start = |flags: &[&str], programs: &[&str]| {
        let mut command = Command::new(skep());
        command.arg("run").args(flags).arg(&places).arg("probes").args(programs).stdin(Stdio::piped());
        Run::start(command)
    };
    let programs = ["nowhere", "tracepoint=syscalls:sys_enter_getpgid"];
    let ended = start(&[], &programs).finish();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let mut run = start(&["--best-effort"], &programs);
    run.wait_ready();
    trigger(7);
    run.end_input();
    let ended = run.finish();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.text().ends_with("last 7"), "the other program is attached: {ended:#?}");
    assert!(ended.stderr.contains("attaching program nowhere"), "it says which is missing: {ended:#?}");
    assert!(ended.stderr.contains("skep/no_such_event"), "and why: {ended:#?}");
    // A name that is not there is the guest's own mistake.
    let ended = start(&["--best-effort"], &["tracepiont"]).finish();
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("did you mean \"tracepoint\"?"), "{ended:#?}");
}
