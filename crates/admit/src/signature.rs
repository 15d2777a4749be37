//! Detached signatures.

/// An ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicKey(pub [u8; 32]);

/// A detached signature.
pub struct Signature;

impl PublicKey {
    /// The key of those 64 hexadecimal digits.
    pub fn from_hex(digits: &str) -> Option<Self> {
        crate::hex::decode(digits).map(Self)
    }
}
