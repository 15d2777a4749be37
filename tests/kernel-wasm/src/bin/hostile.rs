//! Whether inspection and the compiler take no more than linear time for modules made to be expensive: nanoseconds a byte at
//! two sizes, for each shape, in the thread's own time.
//!
//! A table for people, or with `--figures` lines for `xtask bench`.

use skep_kernel_wasm::{
    figure::{Bar, Figure},
    hostile::SHAPES,
};
use wasm2bpf::Options;

/// What is timed, by its name, and megabytes of the modules.
type Way = (&'static str, [usize; 2], fn(&[u8]));

/// Inspection gives up its quick way where 65,536 blocks are open, and begins the function anew: a step, once. Both sizes lie beyond it,
/// and below the largest function that it reads.
const WAYS: [Way; 2] = [("inspection", [2, 7], inspect), ("compilation", [1, 4], compile)];
const REPEATS: usize = 7;

fn now() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Nanoseconds a byte, the median.
fn measure(bytes: &[u8], work: impl Fn(&[u8])) -> f64 {
    let mut times = [0.0; REPEATS];
    for time in &mut times {
        let start = now();
        work(bytes);
        *time = (now() - start) / bytes.len() as f64;
    }
    times.sort_by(f64::total_cmp);
    times[REPEATS / 2]
}

fn inspect(bytes: &[u8]) {
    let _ = std::hint::black_box(skep_admit::inspect(bytes));
}

fn compile(bytes: &[u8]) {
    let options = Options { max_memory_pages: 1, ..Options::default() };
    let _ = std::hint::black_box(wasm2bpf::compile(bytes, &options));
}

fn main() {
    let as_figures = std::env::args().any(|argument| argument == "--figures");
    let mut worst: [Option<[f64; 2]>; 2] = [None; 2];
    for (name, shape) in SHAPES {
        let times = WAYS.map(|(_, sizes, work)| sizes.map(|size| measure(&shape(size * 1_000_000), work)));
        if !as_figures {
            let [[small, large], [short, long]] = times;
            println!("{name:56} {small:7.1} {large:7.1} inspected, {short:7.0} {long:7.0} ns/B compiled");
        }
        for (worst, times) in worst.iter_mut().zip(times) {
            if worst.is_none_or(|worst| times[1] / times[0] > worst[1] / worst[0]) {
                *worst = Some(times);
            }
        }
    }
    for ((way, [small, large], _), worst) in WAYS.into_iter().zip(worst).filter(|_| as_figures) {
        let Some([short, long]) = worst else { continue };
        let name = format!("{way} of {large} MB beside {small} MB, the worst of {} hostile shapes", SHAPES.len());
        println!("{}", Figure { name, unit: "ns/B", value: long, beside: Some(short), bar: Bar::RatioAtMost(2.0) });
    }
}
