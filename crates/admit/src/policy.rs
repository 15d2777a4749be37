//! What an operator allows: a TOML file.
//!
//! ```toml
//! require_signature = true
//! trust = "/etc/skep/trust"      # a directory of *.pub; relative to the policy's own
//! keys = ["<64 digits>"]         # trusted keys besides those of the directory
//! revoked = ["<64 digits>"]      # hashes of modules that never run
//! deny_features = ["threads"]
//!
//! [ceiling]
//! fuel = 50_000_000
//!
//! [[grant]]                      # of every module; others name a `hash` or a signer's `key`
//! capabilities = ["log"]
//!
//! [[grant]]
//! key = "<64 digits>"
//! capabilities = ["map-read", "files"]
//! directories = ["/var/lib/skep"]   # relative to the policy's own
//! ceiling = { pages = 1_024 }
//! ```

use std::path::{Path, PathBuf};

use serde::Deserialize;
use skep_abi::{CAPABILITIES, Capability};
use skep_error::{Error, Kind, Result, ResultExt as _, did_you_mean};

use crate::{Feature, Inspection, PublicKey, budget::Ceiling, files::read_trusted, hex, signature::trust_store};

/// What an operator allows. The default allows modules that import nothing, in the default budget.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether only modules run that a trusted key signed.
    pub require_signature: bool,
    /// The trusted keys.
    pub keys: Vec<PublicKey>,
    /// The hashes of modules that never run.
    pub revoked: Vec<[u8; 32]>,
    /// The features that no module may use.
    pub deny_features: Vec<Feature>,
    /// The ceilings of every module.
    pub ceiling: Ceiling,
    /// What is granted, to whom.
    pub grants: Vec<Grant>,
}

/// Something granted to some modules. There is no grant by name: a module gives itself its name.
#[derive(Clone, Debug)]
pub struct Grant {
    /// To whom.
    pub to: Grantee,
    /// Capabilities.
    pub capabilities: Vec<&'static Capability>,
    /// The directories below which capability `files` opens files.
    pub directories: Vec<PathBuf>,
    /// Ceilings in place of the policy's.
    pub ceiling: Ceiling,
}

/// To whom a grant is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// Every module.
    Anyone,
    /// The module of that BLAKE3 hash.
    Module([u8; 32]),
    /// Every module that this key signed; it has to be trusted.
    Signer(PublicKey),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    require_signature: bool,
    trust: Option<PathBuf>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    revoked: Vec<String>,
    #[serde(default)]
    deny_features: Vec<String>,
    #[serde(default)]
    ceiling: Ceiling,
    #[serde(default)]
    grant: Vec<GrantEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantEntry {
    hash: Option<String>,
    key: Option<String>,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    directories: Vec<PathBuf>,
    #[serde(default)]
    ceiling: Ceiling,
}

fn bad(message: String) -> Error {
    Error::new(Kind::BadInput, message)
}

fn digits(text: &str, what: &str) -> Result<[u8; 32]> {
    hex::decode(text).ok_or_else(|| bad(format!("{what} \"{text}\" is not 64 hexadecimal digits")))
}

impl Policy {
    /// Grants every capability to every module: for a module of one's own.
    pub fn allow_all() -> Self {
        let grant = Grant {
            to: Grantee::Anyone,
            capabilities: CAPABILITIES.iter().collect(),
            directories: Vec::new(),
            ceiling: Ceiling::default(),
        };
        Self { grants: vec![grant], ..Self::default() }
    }

    /// Reads a policy file and the trust store it names.
    ///
    /// # Errors
    /// `Io` and its like where a file cannot be read, `BadInput` where it says something that cannot be understood: a
    /// policy is read whole or not at all.
    pub fn load(path: &Path) -> Result<Self> {
        let text = read_trusted(path).context(|| "loading the policy")?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, base).context(|| format!("reading the policy {}", path.display()))
    }

    /// Reads a policy's text; a relative trust store, and relative directories, lie below `base`.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str, base: &Path) -> Result<Self> {
        let file: File = toml::from_str(text).map_err(|error| bad(error.to_string()))?;
        let mut keys = file.keys.iter().map(|key| digits(key, "key").map(PublicKey)).collect::<Result<Vec<_>>>()?;
        if let Some(trust) = &file.trust {
            keys.extend(trust_store(&base.join(trust))?);
        }
        let feature = |name: &String| {
            let names = || Feature::ALL.iter().map(|feature| feature.name());
            Feature::from_name(name)
                .ok_or_else(|| bad(format!("no feature \"{name}\"")).help(did_you_mean(name, names())))
        };
        Ok(Self {
            require_signature: file.require_signature,
            keys,
            revoked: file.revoked.iter().map(|hash| digits(hash, "revoked hash")).collect::<Result<_>>()?,
            deny_features: file.deny_features.iter().map(feature).collect::<Result<_>>()?,
            ceiling: file.ceiling,
            grants: file.grant.iter().map(|grant| grant.read(base)).collect::<Result<_>>()?,
        })
    }

    /// The trusted keys that signed the module.
    pub fn trusted_signers(&self, module: &Inspection) -> Vec<PublicKey> {
        module.signers.iter().copied().filter(|key| self.keys.contains(key)).collect()
    }

    /// The grants that hold for the module.
    pub fn grants_of<'a>(&'a self, module: &'a Inspection) -> impl Iterator<Item = &'a Grant> {
        let signers = self.trusted_signers(module);
        self.grants.iter().filter(move |grant| match grant.to {
            Grantee::Anyone => true,
            Grantee::Module(hash) => hash == module.hash,
            Grantee::Signer(key) => signers.contains(&key),
        })
    }
}

impl GrantEntry {
    fn read(&self, base: &Path) -> Result<Grant> {
        let to = match (&self.hash, &self.key) {
            (None, None) => Grantee::Anyone,
            (Some(hash), None) => Grantee::Module(digits(hash, "hash")?),
            (None, Some(key)) => Grantee::Signer(PublicKey(digits(key, "key")?)),
            (Some(_), Some(_)) => return Err(bad("a grant names a hash and a key".into()).help("write two grants")),
        };
        let capability = |name: &String| {
            let names = || CAPABILITIES.iter().map(|capability| capability.name);
            Capability::from_name(name)
                .ok_or_else(|| bad(format!("no capability \"{name}\"")).help(did_you_mean(name, names())))
        };
        Ok(Grant {
            to,
            capabilities: self.capabilities.iter().map(capability).collect::<Result<_>>()?,
            directories: self.directories.iter().map(|directory| base.join(directory)).collect(),
            ceiling: self.ceiling,
        })
    }
}
