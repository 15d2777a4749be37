//! The samples, on events that the tests cause.

use std::{process::Command, thread};

use rustix::process::Signal;
use skep_suite::{Inventory, Run, example, kernel_gate};

fn start(name: &str, args: &[&str]) -> Run {
    Run::skep(["run".into(), example(name)].into_iter().chain(args.iter().map(Into::into)))
}

/// Waits until a tracer is attached: it sees a process that did not run before. Starts one after the other until then.
fn wait_until_seen(run: &mut Run, name: &str) {
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (stop, name_of_file) = (done.clone(), name.to_owned());
    let starter = thread::spawn(move || {
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let _ = Command::new("/bin/sh").args(["-c", "exit 7"]).arg0(&name_of_file).status();
        }
    });
    run.wait_for("row of a process", |line| line.contains("/bin/sh") || line.contains("sh"));
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    starter.join().unwrap();
}

use std::os::unix::process::CommandExt as _;

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
