//! The samples, on events that the tests cause. Which modules are meant, the committed ones or what their sources make
//! today, says `crate::sample`.
//!
//! What can change behaviour (XDP, socket filters, sockops) runs in a network namespace and a cgroup made here.

use std::{
    collections::HashSet,
    fs,
    io::Read as _,
    net::{TcpListener, TcpStream},
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use rustix::process::Signal;
use skep_suite::{Cgroup, Finished, Inventory, Run, in_namespace, kernel_gate, skep};

use crate::sample;

fn start(name: &str, args: &[&str]) -> Run {
    Run::skep(["run".into(), sample(name)].into_iter().chain(args.iter().map(Into::into)))
}

/// Waits until a tracer is attached: it sees a process that did not run before. Starts one after the other until then.
fn wait_until_seen(run: &mut Run, name: &str) {
    let done = Arc::new(AtomicBool::new(false));
    let (stop, name_of_file) = (done.clone(), name.to_owned());
    let starter = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let _ = Command::new("/bin/sh").args(["-c", "exit 7"]).arg0(&name_of_file).status();
        }
    });
    run.wait_for("row of a process", |line| line.contains("/bin/sh") || line.contains("sh"));
    done.store(true, Ordering::Relaxed);
    starter.join().unwrap();
}

#[test]
fn kernel_bootstrap_shows_exec_and_exit_with_the_status() {
    if !kernel_gate("bootstrap") {
        return;
    }
    let before = Inventory::now();
    let mut run = start("bootstrap", &[]);
    wait_until_seen(&mut run, "sh");
    let child = Command::new("/bin/sh").args(["-c", "exit 42"]).spawn().unwrap();
    let pid = child.id().to_string();
    let mut child = child;
    child.wait().unwrap();
    let of_child = |line: &str| line.split_whitespace().any(|word| word == pid);
    let exec = run.wait_for("EXEC of the child", |line| line.contains("EXEC") && of_child(line));
    assert!(exec.contains("/bin/sh"), "{exec}");
    let exit = run.wait_for("EXIT of the child", |line| line.contains("EXIT") && of_child(line));
    assert!(exit.contains("[42]"), "{exit}");
    run.signal(Signal::INT);
    assert_eq!(run.finish().code, Some(0));
    Inventory::assert_nothing_left(&before, &["handle_exec", "handle_exit"]);
}

/// Runs a program that does nothing but be seen; its process number.
fn execute(program: &str, args: &[&str]) -> u32 {
    let mut child = Command::new(program).args(args).stdout(std::process::Stdio::null()).spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    pid
}

/// A line's columns.
fn columns(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Starts a sample and waits for its header: it is attached then.
fn start_attached(name: &str, args: &[&str], header: &str) -> Run {
    let mut run = start(name, args);
    run.wait_for(header, |line| line.starts_with(header));
    run
}

/// Ctrl-C.
fn interrupt(run: Run) -> Finished {
    run.signal(Signal::INT);
    run.finish()
}

#[test]
fn kernel_bootstrap_shows_only_exits_of_long_lives_with_d() {
    if !kernel_gate("examples/bootstrap -d") {
        return;
    }
    let mut run = start_attached("bootstrap", &["-d", "150"], "TIME");
    let short = execute("/bin/true", &[]).to_string();
    let long = execute("/bin/sleep", &["0.3"]).to_string();
    run.wait_for("the EXIT of sleep", |line| columns(line).get(3) == Some(&&*long));
    let ended = interrupt(run);
    let rows = &ended.stdout[1..];
    assert!(rows.iter().all(|line| columns(line)[1] == "EXIT"), "{ended:#?}");
    assert!(!rows.iter().any(|line| columns(line)[3] == short), "{ended:#?}");
}

#[test]
fn kernel_samples_explain_themselves_and_refuse_nonsense() {
    if !kernel_gate("the samples' usage") {
        return;
    }
    for name in [
        "bootstrap",
        "execve",
        "lsm",
        "mapshare",
        "opensnoop",
        "runqlat",
        "sockfilter",
        "sockops",
        "tcpstates",
        "uprobe",
        "xdp-count",
    ] {
        let help = start(name, &["--", "--help"]).finish();
        assert_eq!(help.code, Some(0), "{name}: {help:?}");
        assert!(help.stdout[0].starts_with(&format!("Usage: {name}")), "{name}: {help:?}");
        let nonsense = start(name, &["--", "--no-such-option", "x", "y", "z"]).finish();
        assert_eq!(nonsense.code, Some(2), "{name}: {nonsense:?}");
        assert!(nonsense.stderr.contains("Usage: "), "{name}: {nonsense:?}");
    }
}

#[test]
fn kernel_execve_in_go_shows_the_arguments() {
    if !kernel_gate("examples/execve") {
        return;
    }
    let mut run = start_attached("execve", &[], "PID");
    let pid = execute("/bin/echo", &["seen", "by", "skep"]).to_string();
    let row = run.wait_for("the command", |line| columns(line).first() == Some(&&*pid));
    assert_eq!(columns(&row)[1], std::process::id().to_string());
    assert!(row.ends_with("/bin/echo seen by skep"), "{row}");
    assert_eq!(interrupt(run).code, Some(0));
}

#[test]
fn kernel_opensnoop_shows_opens_that_succeed_and_fail() {
    if !kernel_gate("examples/opensnoop") {
        return;
    }
    let pid = std::process::id().to_string();
    let mut run = start_attached("opensnoop", &["-p", &pid], "PID");
    let file = fs::File::open("/etc/hostname").or_else(|_| fs::File::open("/etc/passwd")).unwrap();
    let _ = fs::File::open("/no/such/file");
    let row = run.wait_for("the file", |line| line.ends_with("/etc/hostname") || line.ends_with("/etc/passwd"));
    assert_eq!(columns(&row)[0], pid);
    assert_eq!(columns(&row)[columns(&row).len() - 2], "0", "no error: {row}");
    let row = run.wait_for("the failure", |line| line.ends_with("/no/such/file"));
    assert!(row.contains(" -1   2 /no/such/file"), "ENOENT: {row}");
    drop(file);
    assert_eq!(interrupt(run).code, Some(0));
}

#[test]
fn kernel_runqlat_counts_waits() {
    if !kernel_gate("examples/runqlat") {
        return;
    }
    let ended = start("runqlat", &["1", "2"]).finish();
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(ended.stdout.iter().filter(|line| line.contains("distribution")).count(), 2, "{ended:#?}");
    // Threads of this very test woke up meanwhile.
    let counted =
        ended.stdout.iter().filter_map(|line| line.split(" : ").nth(1)?.split(' ').next()?.parse::<u64>().ok());
    assert!(counted.sum::<u64>() > 0, "{ended:#?}");
    // Ctrl-C shows what was counted so far, and is no failure.
    let mut run = start("runqlat", &["60"]);
    run.wait_for("the first line", |line| line.starts_with("Tracing"));
    let ended = interrupt(run);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.len() > 1, "{ended:#?}");
}

