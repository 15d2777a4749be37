//! Plugins of world `hooks`: a source in Rust or C → a module that imports nothing.

use std::path::Path;

use skep_error::{Error, Kind, Result, ResultExt as _};

use crate::{
    Tool, build_dir, guest,
    tool::{make_parent, output},
    workspace,
};

const RUST_TARGET: &str = "wasm32-unknown-unknown";
const LINKER: Tool = Tool {
    name: "wasm-ld",
    variable: "SKEP_WASM_LD",
    names: &["wasm-ld-19", "wasm-ld-20", "wasm-ld-21", "wasm-ld-18", "wasm-ld"],
    install: "apt install lld-19",
};

/// Compiles a plugin in C, freestanding, with `guest/c/skep_plugin.h`.
///
/// # Errors
/// [`Kind::Unsupported`] where clang is missing, [`Kind::BadInput`] with its messages where it fails.
pub fn c(source: &Path, module: &Path) -> Result<()> {
    make_parent(module)?;
    let mut clang = Tool::CLANG.command()?;
    clang.args(["--target=wasm32", "-O3", "-nostdlib", "-ffreestanding", "-mbulk-memory", "-Wall", "-Werror", "-I"]);
    clang.arg(workspace().join("guest/c")).args(["-Wl,--no-entry", "-Wl,--strip-debug", "-o"]).arg(module).arg(source);
    output(&mut clang)
        .map(drop)
        .context(|| format!("compiling {}", source.display()))
        .map_err(|error| error.help("apt install clang-19 lld-19"))
}

/// Compiles a plugin in Rust: the package in `dir`, a `cdylib` named `name`, without the standard library.
///
/// # Errors
/// [`Kind::Unsupported`] where this machine's Rust cannot build for wasm32; [`Kind::BadInput`] with cargo's messages
/// where it fails.
pub fn rust(dir: &Path, name: &str, module: &Path) -> Result<()> {
    make_parent(module)?;
    let target_dir = build_dir().join("rust");
    let mut cargo = Tool::CARGO.command()?;
    cargo.args(["build", "--release", "--target", RUST_TARGET, "--target-dir"]).arg(&target_dir);
    cargo.arg("--manifest-path").arg(dir.join("Cargo.toml"));
    if !guest::target_installed(RUST_TARGET) {
        rust_toolchain()?;
        cargo.arg("-Zbuild-std=core").env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", LINKER.find()?);
    }
    // The guest's profile is its own; what the host's build was asked for must not reach it.
    for variable in ["RUSTFLAGS", "CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN"] {
        cargo.env_remove(variable);
    }
    output(&mut cargo).context(|| format!("compiling {}", dir.display()))?;
    let file = format!("{}.wasm", name.replace('-', "_"));
    let built = target_dir.join(RUST_TARGET).join("release").join(file);
    std::fs::copy(&built, module).map(drop).context(|| format!("copying {}", built.display()))
}

/// Whether a plugin in Rust can be built here.
///
/// # Errors
/// [`Kind::Unsupported`] with what to install.
pub fn rust_toolchain() -> Result<()> {
    Tool::CARGO.find()?;
    if guest::target_installed(RUST_TARGET) {
        return Ok(());
    }
    if !Path::new("/usr/bin/rustc").is_file() || !Path::new("/usr/lib/rustlib/src").exists() {
        return Err(Error::new(Kind::Unsupported, "this machine's Rust cannot build for wasm32-unknown-unknown")
            .help("rustup target add wasm32-unknown-unknown; or apt install rustc-web rust-web-src lld-19"));
    }
    LINKER.find().map(drop)
}
