//! Whether inspection and the compiler take no more than linear time for modules made to be expensive: nanoseconds a byte at
//! one megabyte and at four, for each shape, in the thread's own time.
//!
//! A table for people, or with `--figures` lines for `xtask bench`.

use skep_kernel_wasm::{
    figure::{Bar, Figure},
    hostile::SHAPES,
};
use wasm2bpf::Options;

/// What is timed, by its name.
type Way = (&'static str, fn(&[u8]));

const WAYS: [Way; 2] = [("inspection", inspect), ("compilation", compile)];
const REPEATS: usize = 7;
const SIZES: [usize; 2] = [1_000_000, 4_000_000];

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
        let modules = SIZES.map(shape);
        let times = WAYS.map(|(_, work)| [0, 1].map(|at| measure(&modules[at], work)));
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
    for ((way, _), worst) in WAYS.into_iter().zip(worst).filter(|_| as_figures) {
        let Some([short, long]) = worst else { continue };
        let name = format!("{way} of 4 MB beside 1 MB, the worst of {} hostile shapes", SHAPES.len());
        println!("{}", Figure { name, unit: "ns/B", value: long, beside: Some(short), bar: Bar::RatioAtMost(2.0) });
    }
}
