//! Prints the table of the specification's test suite, run in the kernel: `suite [FILTER] [--write PAGE] [--array]`, the
//! last for kernels without arenas.

use std::process::ExitCode;

use skep_kernel_wasm::{document, suite};

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).filter(|argument| !argument.starts_with("--")).unwrap_or_default();
    let array = std::env::args().any(|argument| argument == "--array");
    let report = suite::run(&filter, &if array { suite::array_options() } else { suite::options() });
    print!("{report}");
    let mut failed = false;
    for file in &report.files {
        for failure in &file.failed {
            failed = true;
            println!("{}: {failure}", file.name);
        }
    }
    if let Some(page) = document::file_to_write()
        && let Err(error) = document::replace(&page, "suite", &report.to_string())
    {
        eprintln!("{}", error.report(40));
        return ExitCode::from(error.kind().exit_code());
    }
    ExitCode::from(u8::from(failed))
}
