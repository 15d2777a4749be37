//! CPU time and memory of inspect + admit for a real Rust module and a real Go module, medians of 31. CPU time, not the
//! clock's: another program's turn is not ours. Memory is what the process takes above what it had, read from the
//! kernel; the first module warms up and is not measured, since pages of code count too.
//! `cargo bench -p skep-admit --bench inspect`

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::time::{ClockId, clock_gettime};
use skep_admit::{Policy, Slot, admit, inspect};

const ROUNDS: usize = 31;

fn status(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    text.lines().find(|line| line.starts_with(key))?.split_whitespace().nth(1)?.parse().ok()
}

/// KiB that a run takes above what is resident before it. Resetting the mark needs no privilege for one's own process.
fn peak(run: impl Fn()) -> Option<u64> {
    fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS:")?;
    run();
    Some(status("VmHWM:")?.saturating_sub(before))
}

/// Milliseconds that this thread has computed.
fn computed() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut files: Vec<PathBuf> = ["bootstrap/bootstrap.wasm", "execve/execve.wasm", "tcpstates/tcpstates.wasm"]
        .map(|name| root.join(name))
        .into();
    files.extend(std::env::args().skip(1).filter(|argument| argument.ends_with(".wasm")).map(PathBuf::from));
    let policy = Policy::allow_all();
    let mut first = true;
    for file in files {
        let Ok(bytes) = fs::read(&file) else {
            println!("{}: not there", file.display());
            continue;
        };
        let run = || drop(admit(&inspect(&bytes), Slot::Program, &policy));
        if std::mem::take(&mut first) {
            (0..ROUNDS).for_each(|_| run());
            continue;
        }
        let memory = peak(run);
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let start = computed();
                run();
                computed() - start
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let kib = bytes.len() as f64 / 1024.0;
        println!(
            "{:<20} {kib:>6.0} KiB  median {:>7.3} ms  best {:>7.3} ms  {:>6.3} ms a 100 KiB  peak memory × {}",
            file.file_name().unwrap_or_default().to_string_lossy(),
            times[ROUNDS / 2],
            times[0],
            times[ROUNDS / 2] / kib * 100.0,
            memory.map_or("?".into(), |peak| format!("{:.2}", peak as f64 / kib)),
        );
    }
}
