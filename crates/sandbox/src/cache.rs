//! Compiled modules, kept on disk.
//!
//! An entry is machine code that the next run executes, so it is worth as much as the directory is safe. A directory is
//! used only if it and all above it can be written by nobody but this user and root; an entry only if it is a plain file
//! of this user's with the right key and an intact checksum. Whatever fails a check is compiled anew.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use skep_error::{Error, Kind, Result, ResultExt as _};

const MAGIC: &[u8; 8] = b"skep-cm1";
/// Magic, key and checksum.
const HEADER: usize = 8 + 32 + 32;
/// An entry longer than this is not read.
const LONGEST: u64 = 512 << 20;

/// What to do where a directory cannot be made safe.
const ELSEWHERE: &str = "choose another place with XDG_CACHE_HOME (root's is always /var/cache), or use --no-cache";

/// A directory of compiled modules.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

/// What a compiled module is kept under: a hash of the module, the engine's settings and this version of Skep.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; 32]);

impl Key {
    pub(crate) fn new(engine: &wasmtime::Engine, wasm: &[u8]) -> Self {
        let mut settings = blake3::Hasher::new();
        // The standard hasher is only a way to get at the settings: they are fed to BLAKE3 byte by byte.
        std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut Feed(&mut settings));
        settings.update(env!("CARGO_PKG_VERSION").as_bytes());
        settings.update(blake3::hash(wasm).as_bytes());
        Self(settings.finalize().into())
    }

    fn file_name(&self) -> String {
        let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}.cwasm")
    }
}

struct Feed<'a>(&'a mut blake3::Hasher);

impl std::hash::Hasher for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

impl Cache {
    /// The user's own cache: `$XDG_CACHE_HOME/skep/modules` or `~/.cache/skep/modules`; for root, who often has
    /// another's environment, `/var/cache/skep/modules`. `None` when there is no such place.
    pub fn for_user() -> Option<Self> {
        let base = if rustix::process::geteuid().is_root() {
            PathBuf::from("/var/cache")
        } else {
            let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
            absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")))?
        };
        Some(Self { directory: base.join("skep").join("modules") })
    }

    /// A cache in a directory of the caller's choice, under the same checks.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// The entry of that key, when it is there and can be trusted.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let path = self.directory.join(key.file_name());
        if !self.directory.is_dir() {
            return Ok(None);
        }
        self.check_directory()?;
        match read_entry(&path, key) {
            Ok(code) => Ok(code),
            // One that may not be read is another user's: it is replaced like any that is not what it should be.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
            // So is a link, which is not followed.
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Ok(None),
            Err(error) => Err(Error::io(error).context(format!("reading the cached module {}", path.display()))),
        }
    }

    /// Keeps `code` under `key`. Another process that keeps the same at the same time does no harm.
    pub(crate) fn put(&self, key: &Key, code: &[u8]) -> Result<()> {
        let doing = || format!("keeping a compiled module in {}", self.directory.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory).context(doing)?;
        self.check_directory()?;
        let unfinished = self.directory.join(format!(".{}-{}", std::process::id(), key.file_name()));
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(MAGIC)?;
            file.write_all(&key.0)?;
            file.write_all(blake3::hash(code).as_bytes())?;
            file.write_all(code)?;
            fs::rename(&unfinished, self.directory.join(key.file_name()))
        };
        write().inspect_err(|_| drop(fs::remove_file(&unfinished))).context(doing)
    }

    /// Only this user and root may be able to write the directory or to put another in its place.
    fn check_directory(&self) -> Result<()> {
        let doing = || format!("checking the module cache {}", self.directory.display());
        let user = rustix::process::geteuid().as_raw();
        let real = self.directory.canonicalize().context(doing)?;
        for (depth, part) in real.ancestors().enumerate() {
            let meta = fs::symlink_metadata(part).context(doing)?;
            // A sticky directory such as /tmp lets others write, not rename what is this user's.
            let sticky = depth > 0 && meta.mode() & 0o1000 != 0;
            let others_write = meta.mode() & 0o022 != 0 && !sticky;
            let part = part.display();
            let refused = |why: String, help: String| Err(Error::new(Kind::Refused, why).context(doing()).help(help));
            if meta.uid() != user && meta.uid() != 0 {
                let why = format!("{part} belongs to user {}, who can change what is in it", meta.uid());
                return refused(why, format!("chown it, delete it, or {ELSEWHERE}"));
            }
            if others_write {
                return refused(
                    format!("{part} can be written by others"),
                    format!("chmod go-w {part}, or {ELSEWHERE}"),
                );
            }
        }
        Ok(())
    }
}

/// `None` for an entry that is not what it should be.
fn read_entry(path: &Path, key: &Key) -> io::Result<Option<Vec<u8>>> {
    // Nor does a pipe in an entry's place keep anybody waiting.
    let no_follow = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits() as i32;
    let file: File = OpenOptions::new().read(true).custom_flags(no_follow).open(path)?;
    let meta = file.metadata()?;
    let own = meta.is_file() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0;
    if !own || meta.len() < HEADER as u64 || meta.len() > LONGEST {
        return Ok(None);
    }
    let mut entry = Vec::with_capacity(meta.len() as usize);
    file.take(LONGEST).read_to_end(&mut entry)?;
    let intact = entry.len() >= HEADER
        && entry[..8] == *MAGIC
        && entry[8..40] == key.0
        && entry[40..72] == *blake3::hash(&entry[HEADER..]).as_bytes();
    Ok(intact.then(|| entry.split_off(HEADER)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn cache() -> (tempfile::TempDir, Cache, Key) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::in_directory(dir.path().join("modules"));
        let key = Key::new(crate::Engine::new(crate::Metering::Epoch).unwrap().wasmtime(), b"module");
        (dir, cache, key)
    }

    #[test]
    fn what_is_kept_is_found_again() {
        let (_dir, cache, key) = cache();
        assert_eq!(cache.get(&key).unwrap(), None);
        cache.put(&key, b"code").unwrap();
        assert_eq!(cache.get(&key).unwrap().as_deref(), Some(&b"code"[..]));
    }

    #[test]
    fn a_changed_byte_anywhere_makes_an_entry_worthless() {
        let (_dir, cache, key) = cache();
        cache.put(&key, b"code").unwrap();
        let path = cache.directory.join(key.file_name());
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            fs::write(&path, bad).unwrap();
            assert_eq!(cache.get(&key).unwrap(), None, "byte {at}");
        }
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(cache.get(&key).unwrap(), None);
    }

    #[test]
    fn an_entry_or_a_directory_that_others_can_write_is_not_used() {
        let (_dir, cache, key) = cache();
        cache.put(&key, b"code").unwrap();
        let path = cache.directory.join(key.file_name());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(cache.get(&key).unwrap(), None);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&cache.directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(cache.get(&key).unwrap_err().kind(), Kind::Refused);
        assert_eq!(cache.put(&key, b"code").unwrap_err().kind(), Kind::Refused);
    }

    #[test]
    fn a_link_in_place_of_an_entry_is_not_followed_but_replaced() {
        let (dir, cache, key) = cache();
        cache.put(&key, b"code").unwrap();
        let path = cache.directory.join(key.file_name());
        let elsewhere = dir.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(cache.get(&key).unwrap(), None);
        cache.put(&key, b"anew").unwrap();
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(cache.get(&key).unwrap().as_deref(), Some(&b"anew"[..]));
        assert!(fs::read(&elsewhere).unwrap().ends_with(b"code"));
    }
}
