use super::{checks::Check, kernel::Kernel};
use crate::process::{output, root, succeed};
use skep_error::{Error, Kind, Result, ResultExt as _};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs as process 1: mounts, runs each check, says how each ended, powers off.
const INIT: &str = include_str!("scripts/init.sh");
/// What the checks share.
const FUNCTIONS: &str = include_str!("scripts/functions.sh");

/// Builds the initramfs for `kernel` and returns its path.
pub(super) fn build(kernel: &Kernel, skep: &Path, checks: &[&Check]) -> Result<PathBuf> {
    let tree = kernel.dir().join("initramfs");
    _ = fs::remove_dir_all(&tree);
    for dir in ["bin", "proc", "sys", "dev", "tmp", "run", "etc", "checks", "examples", "guests"] {
        fs::create_dir_all(tree.join(dir)).context(|| format!("making {}", tree.display()))?;
    }
    copy(Path::new("/bin/busybox"), &tree.join("bin/busybox"))?;
    copy(skep, &tree.join("bin/skep"))?;
    // The runner of the WebAssembly suite, built beside skep.
    let suite = skep.with_file_name("suite");
    let mut programs = vec![skep];
    if suite.exists() {
        copy(&suite, &tree.join("bin/suite"))?;
        programs.push(&suite);
    }
    for program in programs {
        for library in libraries(program)? {
            copy(&library, &tree.join(library.strip_prefix("/").unwrap_or(&library)))?;
        }
    }
    // The kernel's configuration, where `skep doctor` looks for it.
    copy_all(&kernel.dir().join("root/boot"), "config-", &tree.join("boot"))?;
    guests(&root().join("examples"), &tree.join("examples"))?;
    guests(&root().join("tests/suite/guests"), &tree.join("guests"))?;
    write(&tree.join("init"), INIT)?;
    write(&tree.join("functions.sh"), FUNCTIONS)?;
    make_executable(&tree.join("init"))?;
    for check in checks {
        write(&tree.join("checks").join(check.name), check.script)?;
    }
    // The order in which they stand in the table.
    write(&tree.join("checks.list"), &checks.iter().map(|check| format!("{}\n", check.name)).collect::<String>())?;
    pack(&tree, &kernel.dir().join("initramfs.cpio"))
}

/// The shared libraries that a binary asks for, its loader among them.
fn libraries(binary: &Path) -> Result<Vec<PathBuf>> {
    let listed = output(Command::new("ldd").arg(binary))?;
    Ok(listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect())
}

/// Copies each `<name>/<name>.wasm`, or `<name>.wasm`, to `<name>.wasm`.
fn guests(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            guests(&path, to)?;
        } else if path.extension().is_some_and(|extension| extension == "wasm") {
            copy(&path, &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Copies the files of a directory whose names start with `prefix`.
fn copy_all(from: &Path, prefix: &str, to: &Path) -> Result<()> {
    let entries = fs::read_dir(from).context(|| format!("listing {}", from.display()))?;
    for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn pack(tree: &Path, archive: &Path) -> Result<PathBuf> {
    let listed = output(Command::new("find").arg(".").current_dir(tree))?;
    let list = tree.with_extension("list");
    write(&list, &listed)?;
    let names = fs::File::open(&list).context(|| format!("opening {}", list.display()))?;
    let file = fs::File::create(archive).context(|| format!("creating {}", archive.display()))?;
    succeed(
        Command::new("cpio")
            .args(["--quiet", "--create", "--format=newc", "--owner=+0:+0"])
            .current_dir(tree)
            .stdin(names)
            .stdout(Stdio::from(file)),
    )?;
    Ok(archive.to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let doing = || format!("copying {} to {}", from.display(), to.display());
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).context(doing)?;
    }
    fs::copy(from, to).context(doing).map(|_| ()).map_err(|error| match error.kind() {
        Kind::NotFound => error.help("`dev/setup.sh build vm` installs what this needs"),
        _ => error,
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).context(|| format!("writing {}", path.display()))
}

fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(Error::io)
        .map_err(|error| error.context(format!("making {} executable", path.display())))
}
