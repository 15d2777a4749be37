//! Running other programs, with errors that name them.

use skep_error::{Error, Kind, Result, ResultExt as _};
use std::{
    path::PathBuf,
    process::{Command, ExitStatus},
};

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// `cargo`, the one that runs this command, in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// True if the program answers `--version`.
pub(crate) fn exists(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Runs to the end; the exit status is the caller's to judge.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().context(|| format!("starting {}", shown(command)))
}

/// Runs to the end; anything but success is an error.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if status.success() { Ok(()) } else { Err(failed(command, status)) }
}

/// Runs to the end and returns what it wrote to stdout; anything but success is an error that shows its stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().context(|| format!("starting {}", shown(command)))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(failed(command, output.status).detail(String::from_utf8_lossy(&output.stderr)))
    }
}

fn failed(command: &Command, status: ExitStatus) -> Error {
    Error::new(Kind::Io, format!("{} ended with {status}", shown(command)))
}

fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}
