//! Prints the table of the specification's test suite, run in the kernel: `suite [FILTER]`.

fn main() {
    let filter = std::env::args().nth(1).unwrap_or_default();
    let report = skep_kernel_wasm::suite::run(&filter);
    print!("{report}");
    for file in &report.files {
        for failure in &file.failed {
            println!("{}: {failure}", file.name);
        }
    }
}
