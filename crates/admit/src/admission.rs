use std::{fmt, path::PathBuf};

use skep_abi::{
    Capability, Func, World,
    hooks::{
        Hook,
        wire::{WIRE_VERSIONS, WireVersion},
    },
};

use crate::{
    Budget, BudgetRequest, Failure, Import, Inspection, Policy, PublicKey, Rejection, RejectionKind as Kind, detect,
    hex, policy::Grantee,
};

macro_rules! slots {
    ($($variant:ident, $name:literal, [$($world:ident)*], $hook:expr;)*) => {
        /// A place where a module can run.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Slot {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Slot {
            /// Every slot.
            pub const ALL: &'static [Slot] = &[$(Slot::$variant,)*];

            /// The slot's name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The worlds whose modules can fill it.
            pub const fn worlds(self) -> &'static [World] {
                match self { $(Self::$variant => &[$(World::$world),*],)* }
            }

            /// The hook that a plugin of world `hooks` needs for it.
            pub const fn hook(self) -> Option<Hook> {
                match self { $(Self::$variant => $hook,)* }
            }

            /// The slot of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|slot| slot.name() == name)
            }
        }
    };
}

slots! {
    Program, "program", [Program], None;
    Operator, "operator", [Operator], None;
    Filter, "filter", [Hooks Filter], Some(Hook::Filter);
    Shape, "shape", [Hooks], Some(Hook::Shape);
    Observe, "observe", [Hooks], Some(Hook::Observe);
    Packet, "packet", [Packet], None;
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Leave to run: exactly what the policy grants a module in a slot.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The module's world.
    pub world: World,
    /// The slot.
    pub slot: Slot,
    /// The module's hash: the leave holds for these bytes and no others.
    pub hash: [u8; 32],
    /// The trusted keys that signed it.
    pub signers: Vec<PublicKey>,
    /// The capabilities it needs and has.
    pub capabilities: Vec<&'static Capability>,
    /// The functions to link: the ones it imports, no others.
    pub imports: Vec<&'static Func>,
    /// The directories below which it may open files.
    pub directories: Vec<PathBuf>,
    /// What an instance may spend.
    pub budget: Budget,
    /// World `hooks`: the slot's hook, and the version of its wire types that the module speaks.
    pub hook: Option<(Hook, u32)>,
    /// World `hooks`: what becomes of a batch that the module fails on.
    pub on_failure: Failure,
}

/// Whether the module may run in `slot` under `policy`. Runs nothing of the module.
///
/// # Errors
/// The first of [`rejections`].
pub fn admit(module: &Inspection, slot: Slot, policy: &Policy) -> Result<Admission, Rejection> {
    admit_with(module, slot, policy, WIRE_VERSIONS)
}

/// [`admit`], for a host that speaks other versions of the hooks' wire types.
///
/// # Errors
/// As [`admit`].
pub fn admit_with(
    module: &Inspection,
    slot: Slot,
    policy: &Policy,
    wires: &[WireVersion],
) -> Result<Admission, Rejection> {
    if let Some(rejection) = rejections_with(module, slot, policy, wires).into_iter().next() {
        return Err(rejection);
    }
    let world = module.check()?;
    let hook = slot.hook().filter(|_| world == World::Hooks);
    let declared = hook.and_then(|hook| module.metadata.as_ref()?.hooks.get(hook.name()));
    Ok(Admission {
        world,
        slot,
        hash: module.hash,
        signers: policy.trusted_signers(module),
        capabilities: needed(module, world),
        imports: module.imports.iter().filter_map(|import| detect::known(world, import)).collect(),
        directories: policy.grants_of(module).flat_map(|grant| grant.directories.iter().cloned()).collect(),
        budget: budget(module, world, policy),
        hook: hook.zip(declared.map(|declared| declared.wire_version)),
        on_failure: declared.map(|declared| declared.on_failure).unwrap_or_default(),
    })
}

/// Everything that keeps the module out of `slot` under `policy`: first what stands against it anyway, then the slot,
/// then the policy. Empty for a module that [`admit`] lets in.
pub fn rejections(module: &Inspection, slot: Slot, policy: &Policy) -> Vec<Rejection> {
    rejections_with(module, slot, policy, WIRE_VERSIONS)
}

