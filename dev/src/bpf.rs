//! `*.bpf.c` → ELF object → C skeleton.
//!
//! Headers come from two places: `dev/bpf/` (our small `vmlinux.h`: only the kernel structures that programs here
//! read, relocated by CO-RE, so that a fresh clone needs no BTF to build) and the copy of libbpf that the crate
//! `libbpf-sys` vendors, which is the one that the loader is built from.

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

/// Compiles `source` to `object`. `includes` come before our own headers.
///
/// # Errors
/// [`Kind::Unsupported`] where clang is not installed; [`Kind::BadInput`] with its messages where the source is at fault.
pub fn compile(source: &Path, object: &Path, includes: &[PathBuf]) -> Result<()> {
    let doing = || format!("compiling {}", source.display());
    make_parent(object)?;
    let mut clang = Tool::CLANG.command()?;
    clang.args(["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Werror", "-Wno-unused-function"]);
    clang.arg(without_checkout());
    clang.arg(format!("-D__TARGET_ARCH_{}", target_arch()));
    for include in includes {
        clang.arg("-I").arg(include);
    }
    clang.arg("-I").arg(workspace().join("dev/bpf"));
    for include in libbpf_headers()? {
        clang.arg("-I").arg(include);
    }
    // The architecture's asm/ directory, for what <linux/types.h> includes.
    clang.arg("-idirafter").arg(format!("/usr/include/{}-linux-gnu", std::env::consts::ARCH));
    output(clang.arg("-c").arg(source).arg("-o").arg(object)).context(doing)?;
    output(Tool::STRIP.command()?.arg("-g").arg(object)).context(doing)?;
    Ok(())
}

/// Writes the C skeleton of `object` to `header`; its structure is called `<name>_bpf`.
///
/// # Errors
/// [`Kind::Unsupported`] where bpftool is not installed; [`Kind::BadInput`] where it cannot read the object.
pub fn skeleton(object: &Path, name: &str, header: &Path) -> Result<()> {
    make_parent(header)?;
    let identifier = name.replace('-', "_");
    let text = output(
        Tool::BPFTOOL.command()?.args(["gen", "skeleton"]).arg(object).args(["name", &format!("{identifier}_bpf")]),
    )
    .context(|| format!("making the skeleton of {}", object.display()))?;
    std::fs::write(header, text).context(|| format!("writing {}", header.display()))
}

/// The architecture as libbpf's headers spell it.
fn target_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86",
        "aarch64" => "arm64",
        "riscv64" => "riscv",
        "powerpc64" => "powerpc",
        "s390x" => "s390",
        other => other,
    }
}

/// Directories in which `<bpf/bpf_helpers.h>` and `<linux/bpf.h>` are found.
///
/// # Errors
/// [`Kind::NotFound`] where cargo cannot say where `libbpf-sys` is.
pub fn libbpf_headers() -> Result<[PathBuf; 2]> {
    let libbpf = libbpf_source()?;
    let root = build_dir().join("include");
    let link = root.join("bpf");
    // The vendored headers lie flat in `src`; programs include them as <bpf/…>.
    if std::fs::read_link(&link).ok().as_deref() != Some(libbpf.join("src").as_path()) {
        std::fs::create_dir_all(&root).context(|| format!("making {}", root.display()))?;
        match std::fs::remove_file(&link) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io(error).context(format!("replacing {}", link.display())));
            }
            _ => {}
        }
        match std::os::unix::fs::symlink(libbpf.join("src"), &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io(error).context(format!("linking {}", link.display())));
            }
            _ => {}
        }
    }
    Ok([root, libbpf.join("include/uapi")])
}

/// The directory of libbpf's sources in the crate `libbpf-sys`, as this workspace's lock file chose it.
pub(crate) fn libbpf_source() -> Result<PathBuf> {
    let doing = || "asking cargo where libbpf-sys is";
    let mut cargo = Command::new(Tool::CARGO.find()?);
    cargo.args(["metadata", "--format-version=1", "--manifest-path"]).arg(workspace().join("Cargo.toml"));
    let metadata: serde_json::Value = serde_json::from_slice(&output(&mut cargo).context(doing)?)
        .map_err(|error| Error::wrap(Kind::Internal, error).context(doing()))?;
    let manifest = metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == "libbpf-sys"))
        .and_then(|package| package["manifest_path"].as_str())
        .ok_or_else(|| Error::new(Kind::NotFound, "libbpf-sys is not among the dependencies"))?;
    Ok(Path::new(manifest).with_file_name("libbpf"))
}
