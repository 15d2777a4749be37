//! What there is to build, read from the tree: no list to keep.
//!
//! - `examples/<name>/` is one sample; its language shows by its files: `<name>.c`, `Cargo.toml` or `go.mod`. One
//!   without eBPF of its own is a plugin: `plugin.c`, or `Cargo.toml` alone.
//! - `tests/suite/guests/<name>.c` and `benches/guests/<name>.c` are one guest each, and so is a directory beside them with
//!   a Cargo.toml.
//! - `benches/native/<name>.c` is one baseline.
//!
//! Every `*.bpf.c` of the same directory is compiled first; its object and its skeleton are found by `#include` and
//! `#embed` as `<stem>.skel.h` and `<stem>.bpf.o`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use skep_error::{Error, Kind, Result, ResultExt as _, did_you_mean};

use crate::{Tool, bpf, build_dir, guest, native, plugin, workspace};

/// The tree's collections of things to build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collection {
    /// `examples/*/`
    Examples,
    /// `tests/suite/guests/*.c`
    TestGuests,
    /// `benches/guests/*.c`
    BenchGuests,
    /// `benches/native/*.c`
    Baselines,
}

/// The language of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// C with `guest/c/skep.h`.
    C,
    /// Rust with `crates/guest`.
    Rust,
    /// Go, GOOS=wasip1.
    Go,
    /// C with libbpf, on this machine.
    NativeC,
    /// A plugin in Rust with `crates/guest`.
    RustPlugin,
    /// A plugin in C with `guest/c/skep_plugin.h`.
    CPlugin,
}

/// One thing to build.
#[derive(Clone, Debug)]
pub struct Item {
    /// The name on the command line.
    pub name: String,
    /// What it is written in.
    pub language: Language,
    /// The directory of its sources.
    pub dir: PathBuf,
    /// Where the result belongs: a module beside its source, a baseline in the build directory.
    pub result: PathBuf,
}

impl Collection {
    /// The collection's directory.
    pub fn dir(self) -> PathBuf {
        workspace().join(match self {
            Self::Examples => "examples",
            Self::TestGuests => "tests/suite/guests",
            Self::BenchGuests => "benches/guests",
            Self::Baselines => "benches/native",
        })
    }

    /// What the collection holds, by name.
    ///
    /// # Errors
    /// Those of reading its directory.
    pub fn items(self) -> Result<Vec<Item>> {
        let dir = self.dir();
        let mut items = Vec::new();
        for entry in fs::read_dir(&dir).context(|| format!("reading {}", dir.display()))? {
            let path = entry.context(|| format!("reading {}", dir.display()))?.path();
            items.extend(match self {
                Self::Examples => sample(&path),
                _ => single(self, &path),
            });
        }
        items.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(items)
    }

    /// Those of the names asked for, or all where none is.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a name that is not there, with the nearest one.
    pub fn select(self, names: &[String]) -> Result<Vec<Item>> {
        let items = self.items()?;
        if let Some(unknown) = names.iter().find(|name| !items.iter().any(|item| item.name == **name)) {
            let near = did_you_mean(unknown, items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>());
            return Err(Error::new(Kind::NotFound, format!("{} holds no {unknown:?}", self.dir().display())).help(near));
        }
        Ok(items.into_iter().filter(|item| names.is_empty() || names.contains(&item.name)).collect())
    }
}

/// The sample in that directory, where there is one.
fn sample(dir: &Path) -> Option<Item> {
    let name = dir.file_name()?.to_str()?.to_owned();
    let language = if dir.join(format!("{name}.c")).is_file() {
        Language::C
    } else if dir.join("Cargo.toml").is_file() && dir.join(format!("{name}.bpf.c")).is_file() {
        Language::Rust
    } else if dir.join("Cargo.toml").is_file() {
        Language::RustPlugin
    } else if dir.join("plugin.c").is_file() {
        Language::CPlugin
    } else if dir.join("go.mod").is_file() {
        Language::Go
    } else {
        return None;
    };
    Some(Item { result: dir.join(format!("{name}.wasm")), dir: dir.to_owned(), name, language })
}

/// The guest or baseline that this file is the source of.
fn single(collection: Collection, path: &Path) -> Option<Item> {
    if path.join("Cargo.toml").is_file() {
        let name = path.file_name()?.to_str()?.to_owned();
        let result = path.with_extension("wasm");
        return Some(Item { name, language: Language::Rust, dir: path.to_owned(), result });
    }
    let name = path.file_name()?.to_str()?;
    if path.join(format!("{name}.c")).is_file() {
        // A guest with objects of its own has a directory of its own.
        let (result, name) = (path.with_extension("wasm"), name.to_owned());
        return Some(Item { name, language: Language::C, dir: path.to_owned(), result });
    }
    let name = name.strip_suffix(".c").filter(|name| !name.ends_with(".bpf"))?.to_owned();
    let dir = path.parent()?.to_owned();
    let (language, result) = match collection {
        Collection::Baselines => (Language::NativeC, build_dir().join("native").join(&name)),
        _ => (Language::C, dir.join(format!("{name}.wasm"))),
    };
    Some(Item { name, language, dir, result })
}

