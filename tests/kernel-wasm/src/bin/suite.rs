//! Prints the table of the specification's test suite, run in the kernel: `suite [FILTER] [--write PAGE] [--array]`, the
//! last for kernels without arenas; with `--figures` lines for `xtask bench`.

use std::process::ExitCode;

use skep_kernel_wasm::{
    document,
    figure::{Bar, Figure},
    suite,
};

fn figures(report: &suite::SuiteReport) -> [Figure; 2] {
    let (passed, failed, refused, _) = report.totals();
    let apply = passed + failed + refused;
    let share = f64::from(passed) / f64::from(apply.max(1));
    [
        Figure::plain("WebAssembly's test suite, of the assertions that apply: passed", "", share, Bar::AtLeast(0.99)),
        Figure::plain("the same: neither passed nor refused", "", f64::from(failed), Bar::AtMost(0.0)),
    ]
}

fn main() -> ExitCode {
    let filter = std::env::args().nth(1).filter(|argument| !argument.starts_with("--")).unwrap_or_default();
    let array = std::env::args().any(|argument| argument == "--array");
    let report = suite::run(&filter, &if array { suite::array_options() } else { suite::options() });
    let as_figures = std::env::args().any(|argument| argument == "--figures");
    if as_figures {
        figures(&report).iter().for_each(|figure| println!("{figure}"));
    } else {
        print!("{report}");
    }
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
