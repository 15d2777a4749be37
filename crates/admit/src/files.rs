//! Files that decide what may run: read up to a bound, and only where nobody else decides what they hold.

use std::{
    fs::{self, File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use skep_error::{Error, Kind, Result, ResultExt as _, nearest, one_line};

use crate::limits::MAX_MODULE;

/// Bytes of the largest key, signature or policy that is read.
const MAX_TEXT: u64 = 1 << 20;

/// The file that goes with `path`: its name with `.ending` behind it.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// The bytes of a module's file, which may be a pipe.
///
/// # Errors
/// `Io` and its like where it cannot be read; `BadInput` above [`MAX_MODULE`] bytes.
pub fn read_module(path: &Path) -> Result<Vec<u8>> {
    let doing = || format!("reading {}", path.display());
    let file = File::open(path).context(doing).map_err(|error| with_near(error, path))?;
    read(file, MAX_MODULE).map_err(|error| error.context(doing()))
}

/// Says which file was meant, where one of nearly that name lies in the same directory.
pub fn with_near(error: Error, path: &Path) -> Error {
    /// Names of a directory that are looked at.
    const NAMES: usize = 4096;
    let near = || {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let names = fs::read_dir(directory).ok()?.take(NAMES).flatten();
        let names: Vec<_> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        let near = nearest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
        Some(path.with_file_name(near))
    };
    match (error.kind() == Kind::NotFound).then(near).flatten() {
        Some(near) => error.help(format!("did you mean {}?", one_line(&near.to_string_lossy()))),
        None => error,
    }
}

/// The text of a key or a signature, which may be a pipe.
///
/// # Errors
/// `Io` and its like where it cannot be read; `BadInput` where it is long or not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let doing = || format!("reading {}", path.display());
    let file = File::open(path).context(doing)?;
    text(file).map_err(|error| error.context(doing()))
}

/// The text of a file that grants something: of a trust store, or a policy.
///
/// # Errors
/// As [`read_text`]; `Refused` where everyone may write it.
pub(crate) fn read_trusted(path: &Path) -> Result<String> {
    let doing = || format!("reading {}", path.display());
    trusted(path, &fs::metadata(path).context(doing)?).map_err(|error| error.context(doing()))?;
    read_text(path)
}

/// Whether a file or directory that grants something is only what its owner and group made it.
pub(crate) fn trusted(path: &Path, metadata: &Metadata) -> Result<()> {
    const WRITTEN_BY_ALL: u32 = 0o002;
    if metadata.mode() & WRITTEN_BY_ALL == 0 {
        return Ok(());
    }
    let message = "everyone may write it, and so decide what runs";
    Err(Error::new(Kind::Refused, message).help(format!("chmod o-w {}", path.display())))
}

fn text(file: File) -> Result<String> {
    String::from_utf8(read(file, MAX_TEXT)?).map_err(|_| Error::new(Kind::BadInput, "it is not UTF-8"))
}

fn read(file: File, most: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A pipe or a device does not say how much is to come.
    file.take(most + 1).read_to_end(&mut bytes).map_err(Error::io)?;
    if bytes.len() as u64 > most {
        return Err(Error::new(Kind::BadInput, format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_has_no_end_is_read_up_to_the_bound() {
        let error = read_text(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.kind(), Kind::BadInput);
        assert!(error.to_string().contains("/dev/zero: it has more than 1048576 bytes"), "{error}");
    }

    #[test]
    fn what_everyone_may_write_grants_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let with_mode = |mode| {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            read_trusted(file.path())
        };
        assert_eq!(with_mode(0o664).unwrap(), "");
        let error = with_mode(0o666).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.help_text().unwrap().starts_with("chmod o-w /"), "{error:?}");
    }
}