impl Item {
    /// Builds it, eBPF first, and writes the result to `to`.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] where a tool chain is missing; [`Kind::BadInput`] where a source is at fault.
    pub fn build(&self, to: &Path) -> Result<()> {
        let objects = self.objects().context(|| format!("building {}", self.name))?;
        let source = self.dir.join(format!("{}.c", self.name));
        let includes = [self.dir.clone(), objects.clone()];
        match self.language {
            Language::C => guest::c(&source, to, &includes),
            Language::RustPlugin => plugin::rust(&self.dir, &self.name, to),
            Language::CPlugin => plugin::c(&self.dir.join("plugin.c"), to),
            Language::NativeC => native::compile(&source, to, &includes),
            Language::Rust => {
                let object = objects.join(format!("{}.bpf.o", self.name));
                guest::rust(&self.dir, &self.name, to, &[("SKEP_BPF_OBJECT", &object)])
            }
            Language::Go => {
                // go:embed reads nothing outside the package: build in a copy that has the object in it.
                for entry in fs::read_dir(&self.dir).context(|| format!("reading {}", self.dir.display()))? {
                    let path = entry.context(|| format!("reading {}", self.dir.display()))?.path();
                    let go = path.extension().is_some_and(|extension| extension == "go" || extension == "mod");
                    if let (true, Some(file)) = (go, path.file_name()) {
                        fs::copy(&path, objects.join(file)).context(|| format!("copying {}", path.display()))?;
                    }
                }
                guest::go(&objects, to)
            }
        }
        .context(|| format!("building {}", self.name))
    }

    /// Compiles the directory's eBPF sources and their skeletons, once a process: guests share a directory. Gives the
    /// directory of the results.
    fn objects(&self) -> Result<PathBuf> {
        static COMPILED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
        let tag = self.dir.strip_prefix(workspace()).unwrap_or(&self.dir);
        let out = build_dir().join("bpf").join(tag);
        // Held while compiling: who comes second finds everything there.
        let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.contains(&out) {
            return Ok(out);
        }
        fs::create_dir_all(&out).context(|| format!("making {}", out.display()))?;
        for entry in fs::read_dir(&self.dir).context(|| format!("reading {}", self.dir.display()))? {
            let source = entry.context(|| format!("reading {}", self.dir.display()))?.path();
            let Some(stem) = source.file_name().and_then(|file| file.to_str()).and_then(|f| f.strip_suffix(".bpf.c"))
            else {
                continue;
            };
            let object = out.join(format!("{stem}.bpf.o"));
            bpf::compile(&source, &object, std::slice::from_ref(&self.dir))?;
            // Older bpftools know no arena: ask for a skeleton only where one is included.
            let header = format!("{stem}.skel.h");
            if self.includes(&header)? {
                bpf::skeleton(&object, stem, &out.join(header))?;
            }
        }
        compiled.insert(out.clone());
        Ok(out)
    }

    /// Whether a C source of the directory includes that header.
    fn includes(&self, header: &str) -> Result<bool> {
        let line = format!("#include \"{header}\"");
        for entry in fs::read_dir(&self.dir).context(|| format!("reading {}", self.dir.display()))? {
            let path = entry.context(|| format!("reading {}", self.dir.display()))?.path();
            if path.extension().is_some_and(|extension| extension == "c") {
                let text = fs::read_to_string(&path).context(|| format!("reading {}", path.display()))?;
                if text.contains(&line) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Whether the tool chains for this item are on the machine; where not, the error that says what to install.
    ///
    /// # Errors
    /// [`Kind::Unsupported`].
    pub fn toolchain(&self) -> Result<()> {
        match self.language {
            Language::RustPlugin => return plugin::rust_toolchain(),
            Language::CPlugin => return Tool::CLANG.find().map(drop),
            _ => {}
        }
        for tool in [Tool::CLANG, Tool::STRIP, Tool::BPFTOOL] {
            tool.find()?;
        }
        match self.language {
            Language::Go => Tool::GO.find().map(drop),
            Language::Rust => guest::rust_toolchain(),
            Language::C => guest::c_toolchain(),
            Language::NativeC => Tool::CC.find().map(drop),
            Language::RustPlugin | Language::CPlugin => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_sample_is_named_with_the_nearest_one() {
        let error = Collection::Examples.select(&["bootsrap".to_owned()]).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(error.help_text(), Some("did you mean \"bootstrap\"?"));
    }

    #[test]
    fn every_collection_has_something_in_it() {
        for collection in [Collection::Examples, Collection::TestGuests, Collection::BenchGuests, Collection::Baselines]
        {
            assert!(!collection.items().unwrap().is_empty(), "{collection:?}");
        }
    }
}
