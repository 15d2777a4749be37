//! Guests: a source in C, Rust or Go → a WASI module.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use skep_error::{Error, Kind, Result, ResultExt as _};

use crate::{
    Tool, build_dir,
    tool::{make_parent, output},
    without_checkout, workspace,
};

/// Where Debian's `wasi-libc` keeps its objects.
const DEBIAN_WASI: &str = "/usr/lib/wasm32-wasi";
const WASI_HELP: &str = "apt install wasi-libc libclang-rt-19-dev-wasm32 clang-19 lld-19; or set WASI_SDK_PATH";
const RUST_TARGET: &str = "wasm32-wasip1";

/// Compiles a C guest to a WASI command. `includes` hold its skeletons; `guest/c` is always there.
///
/// # Errors
/// [`Kind::Unsupported`] where clang is missing, [`Kind::BadInput`] with its messages where it fails: most often for
/// want of the WASI C library.
pub fn c(source: &Path, module: &Path, includes: &[PathBuf]) -> Result<()> {
    make_parent(module)?;
    let mut clang = match std::env::var_os("WASI_SDK_PATH") {
        Some(sdk) => Command::new(Path::new(&sdk).join("bin/clang")),
        None => Tool::CLANG.command()?,
    };
    clang.args(["--target=wasm32-wasi", "-std=gnu2x", "-Os", "-Wall", "-Werror", "-Wno-unused-function"]);
    clang.arg(without_checkout());
    for include in includes {
        clang.arg("-I").arg(include).arg(format!("--embed-dir={}", include.display()));
    }
    clang.arg("-I").arg(workspace().join("guest/c"));
    // The table is how the host calls back; the stack lies first so that an overflow traps instead of eating data.
    clang.args(["-Wl,--export-table", "-Wl,--stack-first", "-Wl,--strip-all", "-o"]).arg(module).arg(source);
    output(&mut clang)
        .map(drop)
        .context(|| format!("compiling {}", source.display()))
        .map_err(|error| error.help(WASI_HELP))
}

/// Compiles a Rust guest, the package in `dir` with a binary of the same name, to a WASI command.
///
/// With rustup, the target `wasm32-wasip1` must be installed; without, the standard library is built from Debian's
/// `rust-web-src`.
///
/// # Errors
/// [`Kind::Unsupported`] where neither way is open; [`Kind::BadInput`] with cargo's messages where it fails.
pub fn rust(dir: &Path, name: &str, module: &Path, environment: &[(&str, &Path)]) -> Result<()> {
    make_parent(module)?;
    let target_dir = build_dir().join("rust");
    let mut cargo = Tool::CARGO.command()?;
    cargo.args(["build", "--release", "--target", RUST_TARGET, "--target-dir"]).arg(&target_dir);
    cargo.arg("--manifest-path").arg(dir.join("Cargo.toml"));
    // The table is how the host calls back.
    let mut flags = "-Clink-arg=--export-table".to_owned();
    if !target_installed(RUST_TARGET) {
        debian_std(&mut cargo, &mut flags)?;
    }
    cargo.env("CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS", flags).env_remove("RUSTFLAGS");
    // The guest's profile is its own; what the host's build was asked for must not reach it.
    cargo.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTUP_TOOLCHAIN");
    for (key, value) in environment {
        cargo.env(key, value);
    }
    output(&mut cargo).context(|| format!("compiling {}", dir.display()))?;
    let built = target_dir.join(RUST_TARGET).join("release").join(format!("{name}.wasm"));
    std::fs::copy(&built, module).map(drop).context(|| format!("copying {}", built.display()))
}

/// Whether a guest in C can be built here.
///
/// # Errors
/// [`Kind::Unsupported`] with what to install.
pub fn c_toolchain() -> Result<()> {
    if std::env::var_os("WASI_SDK_PATH").is_some() {
        return Ok(());
    }
    Tool::CLANG.find()?;
    if Path::new(DEBIAN_WASI).join("crt1-command.o").is_file() {
        return Ok(());
    }
    Err(Error::new(Kind::Unsupported, "the WASI C library is not installed").help(WASI_HELP))
}

/// Whether a guest in Rust can be built here.
///
/// # Errors
/// [`Kind::Unsupported`] with what to install.
pub fn rust_toolchain() -> Result<()> {
    Tool::CARGO.find()?;
    if target_installed(RUST_TARGET) { Ok(()) } else { debian_std(&mut Command::new("true"), &mut String::new()) }
}

/// Whether the machine's own Rust has the standard library of a target.
pub(crate) fn target_installed(target: &str) -> bool {
    let printed = Command::new("rustc").args(["--print", "target-libdir", "--target", target]).output();
    printed.is_ok_and(|printed| {
        let dir = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
        printed.status.success() && Path::new(&dir).is_dir()
    })
}

/// Makes `cargo` build the standard library itself, with Debian's compiler and its sources, on Debian's WASI C library.
fn debian_std(cargo: &mut Command, flags: &mut String) -> Result<()> {
    let (rustc, source) = (Path::new("/usr/bin/rustc"), Path::new("/usr/lib/rustlib/src"));
    let libc = Path::new(DEBIAN_WASI);
    if !rustc.is_file() || !source.exists() || !libc.join("crt1-command.o").is_file() {
        return Err(Error::new(Kind::Unsupported, "this machine's Rust cannot build for wasm32-wasip1")
            .help("rustup target add wasm32-wasip1; or apt install rustc-web rust-web-src wasi-libc lld-19"));
    }
    let linker = Tool {
        name: "wasm-ld",
        variable: "SKEP_WASM_LD",
        names: &["wasm-ld-19", "wasm-ld-20", "wasm-ld-21", "wasm-ld-18", "wasm-ld"],
        install: "apt install lld-19",
    };
    cargo.arg("-Zbuild-std=std,panic_abort");
    cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_WASM32_WASIP1_LINKER", linker.find()?);
    flags.push_str(&format!(
        " -Clink-self-contained=no -Clink-arg={0}/crt1-command.o -Clink-arg=-L{0} -Clink-arg=-lc",
        libc.display()
    ));
    Ok(())
}

/// Compiles the Go program in `dir` to a WASI command.
///
/// # Errors
/// [`Kind::Unsupported`] where Go is not installed; [`Kind::BadInput`] with its messages where it fails.
pub fn go(dir: &Path, module: &Path) -> Result<()> {
    make_parent(module)?;
    let mut go = Tool::GO.command()?;
    go.args(["build", "-trimpath", "-ldflags=-s -w", "-o"]).arg(module).arg(".").current_dir(dir);
    go.env("GOOS", "wasip1").env("GOARCH", "wasm").env("GOFLAGS", "-mod=mod").env("GO111MODULE", "on");
    output(&mut go).map(drop).context(|| format!("compiling {}", dir.display()))
}
