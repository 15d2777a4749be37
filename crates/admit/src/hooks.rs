//! What a plugin of world `hooks` says of itself: its description and its schema fingerprints.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Serialize,
    de::{MapAccess, Visitor},
};
use skep_abi::{
    World,
    hooks::{Hook, METADATA_SECTION, SCHEMA_PREFIX},
};
use skep_error::did_you_mean;

use crate::{
    Inspection, Rejection, RejectionKind as Kind,
    limits::{self, MAX_DEPTH, MAX_METADATA},
};

/// A plugin's description: the JSON object of the section `skep.plugin.v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The name it gives itself. No grant rests on it.
    pub name: String,
    /// Its version, a text.
    pub version: String,
    /// What it does, in one line.
    #[serde(default)]
    pub description: String,
    /// How it is used.
    #[serde(default)]
    pub usage: String,
    /// Its hooks, by name.
    #[serde(deserialize_with = "distinct_keys")]
    pub hooks: BTreeMap<String, HookMetadata>,
    /// The names of the capabilities it needs.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What it asks for; the policy clamps it.
    #[serde(default)]
    pub budget: BudgetRequest,
}

/// One hook of a plugin's description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookMetadata {
    /// The version of the hook's request and response.
    pub wire_version: u32,
    /// What the hook does, in one line.
    #[serde(default)]
    pub description: String,
    /// How it is used.
    #[serde(default)]
    pub usage: String,
    /// What becomes of a batch when the hook fails on it.
    #[serde(default)]
    pub on_failure: Failure,
}

/// What becomes of a batch that a hook failed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Failure {
    /// It passes as it came.
    #[default]
    Open,
    /// It is dropped and counted.
    Closed,
}

/// The budget a plugin asks for; what it leaves out is the host's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BudgetRequest {
    /// Fuel of one call: about one unit an instruction.
    pub fuel: Option<u64>,
    /// Milliseconds of one call.
    pub deadline_ms: Option<u64>,
    /// Pages of 64 KiB.
    pub pages: Option<u64>,
    /// Bytes of the host's stack that one call may use.
    pub stack_bytes: Option<u64>,
    /// Elements of all tables.
    pub table_elements: Option<u64>,
    /// Bytes of one response.
    pub output_bytes: Option<u64>,
}

/// A hook's schema fingerprint, as the module ships it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Whose request and response it is about.
    pub hook: Hook,
    /// Their version.
    pub wire_version: u32,
    /// BLAKE3 over their layout.
    pub hash: [u8; 32],
}

fn distinct_keys<'de, D, T>(deserializer: D) -> Result<BTreeMap<String, T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Distinct<T>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Distinct<T> {
        type Value = BTreeMap<String, T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object with distinct keys")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = BTreeMap::new();
            while let Some((key, value)) = map.next_entry::<String, T>()? {
                if entries.contains_key(&key) {
                    return Err(serde::de::Error::custom(format!("key \"{key}\" stands twice")));
                }
                entries.insert(key, value);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_map(Distinct(std::marker::PhantomData))
}

/// What the pass over the bytes gathers of a plugin's sections.
#[derive(Default)]
pub(crate) struct PluginSections {
    metadata: Option<Result<Metadata, Rejection>>,
    fingerprints: Vec<Fingerprint>,
    /// The hooks and versions of the schema sections seen, good or not.
    schemas: Vec<(Hook, u32)>,
    reasons: Vec<Rejection>,
}

fn reason(kind: Kind, item: impl Into<String>) -> Rejection {
    Rejection::new(kind, item).in_world(World::Hooks)
}

impl PluginSections {
    pub(crate) fn present(&self) -> bool {
        self.metadata.is_some() || !self.schemas.is_empty() || !self.reasons.is_empty()
    }

    pub(crate) fn metadata(&mut self, data: &[u8]) {
        if self.metadata.is_some() {
            self.reasons.push(reason(Kind::DuplicateSection, METADATA_SECTION));
            return;
        }
        self.metadata = Some(read_metadata(data));
    }

    pub(crate) fn fingerprint(&mut self, name: &str, data: &[u8]) {
        let Some((hook, wire_version)) = parse_name(name) else {
            let hooks: Vec<&str> = Hook::ALL.iter().map(|hook| hook.name()).collect();
            self.reasons.push(
                reason(Kind::UnknownSection, name).expected(format!("{SCHEMA_PREFIX}<{}>.v<version>", hooks.join("|"))),
            );
            return;
        };
        if self.schemas.contains(&(hook, wire_version)) {
            self.reasons.push(reason(Kind::DuplicateSection, name));
            return;
        }
        self.schemas.push((hook, wire_version));
        match <[u8; 32]>::try_from(data) {
            Ok(hash) => self.fingerprints.push(Fingerprint { hook, wire_version, hash }),
            Err(_) => self.reasons.push(
                reason(Kind::FingerprintLength, name).expected("32 bytes").found(format!("{} bytes", data.len())),
            ),
        }
    }

