//! What a Wasm module is, what it asks for, and whether it may run. Runs no guest code and needs no kernel.
//!
//! ```text
//! bytes ── inspect ──▶ Inspection: world, imports, exports, metadata, features, reasons against it
//!                          │ add_signature
//!                          ▼
//!            admit(inspection, slot, policy) ──▶ Admission: capabilities, imports to link, budget
//!                                            └─▶ Rejection: kind, item, expected, found
//! ```
//!
//! - [`inspect()`]: one pass over the bytes; never fails, what is wrong is data: [`Rejection`]
//! - [`Inspection::check`]: the world a module runs in
//! - [`admit`]: leave to run in a [`Slot`] under a [`Policy`]
//! - [`RejectionKind`]: the table of everything a module can be refused for
//! - [`SecretKey`], [`PublicKey`], [`Signature`]: who answers for a module
#![forbid(unsafe_code)]

mod admission;
mod budget;
mod detect;
mod features;
mod files;
mod hex;
mod hooks;
mod inspect;
mod inspection;
mod limits;
mod policy;
mod rejection;
mod scan;
mod signature;

pub use admission::{Admission, Slot, admit, admit_with, rejections};
pub use budget::{Budget, Ceiling};
pub use features::Feature;
pub use files::{beside, read_module, read_text, with_near};
pub use hooks::{BudgetRequest, Failure, Fingerprint, HookMetadata, Metadata};
pub use inspect::inspect;
pub use inspection::{Export, Extern, FuncType, Import, Inspection, KernelFit, Memory, Obstacle, Section, Table, Ty};
pub use limits::{
    LIMITS, MAX_DECLARED, MAX_DEPTH, MAX_EXPORTS, MAX_GLOBALS, MAX_IMPORTS, MAX_METADATA, MAX_MODULE, MAX_NAMES,
    MAX_SECTIONS, MAX_TAGS, MAX_TYPE_VALUES, MAX_TYPES,
};
pub use policy::{Grant, Grantee, Policy};
pub use rejection::{Rejection, RejectionKind};
pub use signature::{
    PUBLIC_KEY_EXTENSION, PublicKey, SIGNATURE_CONTEXT, SIGNATURE_EXTENSION, SecretKey, Signature, trust_store,
};
