//! Detached ed25519 signatures over the BLAKE3 hash of a module, and the keys that make and check them.
//!
//! Keys and signatures are files of one line: a word that says what it is, and hexadecimal digits. What is signed is
//! [`SIGNATURE_CONTEXT`] and the hash, so that a signature made for something else is none for a module.

use std::{fmt, fs, path::Path, str::FromStr};

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use skep_error::{Error, Kind, Result, ResultExt as _};

use crate::{
    Inspection, Rejection, RejectionKind,
    files::{beside, read_text, read_trusted, trusted},
    hex,
};

/// What stands before the hash in the signed message.
pub const SIGNATURE_CONTEXT: &[u8] = b"skep module signature 1\0";
const SECRET_WORD: &str = "skep-secret-key-1";
const PUBLIC_WORD: &str = "skep-public-key-1";
const SIGNATURE_WORD: &str = "skep-signature-1";
/// The ending of public keys in a trust store.
pub const PUBLIC_KEY_EXTENSION: &str = "pub";
/// The ending that a signature's file adds to its module's.
pub const SIGNATURE_EXTENSION: &str = "sig";

/// An ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// An ed25519 secret key.
pub struct SecretKey(SigningKey);

/// A detached signature: whose it is said to be, and the 64 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key it is said to be made with.
    pub key: PublicKey,
    /// The signature.
    pub bytes: [u8; 64],
}

fn message(hash: &[u8; 32]) -> Vec<u8> {
    [SIGNATURE_CONTEXT, hash].concat()
}

/// The digits of a line `word digits…`.
fn after<'a>(text: &'a str, word: &str, what: &str) -> Result<&'a str> {
    let mut words = text.split_whitespace();
    if words.next() != Some(word) {
        return Err(Error::new(Kind::BadInput, format!("this is no {what}"))
            .help(format!("the file of a {what} starts with \"{word} \"")));
    }
    words.next().ok_or_else(|| Error::new(Kind::BadInput, format!("the {what} is cut off")))
}

fn digits<const N: usize>(digits: &str, what: &str) -> Result<[u8; N]> {
    hex::decode(digits)
        .ok_or_else(|| Error::new(Kind::BadInput, format!("the {what} is not {} hexadecimal digits", 2 * N)))
}

impl SecretKey {
    /// A new key out of the system's random bytes.
    ///
    /// # Errors
    /// `Io` where the system gives none.
    pub fn generate() -> Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed)
            .map_err(|error| Error::new(Kind::Io, error.to_string()).context("drawing random bytes for a key"))?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The key that checks what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a module's hash.
    pub fn sign(&self, hash: &[u8; 32]) -> Signature {
        Signature { key: self.public(), bytes: self.0.sign(&message(hash)).to_bytes() }
    }

    /// The key's file.
    pub fn to_text(&self) -> String {
        format!("{SECRET_WORD} {}\n", hex::encode(&self.0.to_bytes()))
    }
}

impl FromStr for SecretKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let seed = digits(after(text, SECRET_WORD, "secret key")?, "secret key")?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }
}

impl PublicKey {
    /// The key of those 64 hexadecimal digits.
    pub fn from_hex(digits: &str) -> Option<Self> {
        hex::decode(digits).map(Self)
    }

    /// The key's file.
    pub fn to_text(&self) -> String {
        format!("{PUBLIC_WORD} {self}\n")
    }

    /// Whether `signature` is this key's over `hash`. Keys and signatures of the malleable or weak kind are refused.
    pub fn verify(&self, hash: &[u8; 32], signature: &Signature) -> bool {
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else { return false };
        let bytes = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        key.verify_strict(&message(hash), &bytes).is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        digits(after(text, PUBLIC_WORD, "public key")?, "public key").map(Self)
    }
}