fn rejections_with(module: &Inspection, slot: Slot, policy: &Policy, wires: &[WireVersion]) -> Vec<Rejection> {
    let mut reasons = module.reasons.clone();
    if policy.revoked.contains(&module.hash) {
        reasons.push(Rejection::new(Kind::Revoked, module.hash_hex()));
    }
    let Some(world) = module.world else { return reasons };
    place(module, world, slot, &mut reasons);
    wire(module, world, wires, &mut reasons);
    signed(module, policy, &mut reasons);
    granted(module, world, policy, &mut reasons);
    sized(module, &budget(module, world, policy), &mut reasons);
    for feature in module.features.iter().filter(|feature| feature.runs() && policy.deny_features.contains(feature)) {
        reasons.push(Rejection::new(Kind::FeatureDenied, feature.name()).expected("none of it"));
    }
    reasons
}

fn place(module: &Inspection, world: World, slot: Slot, reasons: &mut Vec<Rejection>) {
    let wrong = Rejection::new(Kind::WrongSlot, slot.name());
    if !slot.worlds().contains(&world) {
        let worlds: Vec<&str> = slot.worlds().iter().map(|world| world.name()).collect();
        reasons.push(wrong.expected(format!("a module of world {}", worlds.join(" or "))).found(world.name()));
        return;
    }
    let (Some(hook), World::Hooks, Some(metadata)) = (slot.hook(), world, &module.metadata) else { return };
    if !metadata.hooks.contains_key(hook.name()) {
        let declared: Vec<&str> = metadata.hooks.keys().map(String::as_str).collect();
        reasons.push(wrong.expected(format!("the hook {}", hook.name())).found(declared.join(", ")));
    }
}

/// The declared versions and fingerprints against those that the host speaks, of every hook: a module that lies about
/// one of them is not trusted with another.
fn wire(module: &Inspection, world: World, wires: &[WireVersion], reasons: &mut Vec<Rejection>) {
    let (World::Hooks, Some(metadata)) = (world, &module.metadata) else { return };
    for (name, declared) in &metadata.hooks {
        let Some(hook) = Hook::from_name(name) else { continue }; // has its own reason
        let Some(ours) = wires.iter().find(|wire| wire.hook == hook && wire.version == declared.wire_version) else {
            let versions: Vec<String> =
                wires.iter().filter(|wire| wire.hook == hook).map(|wire| wire.version.to_string()).collect();
            reasons.push(
                Rejection::new(Kind::WireVersion, name)
                    .in_world(world)
                    .expected(format!("one of {}", versions.join(", ")))
                    .found(declared.wire_version.to_string()),
            );
            continue;
        };
        let shipped = module.fingerprints.iter().find(|f| f.hook == hook && f.wire_version == declared.wire_version);
        if let Some(shipped) = shipped.filter(|shipped| shipped.hash != ours.fingerprint) {
            reasons.push(
                Rejection::new(Kind::FingerprintMismatch, shipped.section())
                    .in_world(world)
                    .expected(hex::encode(&ours.fingerprint))
                    .found(hex::encode(&shipped.hash)),
            );
        }
    }
}

fn signed(module: &Inspection, policy: &Policy, reasons: &mut Vec<Rejection>) {
    if !policy.require_signature || !policy.trusted_signers(module).is_empty() {
        return;
    }
    let strangers: Vec<String> = module.signers.iter().map(ToString::to_string).collect();
    let reason = Rejection::new(Kind::Unsigned, module.hash_hex())
        .expected(format!("a signature by one of {} trusted keys", policy.keys.len()));
    reasons.push(match strangers.is_empty() {
        true => reason.found("none"),
        false => reason.found(format!("only by {}", strangers.join(", "))),
    });
}

impl Inspection {
    /// The capability that one of the module's imports needs; `None` for an import that its world does not know.
    pub fn capability_of(&self, import: &Import) -> Option<&'static Capability> {
        capability_of(self.world?, import)
    }
}

fn capability_of(world: World, import: &Import) -> Option<&'static Capability> {
    if detect::host_memory(world, import) {
        return skep_abi::CAPABILITIES.iter().find(|capability| capability.memory);
    }
    detect::known(world, import).and_then(Capability::of)
}

