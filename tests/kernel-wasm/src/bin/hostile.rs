//! Whether the compiler takes no more than linear time for modules made to be expensive: nanoseconds a byte at one megabyte
//! and at four, for each shape, in the thread's own time.
//!
//! A table for people, or with `--figures` lines for `xtask bench`.

use skep_kernel_wasm::{
    figure::{Bar, Figure},
    hostile::SHAPES,
};
use wasm2bpf::Options;

const REPEATS: usize = 3;

fn now() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// Nanoseconds a byte, the median, and what became of the module.
fn measure(bytes: &[u8], options: &Options) -> (f64, String) {
    let mut times = [0.0; REPEATS];
    let mut answer = String::new();
    for time in &mut times {
        let start = now();
        let made = wasm2bpf::compile(bytes, options);
        *time = (now() - start) / bytes.len() as f64;
        answer = made.map_or_else(|refusal| refusal.to_string(), |object| format!("{} bytes", object.elf.len()));
    }
    times.sort_by(f64::total_cmp);
    (times[REPEATS / 2], answer)
}

fn main() {
    let as_figures = std::env::args().any(|argument| argument == "--figures");
    let options = Options { max_memory_pages: 1, ..Options::default() };
    let mut worst: Option<(f64, f64)> = None;
    for (name, shape) in SHAPES {
        let (small, large) = (shape(1_000_000), shape(4_000_000));
        let ((short, _), (long, answer)) = (measure(&small, &options), measure(&large, &options));
        if !as_figures {
            println!("{name:56} {short:8.0} {long:8.0} ns/B  {:5} kB: {answer}", large.len() / 1000);
        }
        if worst.is_none_or(|(worst_short, worst_long)| long / short > worst_long / worst_short) {
            worst = Some((short, long));
        }
    }
    if let Some((short, long)) = worst.filter(|_| as_figures) {
        let name = format!("compilation of 4 MB beside 1 MB, the worst of {} hostile shapes", SHAPES.len());
        let figure = Figure { name, unit: "ns/B", value: long, beside: Some(short), bar: Bar::RatioAtMost(2.0) };
        println!("{figure}");
    }
}
