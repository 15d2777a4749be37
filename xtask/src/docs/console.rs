use super::Page;
use crate::process::root;
use skep_error::{Result, ResultExt as _};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// What the console blocks of a page came to.
pub(super) struct Outcome {
    /// Commands that were run.
    pub(super) run: usize,
    /// What does not hold.
    pub(super) faults: Vec<String>,
}

/// A command of a block, and the output that the page shows under it.
#[derive(Debug, PartialEq, Eq)]
struct Example<'a> {
    line: usize,
    command: &'a str,
    shown: Vec<&'a str>,
}

/// Runs the `skep` commands of each block marked `console` and compares their output, stdout first, with what is shown.
///
/// A `…` within a shown line stands for any text, a line of nothing else for any number of lines. Commands behind `sudo`
/// are run when this runs as root. Other commands are not run.
pub(super) fn check(page: &Page, skep: &Path) -> Result<Outcome> {
    let mut outcome = Outcome { run: 0, faults: Vec::new() };
    let root_here = is_root();
    for example in examples(&page.text) {
        let (sudo, command) = match example.command.strip_prefix("sudo ") {
            Some(command) => (true, command),
            None => (false, example.command),
        };
        let Some(args) = command.strip_prefix("skep ") else { continue };
        if sudo && !root_here {
            continue;
        }
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("\"$SKEP\" {args}"))
            .env("SKEP", skep)
            .current_dir(root())
            .stdin(Stdio::null())
            .output()
            .context(|| format!("running {}", example.command))?;
        outcome.run += 1;
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        if !matches(&example.shown, &lines) {
            let printed: String = lines.iter().map(|line| format!("\n    {line}")).collect();
            outcome.faults.push(format!(
                "{}:{}: `{}` does not print what is shown, but:{printed}",
                page.name(),
                example.line,
                example.command
            ));
        }
    }
    Ok(outcome)
}

/// The commands of every block marked `console`.
fn examples(text: &str) -> Vec<Example<'_>> {
    let mut examples: Vec<Example<'_>> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            inside = !inside && line.trim() == "```console";
        } else if !inside {
            continue;
        } else if let Some(command) = line.strip_prefix("$ ") {
            examples.push(Example { line: number + 1, command, shown: Vec::new() });
        } else if let Some(example) = examples.last_mut() {
            example.shown.push(line.trim_end());
        }
    }
    examples
}

/// Whether the lines printed are those shown.
fn matches(shown: &[&str], printed: &[&str]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((&"…", rest)) => (0..=printed.len()).any(|skipped| matches(rest, &printed[skipped..])),
        Some((line, rest)) => {
            printed.split_first().is_some_and(|(first, others)| line_matches(line, first) && matches(rest, others))
        }
    }
}

fn line_matches(shown: &str, printed: &str) -> bool {
    match shown.split_once('…') {
        None => shown == printed,
        Some((before, after)) => printed.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| line_matches(after, &rest[at..]))
        }),
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_their_output_are_read_from_console_blocks() {
        let text = "text\n```console\n$ skep a\none\ntwo\n$ ls\n```\n```sh\n$ skep b\n```\n";
        assert_eq!(
            examples(text),
            [
                Example { line: 3, command: "skep a", shown: vec!["one", "two"] },
                Example { line: 6, command: "ls", shown: vec![] }
            ]
        );
    }

    #[test]
    fn an_ellipsis_stands_for_text_and_for_lines() {
        assert!(matches(&["a", "…", "d"], &["a", "b", "c", "d"]));
        assert!(matches(&["…"], &[]));
        assert!(matches(&["pid … exec"], &["pid 12 exec"]));
        assert!(!matches(&["pid … exec"], &["pid 12 exit"]));
        assert!(!matches(&["a"], &["a", "b"]));
    }
}
