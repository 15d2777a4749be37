use super::{checks::Check, kernel::Kernel};
use skep_error::{Result, ResultExt as _};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// bpf is not among the security modules that Debian starts by default.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=3 panic=-1 lsm=lockdown,capability,yama,apparmor,bpf";

/// How a virtual machine's life went.
pub(super) struct Run {
    /// Exit status of each check that ended.
    results: BTreeMap<String, i32>,
    /// The console, with what each check wrote.
    console: PathBuf,
    /// From qemu's start to its end.
    took: Duration,
    /// The limit on its time ended it.
    cut: bool,
}

/// Boots `image` with `initramfs` and waits until it powers off, or `limit` is over.
pub(super) fn run(kernel: &Kernel, image: &Path, initramfs: &Path, limit: Duration) -> Result<Run> {
    let console = kernel.dir().join("console.log");
    let start = Instant::now();
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "1", "-m", "1024"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
        .arg("-serial")
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", COMMAND_LINE])
        .stdin(Stdio::null())
        .spawn()
        .context(|| "starting qemu-system-x86_64")?;
    let mut cut = false;
    while qemu.try_wait().context(|| "waiting for qemu")?.is_none() {
        if start.elapsed() > limit {
            cut = true;
            qemu.kill().context(|| "ending qemu")?;
            qemu.wait().context(|| "waiting for qemu")?;
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = fs::read(&console).context(|| format!("reading {}", console.display()))?;
    let results = results(&String::from_utf8_lossy(&text));
    Ok(Run { results, console, took: start.elapsed(), cut })
}

/// Exit status by check, from lines `skep-vm: result <check> <status>`.
fn results(console: &str) -> BTreeMap<String, i32> {
    let lines = console.lines().filter_map(|line| line.trim().strip_prefix("skep-vm: result "));
    lines
        .filter_map(|rest| {
            let (name, status) = rest.split_once(' ')?;
            Some((name.to_owned(), status.trim().parse().ok()?))
        })
        .collect()
}

impl Run {
    /// Prints how each check ended, and what the failed ones wrote; returns how many failed or did not run.
    pub(super) fn report(&self, kernel: &Kernel, checks: &[&Check]) -> usize {
        let console = fs::read_to_string(&self.console).unwrap_or_default();
        let mut failed = 0;
        for check in checks {
            let ended = match self.results.get(check.name) {
                Some(0) => {
                    println!("vm {}: ok      {}", kernel.name, check.name);
                    continue;
                }
                Some(status) => format!("failed  {} (exit status {status})", check.name),
                None => format!("no end  {}", check.name),
            };
            failed += 1;
            println!("vm {}: {ended}", kernel.name);
            for line in section(&console, check.name) {
                println!("        | {line}");
            }
        }
        let cut = if self.cut { ", cut short by its limit" } else { "" };
        println!(
            "vm {}: {} passed, {failed} failed in {:.0} s{cut}; console: {}",
            kernel.name,
            checks.len() - failed,
            self.took.as_secs_f64(),
            self.console.display()
        );
        failed
    }
}

/// What a check wrote; the console's end when it never started.
fn section<'a>(console: &'a str, check: &str) -> Vec<&'a str> {
    let start = format!("skep-vm: check {check}");
    let lines: Vec<&str> = console.lines().map(str::trim_end).collect();
    match lines.iter().position(|line| *line == start) {
        Some(at) => lines[at + 1..].iter().take_while(|line| !line.starts_with("skep-vm: ")).copied().collect(),
        None => lines[lines.len().saturating_sub(20)..].to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "[    0.1] noise\r\nskep-vm: boot 6.1.0\r\nskep-vm: check a\r\nhello\r\n\
                           skep-vm: result a 0\r\nskep-vm: check b\r\nbad\r\nskep-vm: result b 71\r\n";

    #[test]
    fn the_console_is_read_by_check() {
        let results = results(CONSOLE);
        assert_eq!(results.get("a"), Some(&0));
        assert_eq!(results.get("b"), Some(&71));
        assert_eq!(results.len(), 2);
        assert_eq!(section(CONSOLE, "b"), ["bad"]);
        assert_eq!(section("only\nthis", "c"), ["only", "this"]);
    }
}