impl fmt::Display for PublicKey {
    /// 64 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl Signature {
    /// The signature of a module's file: what the file `named` holds, or else the one beside the module, `MODULE.sig`, which
    /// need not be there.
    ///
    /// # Errors
    /// `Io` and its like where a file that is there, or is named, cannot be read; `BadInput` where it is no signature.
    pub fn of(module: &Path, named: Option<&Path>) -> Result<Option<Self>> {
        let beside = beside(module, SIGNATURE_EXTENSION);
        let path = named.unwrap_or(&beside);
        match read_text(path) {
            Ok(text) => text.parse::<Self>().map(Some).context(|| format!("reading {}", path.display())),
            Err(error) if error.kind() == Kind::NotFound && named.is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The signature's file.
    pub fn to_text(&self) -> String {
        format!("{SIGNATURE_WORD} {}:{}\n", self.key, hex::encode(&self.bytes))
    }
}

impl FromStr for Signature {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (key, bytes) = after(text, SIGNATURE_WORD, "signature")?
            .split_once(':')
            .ok_or_else(|| Error::new(Kind::BadInput, "the signature is cut off"))?;
        Ok(Self { key: PublicKey(digits(key, "signature's key")?), bytes: digits(bytes, "signature")? })
    }
}

impl Inspection {
    /// Checks a detached signature over this module. A good one puts its key among [`Self::signers`]; what a key is
    /// trusted with is the policy's affair. One that does not fit stands against the module.
    pub fn add_signature(&mut self, signature: &Signature) {
        if signature.key.verify(&self.hash, signature) {
            self.signers.push(signature.key);
        } else {
            let reason = Rejection::new(RejectionKind::BadSignature, signature.key.to_string())
                .expected(format!("a signature over {}", self.hash_hex()));
            self.reasons.push(reason);
        }
    }
}

/// The public keys in the files `*.pub` of a directory, in the order of the files' names.
///
/// # Errors
/// `Io` and its like where the directory or a file cannot be read; `BadInput`, with the file's name, for one that
/// holds no key: a trust store that is half read would refuse without a reason; `Refused` where everyone may write the
/// directory or a key's file.
pub fn trust_store(directory: &Path) -> Result<Vec<PublicKey>> {
    let doing = || format!("reading the trust store {}", directory.display());
    trusted(directory, &fs::metadata(directory).context(doing)?).map_err(|error| error.context(doing()))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).context(doing)? {
        let path = entry.context(doing)?.path();
        if path.extension().is_some_and(|extension| extension == PUBLIC_KEY_EXTENSION) {
            files.push(path);
        }
    }
    files.sort();
    files
        .iter()
        .map(|path| {
            // A pipe would be waited for without an end.
            if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
                let error = Error::new(Kind::BadInput, "it is no file").help("a trust store holds one file a key");
                return Err(error.context(format!("reading {}", path.display())));
            }
            read_trusted(path)?.parse::<PublicKey>().context(|| format!("reading {}", path.display()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_fits_its_module_and_key_and_no_other() {
        let key = SecretKey::generate().unwrap();
        let signature: Signature = key.sign(&[7; 32]).to_text().parse().unwrap();
        assert!(key.public().verify(&[7; 32], &signature));
        assert!(!key.public().verify(&[8; 32], &signature));
        assert!(!SecretKey::generate().unwrap().public().verify(&[7; 32], &signature));
        let mut changed = signature;
        changed.bytes[40] ^= 1;
        assert!(!key.public().verify(&[7; 32], &changed));
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        let weak = PublicKey::from_hex("0100000000000000000000000000000000000000000000000000000000000000").unwrap();
        let mut bytes = [0; 64];
        bytes[0] = 1;
        assert!(!weak.verify(&[7; 32], &Signature { key: weak, bytes }));
    }

    #[test]
    fn keys_survive_their_files_and_other_text_is_no_key() {
        let key = SecretKey::generate().unwrap();
        let again: SecretKey = key.to_text().parse().unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(key.public().to_text().parse::<PublicKey>().unwrap(), key.public());
        assert!(key.to_text().parse::<PublicKey>().is_err());
        assert!("skep-public-key-1 00".parse::<PublicKey>().is_err());
        assert!("".parse::<Signature>().is_err());
    }

    #[test]
    fn a_trust_store_reads_its_keys_and_names_the_file_that_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let key = SecretKey::generate().unwrap().public();
        fs::write(directory.path().join("a.pub"), key.to_text()).unwrap();
        fs::write(directory.path().join("README"), "not a key").unwrap();
        assert_eq!(trust_store(directory.path()).unwrap(), [key]);
        fs::write(directory.path().join("b.pub"), "not a key").unwrap();
        let error = trust_store(directory.path()).unwrap_err();
        assert!(error.to_string().contains("b.pub"), "{error}");
        fs::remove_file(directory.path().join("b.pub")).unwrap();
        let odd = directory.path().join("c.pub");
        rustix::fs::mknodat(rustix::fs::CWD, &odd, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let error = trust_store(directory.path()).unwrap_err();
        assert!(error.to_string().contains("c.pub: it is no file"), "{error}");
        fs::remove_file(&odd).unwrap();
        std::os::unix::fs::symlink("a.pub", &odd).unwrap();
        assert_eq!(trust_store(directory.path()).unwrap(), [key, key], "a link to a key is a key");
    }

    #[test]
    fn a_trust_store_that_everyone_may_write_is_none() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = trust_store(directory.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
    }
}
