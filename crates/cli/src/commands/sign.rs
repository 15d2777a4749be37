//! `skep keygen`, `skep sign` and `skep verify`: who answers for a module.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use skep_admit::{
    PUBLIC_KEY_EXTENSION, PublicKey, SIGNATURE_EXTENSION, SecretKey, Signature, beside, inspect, read_module,
    read_text, trust_store,
};
use skep_error::{Error, Kind, Result, ResultExt as _};

use crate::console;

/// Arguments of `skep keygen`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skep keygen release    writes release (secret, mode 600) and release.pub")]
pub(crate) struct KeygenArgs {
    /// Where the secret key goes; the public one goes beside it, with the ending .pub
    key: PathBuf,
}

/// Arguments of `skep sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  skep sign release filter.wasm    writes filter.wasm.sig")]
pub(crate) struct SignArgs {
    /// The secret key
    key: PathBuf,
    /// The module
    module: PathBuf,
}

/// Arguments of `skep verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  skep verify --key release.pub filter.wasm
  skep verify --trust /etc/skep/trust filter.wasm

Exit status: 0 signed by one of the keys, 1 not.")]
pub(crate) struct VerifyArgs {
    /// A trusted public key; may stand several times
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// A directory of trusted public keys, *.pub
    #[arg(long, value_name = "DIR")]
    trust: Option<PathBuf>,
    /// The signature, where it does not lie beside the module
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// The module
    module: PathBuf,
}

pub(crate) fn keygen(args: &KeygenArgs) -> Result<u8> {
    let key = SecretKey::generate()?;
    let public = beside(&args.key, PUBLIC_KEY_EXTENSION);
    create(&args.key, 0o600, &key.to_text())?;
    create(&public, 0o644, &key.public().to_text())?;
    console::print(&format!("{}: the secret key, which signs; keep it to yourself\n", args.key.display()))?;
    console::print(&format!(
        "{}: the public key {}, which checks; give it to others\n",
        public.display(),
        key.public()
    ))?;
    Ok(0)
}

pub(crate) fn sign(args: &SignArgs) -> Result<u8> {
    let key: SecretKey = parsed(&args.key)?;
    if fs::metadata(&args.key).is_ok_and(|metadata| metadata.mode() & 0o077 != 0) {
        let path = args.key.display();
        console::note(&format!("others than its owner may read or write the secret key {path}: chmod 600 {path}"));
    }
    let bytes = read_module(&args.module)?;
    let module = inspect(&bytes);
    if let Some(reason) = module.reasons.iter().find(|_| module.unreadable()) {
        let doing = format!("signing {}", args.module.display());
        return Err(Error::from(reason.clone()).context(doing));
    }
    let path = beside(&args.module, SIGNATURE_EXTENSION);
    fs::write(&path, key.sign(&module.hash).to_text()).context(|| format!("writing {}", path.display()))?;
    console::print(&format!("{}: a signature over {} by {}\n", path.display(), module.hash_hex(), key.public()))?;
    Ok(0)
}

pub(crate) fn verify(args: &VerifyArgs) -> Result<u8> {
    let mut keys: Vec<PublicKey> = args.key.iter().map(|path| parsed(path)).collect::<Result<_>>()?;
    if let Some(trust) = &args.trust {
        keys.extend(trust_store(trust)?);
    }
    if keys.is_empty() {
        return Err(Error::new(Kind::Usage, "no key to verify against")
            .help("name a public key with --key, or a directory of them with --trust"));
    }
    let bytes = read_module(&args.module)?;
    let path = args.signature.clone().unwrap_or_else(|| beside(&args.module, SIGNATURE_EXTENSION));
    let signature: Signature = match parsed(&path) {
        Err(error) if error.kind() == Kind::NotFound => {
            return Err(
                error.help("the signature is looked for beside the module; name another place with --signature")
            );
        }
        parsed => parsed?,
    };
    let doing = || format!("verifying {}", args.module.display());
    let mut module = inspect(&bytes);
    module.reasons.clear();
    module.add_signature(&signature);
    if let Some(reason) = module.reasons.first() {
        return Err(Error::from(reason.clone()).context(doing()));
    }
    if !keys.contains(&signature.key) {
        let message = format!("the signature is good, but by {}, which is none of the keys given", signature.key);
        let help = "to trust that key, name its file with --key or put it into the directory of --trust";
        return Err(Error::new(Kind::Refused, message).help(help).context(doing()));
    }
    console::print(&format!("{}: signed by {}\n", args.module.display(), signature.key))?;
    Ok(0)
}

fn parsed<T: std::str::FromStr<Err = Error>>(path: &Path) -> Result<T> {
    read_text(path)?.parse::<T>().map_err(|error| error.context(format!("reading {}", path.display())))
}

/// Writes a file that is not there yet: a key is never overwritten.
fn create(path: &Path, mode: u32, text: &str) -> Result<()> {
    let doing = || format!("writing {}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(|error| {
        let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
        let error = Error::io(error).context(doing());
        if exists { error.help("a key is never overwritten: choose another name") } else { error }
    })?;
    file.write_all(text.as_bytes()).context(doing)
}
