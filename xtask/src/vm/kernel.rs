use crate::process::{output, succeed, target};
use skep_error::{Error, Kind, Result, ResultExt as _};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A kernel that Debian ships.
pub(crate) struct Kernel {
    /// What the command line calls it.
    pub(crate) name: &'static str,
    /// Major and minor version, to compare.
    pub(crate) version: (u32, u32),
    /// The release that ships it, with security updates for a stable one.
    suites: &'static [(&'static str, &'static str)],
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

impl Kernel {
    /// Every kernel that is checked: the floor, and a newer one.
    pub(crate) const ALL: &'static [Kernel] = &[
        Kernel {
            name: "6.1",
            version: (6, 1),
            suites: &[("debian", "bookworm"), ("debian-security", "bookworm-security")],
        },
        Kernel { name: "6.12", version: (6, 12), suites: &[("debian", "bookworm-backports")] },
    ];

    /// Where this kernel's files are kept.
    pub(crate) fn dir(&self) -> PathBuf {
        target().join("vm").join(self.name)
    }

    /// The kernel's image; downloaded and unpacked if it is not there yet, never installed.
    pub(crate) fn fetch(&self) -> Result<PathBuf> {
        let boot = self.dir().join("root/boot");
        if let Some(image) = image_in(&boot) {
            return Ok(image);
        }
        let dir = self.dir();
        eprintln!("vm: downloading Linux {} into {}", self.name, dir.display());
        let apt = Apt::new(&dir.join("apt"), self.suites)?;
        let package = apt.kernel_package()?;
        succeed(apt.get(&["download", &package]).current_dir(&dir))?;
        let deb = fs::read_dir(&dir)
            .context(|| format!("listing {}", dir.display()))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or_else(|| Error::new(Kind::Internal, format!("no package in {}", dir.display())))?;
        // Unpacked beside, then renamed: an interrupted run leaves nothing that looks whole.
        let part = dir.join("root.part");
        _ = fs::remove_dir_all(&part);
        succeed(Command::new("dpkg").arg("-x").args([&deb, &part]))?;
        // Modules are four fifths of the package and no check needs one.
        _ = fs::remove_dir_all(part.join("lib/modules"));
        _ = fs::remove_dir_all(part.join("usr/lib/modules"));
        fs::rename(&part, dir.join("root")).context(|| format!("keeping {}", part.display()))?;
        fs::remove_file(&deb).context(|| format!("removing {}", deb.display()))?;
        image_in(&boot).ok_or_else(|| Error::new(Kind::NotFound, format!("no vmlinuz in {}", boot.display())))
    }
}

fn image_in(boot: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(boot).ok()?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
}

/// apt with lists and a cache of its own, so that the machine's configuration is neither used nor changed.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(dir: &Path, suites: &[(&str, &str)]) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part)).context(|| format!("making {}", dir.display()))?;
        }
        let mirror = std::env::var("SKEP_DEBIAN_MIRROR").or_else(|_| mirror_of_this_machine())?;
        let sources: String = suites
            .iter()
            .map(|(archive, suite)| format!("deb [signed-by={KEYRING}] {mirror}/{archive} {suite} main\n"))
            .collect();
        let list = dir.join("sources.list");
        fs::write(&list, sources).context(|| format!("writing {}", list.display()))?;
        let dir = dir.canonicalize().context(|| format!("resolving {}", dir.display()))?;
        let at = |path: &str| dir.join(path).display().to_string();
        let options = [
            ("Dir::Etc::SourceList", at("sources.list")),
            ("Dir::Etc::SourceParts", "/dev/null".to_owned()),
            ("Dir::State::Lists", at("lists")),
            ("Dir::Cache", at("cache")),
            // As root apt would download as a user who may not be able to write here.
            ("APT::Sandbox::User", "root".to_owned()),
            ("APT::Architecture", "amd64".to_owned()),
        ];
        let options = options.iter().flat_map(|(key, value)| ["-o".to_owned(), format!("{key}={value}")]).collect();
        let apt = Self { options };
        succeed(&mut apt.get(&["--quiet=2", "update"]))?;
        Ok(apt)
    }

    fn get(&self, args: &[&str]) -> Command {
        let mut command = Command::new("apt-get");
        command.args(&self.options).args(args);
        command
    }

    /// The package that `linux-image-amd64` stands for: its newest version's first dependency.
    fn kernel_package(&self) -> Result<String> {
        let mut show = Command::new("apt-cache");
        show.args(&self.options).args(["show", "--no-all-versions", "linux-image-amd64"]);
        let shown = output(&mut show)?;
        let depends = shown.lines().find_map(|line| line.strip_prefix("Depends: "));
        let package = depends.and_then(|depends| depends.split([' ', ',']).next());
        package
            .map(str::to_owned)
            .ok_or_else(|| Error::new(Kind::NotFound, "linux-image-amd64 is not among the packages of this suite"))
    }
}

/// Where this machine's own packages come from, without the archive's name: on Debian it has the kernels too.
fn mirror_of_this_machine() -> Result<String> {
    let sites = output(Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]))?;
    let debian = sites.lines().find_map(|site| site.trim_end_matches('/').strip_suffix("/debian"));
    debian.map(str::to_owned).ok_or_else(|| {
        Error::new(Kind::NotFound, "this machine's package sources name no Debian archive")
            .help("say where one is: SKEP_DEBIAN_MIRROR=URL, without the archive's name at its end")
    })
}
