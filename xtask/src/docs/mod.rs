//! `xtask docs`: what the documentation says, checked against the code and the binary.
//!
//! - [`generated`]: tables that stand in the code, between `<!-- generated: NAME -->` and `<!-- end -->`
//! - [`console`]: blocks marked `console`: their `skep` commands are run and their output is compared
//! - [`links`]: links to files, and the book's table of contents

mod console;
mod generated;
mod links;

use crate::process::{self, cargo, root, target};
use skep_error::{Error, Kind, Result, ResultExt as _};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What `xtask docs` takes.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check the generated tables, the links, and every console block whose command is skep
    Check {
        /// Use this skep instead of building one
        #[arg(long)]
        skep: Option<PathBuf>,
    },
    /// Rewrite the generated tables
    Bless,
}

/// One page: where it is, and its text.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    /// The path from the workspace's root.
    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap_or(&self.path).display().to_string()
    }
}

/// Checks or rewrites; 1 if something does not hold.
pub(crate) fn run(command: &Command) -> Result<u8> {
    let pages = pages()?;
    let faults = match command {
        Command::Bless => {
            for page in &pages {
                let fresh = generated::rewrite(page)?;
                if fresh != page.text {
                    fs::write(&page.path, fresh).context(|| format!("writing {}", page.name()))?;
                    println!("docs: rewrote {}", page.name());
                }
            }
            Vec::new()
        }
        Command::Check { skep } => check(&pages, skep.as_deref())?,
    };
    for fault in &faults {
        eprintln!("docs: {fault}");
    }
    Ok(u8::from(!faults.is_empty()))
}

fn check(pages: &[Page], skep: Option<&Path>) -> Result<Vec<String>> {
    let skep = match skep {
        Some(path) => path.to_owned(),
        None => {
            process::succeed(cargo().args(["build", "--locked", "--quiet", "-p", "skep-cli"]))?;
            target().join("debug/skep")
        }
    };
    let mut faults = Vec::new();
    let mut commands = 0;
    for page in pages {
        if generated::rewrite(page)? != page.text {
            faults
                .push(format!("{}: a generated table is out of date; `cargo run -p xtask -- docs bless`", page.name()));
        }
        faults.extend(links::check(page));
        let outcome = console::check(page, &skep)?;
        commands += outcome.run;
        faults.extend(outcome.faults);
    }
    faults.extend(links::unlisted(pages));
    println!("docs: {} pages, {commands} commands run, {} faults", pages.len(), faults.len());
    Ok(faults)
}

/// README, CHANGELOG, the book, and the READMEs of samples and gadgets.
fn pages() -> Result<Vec<Page>> {
    let mut paths = vec![root().join("README.md"), root().join("CHANGELOG.md")];
    for dir in ["docs/src", "benches", "examples", "gadgets"] {
        collect(&root().join(dir), &mut paths);
    }
    paths.sort();
    if !paths.iter().any(|path| path.ends_with("docs/src/SUMMARY.md")) {
        return Err(Error::new(Kind::NotFound, "docs/src/SUMMARY.md is missing"));
    }
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).context(|| format!("reading {}", path.display()))?;
            Ok(Page { path, text })
        })
        .collect()
}

fn collect(dir: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.ends_with("node_modules") && !path.ends_with("target") {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}