/// The capabilities that the module's imports need, each once.
fn needed(module: &Inspection, world: World) -> Vec<&'static Capability> {
    let mut needed: Vec<&'static Capability> = Vec::new();
    for capability in module.imports.iter().filter_map(|import| capability_of(world, import)) {
        if !needed.iter().any(|known| known.name == capability.name) {
            needed.push(capability);
        }
    }
    needed
}

fn granted(module: &Inspection, world: World, policy: &Policy, reasons: &mut Vec<Rejection>) {
    let granted: Vec<&str> = policy
        .grants_of(module)
        .flat_map(|grant| grant.capabilities.iter().map(|capability| capability.name))
        .collect();
    for import in &module.imports {
        let Some(capability) = capability_of(world, import) else { continue }; // has its own reason
        if !granted.contains(&capability.name) {
            reasons.push(
                Rejection::new(Kind::CapabilityDenied, format!("{}.{}", import.module, import.name))
                    .in_world(world)
                    .expected(format!("capability \"{}\" granted", capability.name))
                    .found(if granted.is_empty() { "none granted".into() } else { granted.join(", ") }),
            );
        }
    }
}

/// What the module may spend: what it asks for, below the policy's ceilings. Where several grants hold, the most
/// particular one's ceiling counts: a hash before a key before anyone.
fn budget(module: &Inspection, world: World, policy: &Policy) -> Budget {
    let mut grants: Vec<_> = policy.grants_of(module).collect();
    grants.sort_by_key(|grant| match grant.to {
        Grantee::Module(_) => 0,
        Grantee::Signer(_) => 1,
        Grantee::Anyone => 2,
    });
    let particular = grants.iter().rev().fold(policy.ceiling, |outer, grant| grant.ceiling.or(&outer));
    let mut asked = module.metadata.as_ref().map(|metadata| metadata.budget).unwrap_or_default();
    let mut ceiling = particular;
    if world == World::Filter {
        // The ABI's own limits, which a policy may move; the module has no place to ask for more.
        asked = BudgetRequest {
            fuel: Some(ceiling.fuel.unwrap_or(skep_abi::filter::FUEL)),
            pages: Some(ceiling.pages.unwrap_or(skep_abi::filter::MAX_PAGES)),
            ..asked
        };
    } else if world != World::Hooks {
        // Nor have the other worlds: they get what the policy's ceiling allows.
        asked = BudgetRequest {
            fuel: ceiling.fuel,
            deadline_ms: ceiling.deadline_ms,
            pages: ceiling.pages,
            stack_bytes: ceiling.stack_bytes,
            table_elements: ceiling.table_elements,
            output_bytes: ceiling.output_bytes,
        };
    }
    if matches!(world, World::Program | World::Operator) {
        // Go guests alone start with more than a plugin's table and memory.
        ceiling =
            ceiling.or(&crate::Ceiling { pages: Some(4096), table_elements: Some(100_000), ..Default::default() });
        asked.pages = asked.pages.or(ceiling.pages);
        asked.table_elements = asked.table_elements.or(ceiling.table_elements);
    }
    Budget::granted(&asked, &ceiling)
}

fn sized(module: &Inspection, budget: &Budget, reasons: &mut Vec<Rejection>) {
    let bytes = |memory: &crate::Memory| memory.min.saturating_mul(1 << memory.page_size_log2);
    let pages = module.memories.iter().fold(0u64, |sum, memory| sum.saturating_add(bytes(memory))).div_ceil(1 << 16);
    if pages > budget.pages {
        reasons.push(
            Rejection::new(Kind::MemoryAboveCap, "memory")
                .expected(format!("at most {} pages", budget.pages))
                .found(format!("{pages} pages")),
        );
    }
    let elements = module.tables.iter().fold(0u64, |sum, table| sum.saturating_add(table.min));
    if elements > budget.table_elements {
        reasons.push(
            Rejection::new(Kind::TableAboveCap, "table")
                .expected(format!("at most {} elements", budget.table_elements))
                .found(format!("{elements} elements")),
        );
    }
}
