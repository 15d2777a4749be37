//! Leave to run: slots, policies, budgets, fingerprints, signatures.

mod plugin;

use std::path::Path;

use plugin::{METADATA, Plugin};
use skep_abi::{
    World,
    hooks::{
        Hook,
        wire::{FILTER_V1, WIRE_VERSIONS, WireVersion},
    },
};
use skep_admit::{
    Failure, Grantee, Inspection, Policy, RejectionKind as Kind, SecretKey, Signature, Slot, admit, admit_with,
    inspect, rejections,
};

fn policy(text: &str) -> Policy {
    Policy::parse(text, Path::new("")).unwrap()
}

fn refused(module: &Inspection, slot: Slot, policy: &Policy) -> Vec<Kind> {
    let kinds: Vec<Kind> = rejections(module, slot, policy).iter().map(|rejection| rejection.kind).collect();
    assert_eq!(admit(module, slot, policy).err().map(|rejection| rejection.kind), kinds.first().copied());
    kinds
}

fn with_metadata(metadata: &str) -> Inspection {
    inspect(&Plugin { metadata: vec![metadata.into()], ..Plugin::default() }.bytes())
}

fn logging() -> Inspection {
    let imports = vec![("skep", "log", vec![wasm_encoder::ValType::I32; 3])];
    let metadata = METADATA.replace(r#""hooks""#, r#""capabilities":["log"],"hooks""#);
    inspect(&Plugin { imports, metadata: vec![metadata.into()], ..Plugin::default() }.bytes())
}

#[test]
fn a_plugin_without_imports_is_let_in_where_nothing_is_granted() {
    let admission = admit(&inspect(&Plugin::default().bytes()), Slot::Filter, &Policy::default()).unwrap();
    assert_eq!(admission.world, World::Hooks);
    assert_eq!(admission.hook, Some((Hook::Filter, 1)));
    assert_eq!(admission.on_failure, Failure::Open);
    assert!(admission.imports.is_empty());
}

#[test]
fn a_plugin_has_to_declare_the_hook_of_its_slot() {
    let module = inspect(&Plugin::default().bytes());
    assert_eq!(refused(&module, Slot::Observe, &Policy::default()), [Kind::WrongSlot]);
    assert_eq!(refused(&module, Slot::Packet, &Policy::default()), [Kind::WrongSlot]);
}

#[test]
fn a_module_of_world_filter_fits_the_slot_filter_within_its_own_limits() {
    let with_pages = |pages: u32| {
        inspect(
            &wat::parse_str(format!(
                r#"(module (memory (export "memory") {pages})
                    (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#
            ))
            .unwrap(),
        )
    };
    let admission = admit(&with_pages(16), Slot::Filter, &Policy::default()).unwrap();
    assert_eq!((admission.budget.pages, admission.budget.fuel), (16, 1_000_000));
    let seventeen = with_pages(17);
    assert_eq!(refused(&seventeen, Slot::Filter, &Policy::default()), [Kind::MemoryAboveCap]);
    let rejection = admit(&seventeen, Slot::Filter, &Policy::default()).unwrap_err();
    assert!(rejection.help().contains("stack"), "{}", rejection.help());
    assert_eq!(refused(&seventeen, Slot::Filter, &policy("[ceiling]\npages = 32")), []);
}

#[test]
fn an_import_is_let_in_by_its_capability_alone_and_the_rejection_names_it() {
    let module = logging();
    let rejection = admit(&module, Slot::Filter, &Policy::default()).unwrap_err();
    assert_eq!((rejection.kind, rejection.item.as_str()), (Kind::CapabilityDenied, "skep.log"));
    assert_eq!(
        refused(&module, Slot::Filter, &policy("[[grant]]\ncapabilities = [\"clock\"]")),
        [Kind::CapabilityDenied]
    );
    let admission = admit(&module, Slot::Filter, &policy("[[grant]]\ncapabilities = [\"log\", \"clock\"]")).unwrap();
    assert_eq!(admission.capabilities.iter().map(|c| c.name).collect::<Vec<_>>(), ["log"]);
    assert_eq!(admission.imports.iter().map(|f| f.name).collect::<Vec<_>>(), ["log"]);
}

#[test]
fn a_grant_by_hash_holds_for_that_module_only() {
    let module = logging();
    let grant = format!("[[grant]]\nhash = \"{}\"\ncapabilities = [\"log\"]", module.hash_hex());
    assert_eq!(refused(&module, Slot::Filter, &policy(&grant)), []);
    let other = policy(&format!("[[grant]]\nhash = \"{}\"\ncapabilities = [\"log\"]", "00".repeat(32)));
    assert_eq!(refused(&module, Slot::Filter, &other), [Kind::CapabilityDenied]);
}

#[test]
fn a_grant_by_key_needs_a_good_signature_of_a_trusted_key() {
    let key = SecretKey::generate().unwrap();
    let grant = format!("[[grant]]\nkey = \"{}\"\ncapabilities = [\"log\"]", key.public());
    let trusting = policy(&format!("keys = [\"{}\"]\n{grant}", key.public()));
    let mut module = logging();
    assert_eq!(refused(&module, Slot::Filter, &trusting), [Kind::CapabilityDenied]);
    module.add_signature(&key.sign(&module.hash));
    assert_eq!(refused(&module, Slot::Filter, &trusting), []);
    assert_eq!(refused(&module, Slot::Filter, &policy(&grant)), [Kind::CapabilityDenied], "the key is not trusted");
}

#[test]
fn a_policy_can_demand_a_signature() {
    let key = SecretKey::generate().unwrap();
    let demanding = policy(&format!("require_signature = true\nkeys = [\"{}\"]", key.public()));
    let mut module = inspect(&Plugin::default().bytes());
    assert_eq!(refused(&module, Slot::Filter, &demanding), [Kind::Unsigned]);
    let stranger = SecretKey::generate().unwrap();
    module.add_signature(&stranger.sign(&module.hash));
    let rejection = admit(&module, Slot::Filter, &demanding).unwrap_err();
    assert_eq!(rejection.kind, Kind::Unsigned);
    assert!(rejection.found.unwrap().contains(&stranger.public().to_string()));
    module.add_signature(&key.sign(&module.hash));
    assert_eq!(refused(&module, Slot::Filter, &demanding), []);
}

#[test]
fn a_signature_over_other_bytes_stands_against_the_module() {
    let key = SecretKey::generate().unwrap();
    let mut module = inspect(&Plugin::default().bytes());
    module.add_signature(&key.sign(&[0; 32]));
    assert_eq!(refused(&module, Slot::Filter, &Policy::default()), [Kind::BadSignature]);
    let mut module = inspect(&Plugin::default().bytes());
    let borrowed = Signature { key: SecretKey::generate().unwrap().public(), ..key.sign(&module.hash) };
    module.add_signature(&borrowed);
    assert_eq!(refused(&module, Slot::Filter, &Policy::default()), [Kind::BadSignature]);
}

#[test]
fn a_revoked_module_is_refused_whatever_it_is_granted() {
    let key = SecretKey::generate().unwrap();
    let mut module = inspect(&Plugin::default().bytes());
    module.add_signature(&key.sign(&module.hash));
    let revoking = policy(&format!("keys = [\"{}\"]\nrevoked = [\"{}\"]", key.public(), module.hash_hex()));
    assert_eq!(refused(&module, Slot::Filter, &revoking), [Kind::Revoked]);
}

#[test]
fn a_fingerprint_of_another_layout_is_refused_with_both_in_hex() {
    let mut other = FILTER_V1;
    other[31] ^= 1;
    let plugin = Plugin { fingerprints: vec![("skep.schema.filter.v1", other.to_vec())], ..Plugin::default() };
    let rejection = admit(&inspect(&plugin.bytes()), Slot::Filter, &Policy::default()).unwrap_err();
    let hex = |hash: [u8; 32]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!((rejection.kind, rejection.item.as_str()), (Kind::FingerprintMismatch, "skep.schema.filter.v1"));
    assert_eq!(rejection.expected, Some(hex(FILTER_V1)));
    assert_eq!(rejection.found, Some(hex(other)));
}

#[test]
fn a_wire_version_of_the_future_is_refused_and_an_older_supported_one_is_let_in() {
    let future = with_metadata(&METADATA.replace(r#""wire_version":1"#, r#""wire_version":2"#));
    assert_eq!(future.reasons[0].kind, Kind::MissingFingerprint);
    let plugin = Plugin {
        metadata: vec![METADATA.replace(r#""wire_version":1"#, r#""wire_version":2"#).into()],
        fingerprints: vec![("skep.schema.filter.v2", vec![2; 32])],
        ..Plugin::default()
    };
    let future = inspect(&plugin.bytes());
    assert_eq!(refused(&future, Slot::Filter, &Policy::default()), [Kind::WireVersion]);
    // A host that speaks version 2 as well lets both in.
    let mut both = WIRE_VERSIONS.to_vec();
    both.push(WireVersion { hook: Hook::Filter, version: 2, fingerprint: [2; 32] });
    let old = inspect(&Plugin::default().bytes());
    for (module, version) in [(&future, 2), (&old, 1)] {
        let admission = admit_with(module, Slot::Filter, &Policy::default(), &both).unwrap();
        assert_eq!(admission.hook, Some((Hook::Filter, version)));
    }
}

#[test]
fn a_budget_is_clamped_by_the_policy_and_a_memory_above_it_is_refused() {
    let metadata =
        METADATA.replace(r#""hooks""#, r#""budget":{"fuel":5000,"pages":100,"deadline_ms":1000000},"hooks""#);
    let module = with_metadata(&metadata);
    let budget = |text: &str| admit(&module, Slot::Filter, &policy(text)).unwrap().budget;
    assert_eq!(budget("").fuel, 5_000);
    assert_eq!(budget("").pages, 100);
    assert_eq!(budget("[ceiling]\ndeadline_ms = 7").deadline_ms, 7);
    let by_hash = format!(
        "[ceiling]\nfuel = 10\n[[grant]]\nhash = \"{}\"\nceiling = {{ fuel = 20 }}\n[[grant]]\nceiling = {{ fuel = 30 }}",
        module.hash_hex()
    );
    assert_eq!(budget(&by_hash).fuel, 20);
    let large = inspect(&Plugin { memory: 257, ..Plugin::default() }.bytes());
    assert_eq!(refused(&large, Slot::Filter, &Policy::default()), [Kind::MemoryAboveCap]);
}

#[test]
fn a_feature_can_be_denied() {
    let module = inspect(
        &wat::parse_str(
            r#"(module (memory (export "memory") 1) (global f64 (f64.const 1))
                (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#,
        )
        .unwrap(),
    );
    assert_eq!(refused(&module, Slot::Filter, &Policy::default()), []);
    assert_eq!(refused(&module, Slot::Filter, &policy("deny_features = [\"float\"]")), [Kind::FeatureDenied]);
}

#[test]
fn a_policy_is_read_whole_or_not_at_all() {
    let bad = |text: &str| Policy::parse(text, Path::new("")).unwrap_err();
    assert!(bad("require_signatur = true").to_string().contains("require_signatur"));
    assert_eq!(bad("[[grant]]\ncapabilities = [\"metrcis\"]").help_text(), Some("did you mean \"metrics\"?"));
    assert!(bad("revoked = [\"12\"]").to_string().contains("64 hexadecimal digits"));
    assert!(bad("[[grant]]\nname = \"p\"").to_string().contains("name"));
    let both = format!("[[grant]]\nhash = \"{0}\"\nkey = \"{0}\"", "00".repeat(32));
    assert!(bad(&both).help_text().unwrap().contains("two grants"));
    assert_eq!(policy("[[grant]]").grants[0].to, Grantee::Anyone);
}

#[test]
fn directories_of_a_policy_lie_below_it() {
    let policy =
        Policy::parse("[[grant]]\ndirectories = [\"data\", \"/var/lib/skep\"]", Path::new("/etc/skep")).unwrap();
    assert_eq!(policy.grants[0].directories, [Path::new("/etc/skep/data"), Path::new("/var/lib/skep")]);
}

#[test]
fn the_policies_in_the_documentation_are_read() {
    let page = include_str!("../../../docs/src/admission.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("trust")).unwrap();
    for block in blocks {
        let text = block.replace("<64 digits>", &"0a".repeat(32));
        Policy::parse(&text, directory.path()).unwrap_or_else(|error| panic!("{block}: {error}"));
    }
}

#[test]
fn a_policy_file_finds_its_trust_store_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let key = SecretKey::generate().unwrap().public();
    std::fs::create_dir(directory.path().join("trust")).unwrap();
    std::fs::write(directory.path().join("trust/a.pub"), key.to_text()).unwrap();
    std::fs::write(directory.path().join("policy.toml"), "trust = \"trust\"").unwrap();
    assert_eq!(Policy::load(&directory.path().join("policy.toml")).unwrap().keys, [key]);
}

#[test]
fn an_imported_memory_is_an_import_too() {
    let module = inspect(
        &wat::parse_str(
            r#"(module (import "env" "memory" (memory 1))
                (func (export "filter") (param i32 i32) (result i32) i32.const 1))"#,
        )
        .unwrap(),
    );
    assert_eq!(refused(&module, Slot::Filter, &Policy::default()), [Kind::CapabilityDenied]);
    assert_eq!(refused(&module, Slot::Filter, &policy("[[grant]]\ncapabilities = [\"memory\"]")), []);
}

/// The world of each committed module, by where it lies. The compiler's own test programs are of none.
fn world_of(path: &str) -> Option<World> {
    let starts = |starts: &[&str]| starts.iter().any(|start| path.starts_with(start));
    if starts(&["examples/filters/", "examples/slow-filter/"]) {
        Some(World::Filter)
    } else if starts(&["examples/slow-syscalls", "examples/redact-paths", "examples/latency-histogram"]) {
        Some(World::Hooks)
    } else if starts(&["examples/hello/", "tests/kernel-wasm/"]) {
        None
    } else {
        Some(World::Program)
    }
}

#[test]
fn every_committed_module_is_of_the_world_it_was_written_for_and_nothing_stands_against_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for directory in ["examples", "gadgets", "tests", "benches"] {
        modules(&root.join(directory), &mut files);
    }
    assert!(files.len() > 50, "{}", files.len());
    for file in files {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
        let module = inspect(&std::fs::read(&file).unwrap());
        assert!(!module.unreadable(), "{path}: {:?}", module.reasons);
        match (world_of(path), module.check()) {
            (Some(world), found) => assert_eq!(found, Ok(world), "{path}"),
            (None, found) => assert_eq!(found.unwrap_err().kind, Kind::NoWorld, "{path}"),
        }
    }
}

/// The committed modules below a directory.
fn modules(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") {
            modules(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "wasm") {
            found.push(path);
        }
    }
}

#[test]
fn a_policy_that_grants_nothing_lets_in_exactly_the_samples_that_import_nothing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = Vec::new();
    for directory in ["examples", "tests", "benches"] {
        modules(&root.join(directory), &mut files);
    }
    let mut counts = [0, 0];
    for file in files {
        let module = inspect(&std::fs::read(&file).unwrap());
        // Modules of no world, such as those that the compiler to eBPF is tested with, run nowhere.
        if module.check().is_err() {
            continue;
        }
        let let_in = |policy: &Policy| Slot::ALL.iter().any(|slot| admit(&module, *slot, policy).is_ok());
        assert_eq!(let_in(&Policy::default()), module.imports.is_empty(), "{}", file.display());
        assert!(let_in(&Policy::allow_all()), "{}", file.display());
        counts[usize::from(module.imports.is_empty())] += 1;
    }
    assert!(counts[0] > 10 && counts[1] >= 6, "with imports and without: {counts:?}");
}