#[test]
fn kernel_tcpstates_in_rust_shows_a_connection() {
    if !kernel_gate("examples/tcpstates") {
        return;
    }
    let mut run = start_attached("tcpstates", &[], "SOCKET");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let row = run.wait_for("the connection", |line| {
        let columns = columns(line);
        columns.contains(&&*port) && columns.contains(&"SYN_SENT") && columns.contains(&"ESTABLISHED")
    });
    assert!(row.contains("127.0.0.1"), "{row}");
    drop(client);
    run.wait_for("its end", |line| columns(line).contains(&&*port) && line.contains("FIN_WAIT1"));
    assert_eq!(interrupt(run).code, Some(0));
}

#[test]
fn kernel_uprobe_shows_calls_of_a_function() {
    if !kernel_gate("examples/uprobe") {
        return;
    }
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so"));
    let Some(libc) = libc else { panic!("no libc.so among the mappings of this test") };
    let mut run = start_attached("uprobe", &[&format!("{libc}:open64")], "TIME");
    // The standard library opens files through libc.
    let file = fs::File::open("/etc/passwd").unwrap();
    let pid = std::process::id().to_string();
    let row = run.wait_for("the call", |line| columns(line).get(1) == Some(&&*pid));
    assert_eq!(columns(&row).len(), 9, "{row}");
    let descriptor = file.as_raw_fd().to_string();
    assert_eq!(columns(&row)[7], descriptor, "the function's result: {row}");
    assert_eq!(interrupt(run).code, Some(0));
}

#[test]
fn kernel_lsm_refuses_or_says_that_it_cannot() {
    if !kernel_gate("examples/lsm") {
        return;
    }
    let dir = std::env::temp_dir().join(format!("skep-lsm-{}", std::process::id()));
    fs::create_dir_all(dir.join("keep-me")).unwrap();
    let mut run = Run::start({
        // One shell, so that the case that cannot attach ends by itself and the other waits.
        let mut command = Command::new(skep());
        command.arg("run").arg(sample("lsm"));
        command
    });
    let active =
        fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|list| list.split(',').any(|lsm| lsm == "bpf"));
    if active && !refused_by_policy() {
        run.wait_for("the header", |line| line.starts_with("PID"));
        assert!(fs::remove_dir(dir.join("keep-me")).is_err());
        run.wait_for("the refusal", |line| line.contains("refused") && line.contains("keep-me"));
        assert_eq!(interrupt(run).code, Some(0));
    } else {
        let ended = run.finish();
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        assert!(ended.stderr.contains("this kernel takes no LSM program"), "{ended:#?}");
    }
    fs::remove_dir_all(dir).unwrap();
}

/// Whether the kernel loads no LSM program at all, as libbpf finds out by trying.
fn refused_by_policy() -> bool {
    !libbpf_rs::ProgramType::Lsm.is_supported().unwrap_or(false)
}

