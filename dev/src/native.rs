//! The bench's baselines: C programs that do natively what a guest does, linked with the libbpf that the loader uses.

use std::path::{Path, PathBuf};

use skep_error::{Result, ResultExt as _};

use crate::{
    Tool, bpf, build_dir,
    tool::{make_parent, output},
};

/// Compiles `source` to `program`, with `includes` for skeletons.
///
/// libbpf is compiled from the vendored sources once, so that the baseline and Skep run the same loader and ring code.
///
/// # Errors
/// [`skep_error::Kind::Unsupported`] where no C compiler is there; [`skep_error::Kind::BadInput`] with its messages
/// where the source is at fault or libelf's development files are missing.
pub fn compile(source: &Path, program: &Path, includes: &[PathBuf]) -> Result<()> {
    make_parent(program)?;
    let library = libbpf()?;
    let mut cc = Tool::CC.command()?;
    cc.args(["-O2", "-g", "-Wall", "-o"]).arg(program).arg(source);
    for include in includes.iter().chain(&bpf::libbpf_headers()?) {
        cc.arg("-I").arg(include);
    }
    cc.arg(library).args(["-lelf", "-lz"]);
    output(&mut cc)
        .map(drop)
        .context(|| format!("compiling {}", source.display()))
        .map_err(|error| error.help("the baselines need libelf and zlib: apt install gcc libelf-dev zlib1g-dev"))
}

/// The static library of the vendored libbpf, built on first use.
fn libbpf() -> Result<PathBuf> {
    let library = build_dir().join("libbpf/libbpf.a");
    if library.is_file() {
        return Ok(library);
    }
    let source = bpf::libbpf_source()?.join("src");
    let objects = build_dir().join("libbpf/objects");
    std::fs::create_dir_all(&objects).context(|| format!("making {}", objects.display()))?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&source).context(|| format!("reading {}", source.display()))? {
        let path = entry.context(|| format!("reading {}", source.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            files.push(path);
        }
    }
    files.sort();
    let mut cc = Tool::CC.command()?;
    cc.args(["-O2", "-g", "-fPIC", "-D_LARGEFILE64_SOURCE", "-D_FILE_OFFSET_BITS=64", "-c"]).args(&files);
    cc.arg("-I").arg(source.join("../include")).arg("-I").arg(source.join("../include/uapi")).arg("-I").arg(&source);
    output(cc.current_dir(&objects)).context(|| "compiling libbpf for the baselines")?;
    let mut ar = std::process::Command::new("ar");
    ar.arg("rcs").arg(&library);
    for file in files {
        ar.arg(objects.join(file.with_extension("o").file_name().unwrap_or_default()));
    }
    output(&mut ar).context(|| "archiving libbpf for the baselines")?;
    Ok(library)
}
