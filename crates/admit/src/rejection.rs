use std::fmt;

use skep_abi::World;
use skep_error::one_line;

macro_rules! kinds {
    ($($variant:ident, $code:literal, $about:literal, $help:literal;)*) => {
        /// Why a module is refused. A row of this table makes the kind, its code, its text and its line in the docs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RejectionKind {
            $(#[doc = $about] $variant,)*
        }

        impl RejectionKind {
            /// Every kind, in the order of the documentation.
            pub const ALL: &'static [RejectionKind] = &[$(RejectionKind::$variant,)*];

            /// The kind's name in JSON reports; it never changes.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// What is wrong, in one line, without the item.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }

            /// What to do about it.
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

kinds! {
    Empty, "empty", "the file is empty", "check that the build wrote it";
    NotWasm, "not-wasm", "the bytes are no WebAssembly module", "a module starts with the bytes 00 61 73 6d";
    Component, "component", "it is a component, not a core module", "build a core module (for Rust: wasm32-unknown-unknown or wasm32-wasip1)";
    WasmVersion, "wasm-version", "the module's format has another version", "rebuild it with a current toolchain";
    Truncated, "truncated", "the module ends in the middle of a section", "it was cut off on its way here: copy or build it again";
    Malformed, "malformed", "the module breaks the rules of WebAssembly", "rebuild it; if it comes from a compiler, that compiler has a defect";
    TooManyItems, "too-many-items", "the module has more items of a kind than are read", "link with less exported; a real module has far fewer";
    NoWorld, "no-world", "the module speaks no world of Skep", "build it with an SDK of one of the worlds";
    UnknownImport, "unknown-import", "an import is not known in the module's world", "remove the import, or build with the SDK of this world";
    ImportType, "import-type", "an import has another type than the host's", "declare the import as the SDK does";
    MissingExport, "missing-export", "a function or memory that the host needs is not exported", "export it; for C: __attribute__((export_name(\"…\")))";
    ExportType, "export-type", "an export has another type than the host calls it with", "give the function the type that is expected";
    DataOutsideMemory, "data-outside-memory", "a data segment lies outside the memory's initial size", "raise the initial memory, or move the data";
    StartFunction, "start-function", "a plugin has a start function, which would run before any check of its calls", "build it without one (for C: -nostartfiles)";
    DuplicateSection, "duplicate-section", "a section of Skep's stands twice", "remove one: two of them could be read differently by two readers";
    MissingMetadata, "missing-metadata", "the plugin's description is missing", "the SDK writes it: use #[skep::plugin] or SKEP_PLUGIN";
    MetadataTooLarge, "metadata-too-large", "the plugin's description is too large", "shorten it; usage texts belong in the README";
    MetadataNotUtf8, "metadata-not-utf8", "the plugin's description is not UTF-8", "write it as UTF-8";
    MetadataTooDeep, "metadata-too-deep", "the plugin's description is nested too deep", "an object of objects is all that is read";
    MetadataNotJson, "metadata-not-json", "the plugin's description is not the JSON object it should be", "see the fields in the documentation of world hooks";
    UnknownHook, "unknown-hook", "a hook that does not exist is declared", "declare only filter, shape and observe";
    NoHook, "no-hook", "no hook is declared", "declare at least one of filter, shape and observe";
    WireVersion, "wire-version", "a hook's wire version is not supported by this host", "rebuild with the SDK of this host's version";
    MissingFingerprint, "missing-fingerprint", "a declared hook ships no schema fingerprint", "the SDK writes it: build with the SDK";
    FingerprintLength, "fingerprint-length", "a schema fingerprint is not 32 bytes long", "the SDK writes it: build with the SDK";
    FingerprintMismatch, "fingerprint-mismatch", "a hook's data layout is not the host's", "rebuild with the SDK of this host's version";
    UndeclaredHook, "undeclared-hook", "a hook is exported that the description does not declare", "declare the hook, or do not export it";
    UnknownSection, "unknown-section", "a schema section's name is not that of a hook and version", "name it skep.schema.<hook>.v<version>";
    UnknownCapability, "unknown-capability", "a capability that does not exist is declared", "see the table of capabilities";
    UndeclaredCapability, "undeclared-capability", "an import needs a capability that the description does not declare", "declare the capability, or remove the import";
    WrongSlot, "wrong-slot", "the module does not offer what the slot needs", "use the module in the slot it was made for";
    CapabilityDenied, "capability-denied", "the policy does not grant a capability that the module needs", "grant it to the module's hash or to its signer's key in the policy";
    MemoryAboveCap, "memory-above-cap", "the memory starts above what the policy allows", "build with a smaller stack and less data (for Rust: -Clink-arg=-zstack-size=65536; for Emscripten: -sINITIAL_MEMORY=1MB -sTOTAL_STACK=64KB), or raise `pages` in the policy";
    TableAboveCap, "table-above-cap", "a table starts above what the policy allows", "raise `table_elements` in the policy";
    FeatureDenied, "feature-denied", "the module uses a feature of WebAssembly that guests may not use", "build without the feature";
    Unsigned, "unsigned", "the policy demands a signature and the module has none that is trusted", "sign it: skep sign KEY MODULE; and put the public key into the trust store";
    BadSignature, "bad-signature", "the signature does not fit the module", "the module or the signature was changed: get both again, or sign again";
    Revoked, "revoked", "the policy revokes this module", "use a later version of it";
}

/// One reason against a module, as data: what kind, about which item, what was expected, what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub kind: RejectionKind,
    /// The world whose rule it is; `None` where it holds for every module.
    pub world: Option<World>,
    /// The import, export, section or key it is about, as `module.name` or a name; empty where it is the module.
    pub item: String,
    /// What the host expected.
    pub expected: Option<String>,
    /// What it found.
    pub found: Option<String>,
    /// A near name, or what to do in this very case, where more can be said than [`RejectionKind::help`].
    pub hint: Option<String>,
}

impl Rejection {
    /// A rejection that says nothing but its kind and item.
    pub fn new(kind: RejectionKind, item: impl Into<String>) -> Self {
        Self { kind, world: None, item: item.into(), expected: None, found: None, hint: None }
    }

    pub(crate) fn in_world(mut self, world: World) -> Self {
        self.world = Some(world);
        self
    }

    pub(crate) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub(crate) fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint: String = hint.into();
        self.hint = Some(one_line(&hint).into_owned());
        self
    }

    /// What to do about it.
    pub fn help(&self) -> &str {
        self.hint.as_deref().unwrap_or(self.kind.help())
    }
}

impl fmt::Display for Rejection {
    /// One line: `wasm_bpf.wasm_lod: an import is not known …: expected …, found …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.item.is_empty() {
            write!(f, "{}: ", one_line(&self.item))?;
        }
        f.write_str(self.kind.about())?;
        let (expected, found) = (self.expected.as_deref().map(one_line), self.found.as_deref().map(one_line));
        match (expected, found) {
            (Some(expected), Some(found)) => write!(f, ": expected {expected}, found {found}"),
            (Some(expected), None) => write!(f, ": expected {expected}"),
            (None, Some(found)) => write!(f, ": found {found}"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for Rejection {}

impl From<Rejection> for skep_error::Error {
    fn from(rejection: Rejection) -> Self {
        use RejectionKind as K;
        let kind = match rejection.kind {
            K::Empty | K::NotWasm | K::Component | K::WasmVersion | K::Truncated | K::Malformed => {
                skep_error::Kind::BadInput
            }
            _ => skep_error::Kind::Refused,
        };
        let help = rejection.help().to_owned();
        skep_error::Error::wrap(kind, rejection).help(help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_line_break_stays_in_its_line() {
        let rejection =
            Rejection::new(RejectionKind::UnknownImport, "wasm_bpf.x\nskep: error: forged").found("a\nb").hint("c\nd");
        let text = rejection.to_string();
        assert!(text.starts_with("wasm_bpf.x\\nskep: error: forged: "), "{text}");
        assert!(text.ends_with(": found a\\nb"), "{text}");
        assert_eq!(rejection.help(), "c\\nd");
    }
}
