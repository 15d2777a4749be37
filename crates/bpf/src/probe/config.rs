use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

/// The options that the running kernel was built with, where it or its package tells.
pub(super) struct Config {
    /// The text in the format of `.config`; `None` when no file has it.
    text: Option<String>,
    /// Where it was found.
    pub(super) path: Option<PathBuf>,
}

impl Config {
    /// From `/proc/config.gz`, else from `/boot/config-<release>`.
    pub(super) fn of_this_kernel() -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let boot = PathBuf::from(format!("/boot/config-{}", release.trim()));
        let packed = Path::new("/proc/config.gz");
        if let Some(text) = unpack(packed) {
            return Self { text: Some(text), path: Some(packed.to_owned()) };
        }
        match fs::read_to_string(&boot) {
            Ok(text) => Self { text: Some(text), path: Some(boot) },
            Err(_) => Self { text: None, path: None },
        }
    }

    /// From the text itself.
    #[cfg(test)]
    pub(super) fn parse(text: &str) -> Self {
        Self { text: Some(text.to_owned()), path: None }
    }

    /// Whether `option` is `y` or `m`; `None` when the configuration is not known.
    pub(super) fn is_set(&self, option: &str) -> Option<bool> {
        let text = self.text.as_ref()?;
        if option.is_empty() {
            return None;
        }
        let value = text.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix('='));
        Some(matches!(value, Some("y" | "m")))
    }
}

/// The kernel's configuration is some 300 KB; a file that unpacks to more is not one.
fn unpack(path: &Path) -> Option<String> {
    let packed = fs::File::open(path).ok()?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).take(8 << 20).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_whole_names() {
        let config = Config::parse("CONFIG_BPF_JIT=y\nCONFIG_VETH=m\n# CONFIG_KPROBES is not set\nCONFIG_HZ=250\n");
        assert_eq!(config.is_set("CONFIG_BPF_JIT"), Some(true));
        assert_eq!(config.is_set("CONFIG_VETH"), Some(true));
        assert_eq!(config.is_set("CONFIG_BPF"), Some(false));
        assert_eq!(config.is_set("CONFIG_KPROBES"), Some(false));
        assert_eq!(Config { text: None, path: None }.is_set("CONFIG_BPF"), None);
    }
}