    /// Checks what was gathered, and the module against it.
    pub(crate) fn conclude(mut self, found: &mut Inspection) {
        found.reasons.append(&mut self.reasons);
        found.fingerprints = self.fingerprints;
        if found.start {
            found.reasons.push(reason(Kind::StartFunction, ""));
        }
        match self.metadata {
            None => found.reasons.push(reason(Kind::MissingMetadata, METADATA_SECTION)),
            Some(Err(bad)) => found.reasons.push(bad),
            Some(Ok(metadata)) => {
                declared(found, &metadata);
                found.metadata = Some(metadata);
            }
        }
    }
}

fn parse_name(name: &str) -> Option<(Hook, u32)> {
    let (hook, version) = name.strip_prefix(SCHEMA_PREFIX)?.split_once(".v")?;
    let digits = !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit()) && !version.starts_with('0');
    Some((Hook::from_name(hook)?, version.parse().ok().filter(|_| digits)?))
}

fn read_metadata(data: &[u8]) -> Result<Metadata, Rejection> {
    let bad = |kind| reason(kind, METADATA_SECTION);
    if data.len() > MAX_METADATA {
        return Err(bad(Kind::MetadataTooLarge)
            .expected(format!("at most {MAX_METADATA} bytes"))
            .found(format!("{} bytes", data.len())));
    }
    let text = std::str::from_utf8(data).map_err(|error| bad(Kind::MetadataNotUtf8).found(error.to_string()))?;
    let depth = depth(text);
    if depth > MAX_DEPTH {
        return Err(bad(Kind::MetadataTooDeep)
            .expected(format!("at most {MAX_DEPTH} levels"))
            .found(format!("{depth} levels")));
    }
    let metadata: Metadata =
        serde_json::from_str(text).map_err(|error| bad(Kind::MetadataNotJson).found(error.to_string()))?;
    // Each of them may become a reason, with a text of its own.
    limits::declared("declared hooks", metadata.hooks.len())?;
    limits::declared("declared capabilities", metadata.capabilities.len())?;
    Ok(metadata)
}

/// How many objects and arrays are open at once at most; unknown members count too, which the reader skips.
fn depth(text: &str) -> usize {
    let (mut open, mut deepest, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                open += 1;
                deepest = deepest.max(open);
            }
            b'}' | b']' if !quoted => open = open.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The module against its own description.
fn declared(found: &mut Inspection, metadata: &Metadata) {
    let mut reasons = Vec::new();
    if metadata.hooks.is_empty() {
        reasons.push(reason(Kind::NoHook, METADATA_SECTION));
    }
    for (name, hook) in &metadata.hooks {
        let Some(known) = Hook::from_name(name) else {
            let names = Hook::ALL.iter().map(|hook| hook.name());
            reasons.push(reason(Kind::UnknownHook, name).hint(did_you_mean(name, names)));
            continue;
        };
        let export = known.export();
        if found.export(export.name).is_none() {
            reasons.push(reason(Kind::MissingExport, export.name).expected(export.sig.to_string()));
        }
        let version = hook.wire_version;
        if !found.fingerprints.iter().any(|f| f.hook == known && f.wire_version == version) {
            reasons.push(
                reason(Kind::MissingFingerprint, known.name())
                    .expected(format!("a section {SCHEMA_PREFIX}{}.v{version}", known.name())),
            );
        }
    }
    for hook in Hook::ALL {
        let export = hook.export().name;
        if found.export(export).is_some() && !metadata.hooks.contains_key(hook.name()) {
            reasons.push(reason(Kind::UndeclaredHook, export));
        }
    }
    let names = || skep_abi::CAPABILITIES.iter().map(|capability| capability.name);
    for capability in &metadata.capabilities {
        if skep_abi::Capability::from_name(capability).is_none() {
            reasons.push(reason(Kind::UnknownCapability, capability).hint(did_you_mean(capability, names())));
        }
    }
    for import in &found.imports {
        let Some(capability) = crate::detect::known(World::Hooks, import).and_then(skep_abi::Capability::of) else {
            continue; // an unknown import has its own reason
        };
        if !metadata.capabilities.iter().any(|declared| declared == capability.name) {
            reasons.push(
                reason(Kind::UndeclaredCapability, format!("{}.{}", import.module, import.name))
                    .expected(format!("\"{}\" among the capabilities", capability.name)),
            );
        }
    }
    found.reasons.append(&mut reasons);
}
