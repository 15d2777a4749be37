//! Prints the table of the specification's test suite, run in the kernel: `suite [FILTER] [--write PAGE]`.

use std::process::ExitCode;

use skep_kernel_wasm::{document, suite};

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).filter(|argument| argument != "--write").unwrap_or_default();
    let report = suite::run(&filter, &suite::options());
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
