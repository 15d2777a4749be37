//! CPU time and heap of inspect + admit for a Rust module of about 100 KiB and a Go module of 4 MiB, medians of 31. CPU
//! time, not the clock's: another program's turn is not ours. Both modules are samples made larger, see `enlarged`;
//! paths of other modules can be given. The last line holds the figures as `name=value`.
//! `cargo bench -p skep-admit --bench inspect`

#[path = "../tests/enlarged/mod.rs"]
mod enlarged;

use std::{fs, hint::black_box};

use enlarged::{enlarged, sample};
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};
use skep_admit::{Policy, Slot, admit, inspect};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const ROUNDS: usize = 31;

/// What one module costs.
struct Cost {
    kib: f64,
    /// Milliseconds, the median.
    ms: f64,
    /// The heap's peak with the module in it, as a multiple of the module.
    memory: f64,
}

/// Milliseconds that this thread has computed.
fn computed() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn cost(name: &str, bytes: &[u8], policy: &Policy) -> Cost {
    let run = || drop(black_box(admit(&inspect(black_box(bytes)), Slot::Program, policy)));
    run();
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    run();
    let heap = HEAP.peak_usage() - before;
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = computed();
            run();
            computed() - start
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let cost = Cost {
        kib: bytes.len() as f64 / 1024.0,
        ms: times[ROUNDS / 2],
        memory: (bytes.len() + heap) as f64 / bytes.len() as f64,
    };
    println!(
        "{name:<24} {:>6.0} KiB  median {:>7.3} ms  best {:>7.3} ms  {:>6.3} ms a 100 KiB  peak memory × {:.2}",
        cost.kib,
        cost.ms,
        times[0],
        cost.ms / cost.kib * 100.0,
        cost.memory
    );
    cost
}

fn main() {
    let policy = Policy::allow_all();
    for path in std::env::args().skip(1).filter(|argument| argument.ends_with(".wasm")) {
        match fs::read(&path) {
            Ok(bytes) => _ = cost(&path, &bytes, &policy),
            Err(error) => println!("{path}: {error}"),
        }
    }
    let rust = cost("Rust", &enlarged(&sample("tcpstates/tcpstates.wasm"), 100 << 10), &policy);
    let go = cost("Go", &enlarged(&sample("execve/execve.wasm"), (4 << 20) + (16 << 10)), &policy);
    println!(
        "small_kib={:.0} small_ms={:.4} go_kib={:.0} go_ms={:.4} memory={:.4}",
        rust.kib,
        rust.ms,
        go.kib,
        go.ms,
        rust.memory.max(go.memory)
    );
}
