//! Tables in the documentation, written by the commands that measure them.

use std::path::Path;

use skep_error::{Error, Kind, Result, ResultExt as _};

/// The file after `--write` on the command line.
pub fn file_to_write() -> Option<std::path::PathBuf> {
    let mut arguments = std::env::args_os();
    arguments.find(|argument| argument == "--write")?;
    arguments.next().map(Into::into)
}

/// Puts `text` between the comments `<!-- name -->` and `<!-- /name -->` of a page.
///
/// # Errors
/// `NotFound` when the page or its comments are not there.
pub fn replace(page: &Path, name: &str, text: &str) -> Result<()> {
    let old = std::fs::read_to_string(page).context(|| format!("reading {}", page.display()))?;
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let place = old.find(&start).map(|at| at + start.len()).zip(old.find(&end));
    let (from, to) = place
        .filter(|(from, to)| from <= to)
        .ok_or_else(|| Error::new(Kind::NotFound, format!("{} has no place called {name}", page.display())))?;
    let new = format!("{}\n{}\n{}", &old[..from], text.trim_end(), &old[to..]);
    std::fs::write(page, new).context(|| format!("writing {}", page.display()))
}
