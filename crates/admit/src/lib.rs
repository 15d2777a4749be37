//! What a Wasm module is, what it asks for, and whether it may run. Runs no guest code and needs no kernel.
//!
//! ```text
//! bytes ── inspect ──▶ Inspection: world, imports, exports, metadata, features, reasons against it
//! ```
//!
//! - [`inspect`]: one pass over the bytes; never fails, what is wrong is data: [`Rejection`]
//! - [`Inspection::check`]: the world a module runs in
//! - [`RejectionKind`]: the table of everything a module can be refused for
#![forbid(unsafe_code)]

mod detect;
mod features;
mod hex;
mod hooks;
mod inspect;
mod inspection;
mod rejection;
mod signature;

pub use features::Feature;
pub use hooks::{BudgetRequest, Failure, Fingerprint, HookMetadata, MAX_DEPTH, MAX_METADATA, Metadata};
pub use inspect::{MAX_EXPORTS, MAX_IMPORTS, MAX_SECTIONS, MAX_TYPES, inspect};
pub use inspection::{Export, Extern, FuncType, Import, Inspection, KernelFit, Memory, Obstacle, Section, Table, Ty};
pub use rejection::{Rejection, RejectionKind};
pub use signature::{PublicKey, Signature};