#[test]
fn kernel_mapshare_reads_array_ring_and_arena_in_place() {
    if !kernel_gate("examples/mapshare") {
        return;
    }
    let mut run = start("mapshare", &[]);
    let counts = run.wait_for("system calls", |line| line.contains("system calls"));
    let calls: u64 = columns(&counts)[2].parse().unwrap();
    assert!(calls > 0, "{counts}");
    // Again and again: the arena has room for 32 commands, and other tests begin more of them in a second.
    let executed = Arc::new(Mutex::new(HashSet::new()));
    let (stop, pids) = (Arc::new(AtomicBool::new(false)), executed.clone());
    let done = stop.clone();
    let executing = thread::spawn(move || {
        while !done.load(Ordering::Relaxed) {
            let pid = execute("/bin/true", &[]);
            pids.lock().unwrap().insert(pid.to_string());
        }
    });
    let of = |line: &str, place: &str| match columns(line)[..] {
        [at, "exec", pid, "true"] => at == place && executed.lock().unwrap().contains(pid),
        _ => false,
    };
    run.wait_for("the record in the ring", |line| of(line, "ring"));
    if !arenas() {
        println!("this kernel has no arenas: that part is left out");
    } else {
        run.wait_for("the entry in the arena", |line| of(line, "arena"));
    }
    stop.store(true, Ordering::Relaxed);
    executing.join().unwrap();
    assert_eq!(interrupt(run).code, Some(0));
}

fn arenas() -> bool {
    libbpf_rs::MapType::Arena.is_supported().unwrap_or(true)
}

/// A command line, within the namespace of `pid`, that sends a datagram to itself.
fn send_datagram(pid: u32) {
    let script = "exec 3<>/dev/udp/127.0.0.1/9; echo hello >&3";
    let enter = Command::new("nsenter").args(["-t", &pid.to_string(), "-n", "bash", "-c", script]).output().unwrap();
    // The answer is ICMP's "port unreachable"; that the shell complains of it is part of the plan.
    drop(enter);
}

#[test]
fn kernel_sockfilter_shows_packets_of_an_interface() {
    if !kernel_gate("examples/sockfilter") {
        return;
    }
    let command = format!("{} run {} lo", skep().display(), sample("sockfilter").display());
    let mut run = Run::start(in_namespace(&command));
    run.wait_for("the header", |line| line.starts_with("DIRECTION"));
    send_datagram(run.pid());
    let row = run.wait_for("the datagram", |line| line.contains("UDP"));
    assert!(columns(&row)[3] == "127.0.0.1:9" && columns(&row)[4] == "48", "20 + 8 + 6 bytes and the link's 14: {row}");
    run.wait_for("the answer", |line| line.contains("ICMP"));
    assert_eq!(interrupt(run).code, Some(0));
}

#[test]
fn kernel_xdp_count_counts_packets_by_protocol() {
    if !kernel_gate("examples/xdp-count") {
        return;
    }
    let command = format!("{} run {} lo 1", skep().display(), sample("xdp-count").display());
    let mut run = Run::start(in_namespace(&command));
    run.wait_for("the header", |line| line.starts_with("TIME"));
    let pid = run.pid();
    for _ in 0..3 {
        send_datagram(pid);
    }
    // The third line with udp has counted them all, whichever second they fell into.
    let row = run.wait_for("udp", |line| columns(line).get(1) == Some(&"udp") && columns(line)[2] == "3");
    assert!(row.len() >= 40, "{row}");
    let ended = interrupt(run);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.iter().any(|line| columns(line).get(1) == Some(&"icmp")), "{ended:#?}");
}

#[test]
fn kernel_sockops_shows_connections_of_a_cgroup() {
    if !kernel_gate("examples/sockops") {
        return;
    }
    let cgroup = Cgroup::new();
    let mut run = start_attached("sockops", &[cgroup.path().to_str().unwrap()], "EVENT");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let accept = std::thread::spawn(move || {
        let mut text = String::new();
        listener.accept().unwrap().0.read_to_string(&mut text).unwrap();
        text
    });
    // The client alone is in the cgroup.
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec 3<>/dev/tcp/127.0.0.1/{port} && echo hello >&3",
        cgroup.path().display()
    );
    let mut client = Command::new("bash").args(["-c", &script]).spawn().unwrap();
    assert!(client.wait().unwrap().success());
    assert_eq!(accept.join().unwrap(), "hello\n");
    let remote = format!("127.0.0.1:{port}");
    let row = run.wait_for("the connection", |line| line.starts_with("CONNECT"));
    assert_eq!(columns(&row)[2], remote, "{row}");
    let row = run.wait_for("its end", |line| line.starts_with("CLOSE"));
    let acknowledged: u64 = columns(&row)[4].parse().unwrap();
    assert!(acknowledged >= 6, "hello and a line feed at least: {row}");
    assert_eq!(interrupt(run).code, Some(0));
}
