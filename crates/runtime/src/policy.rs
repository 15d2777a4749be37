//! What a policy file has to say about a module that is about to run.

use std::path::Path;

use skep_admit::{Admission, Inspection, Policy, Signature, Slot, admit, rejections};
use skep_error::{Error, Result};

/// Leave for the module in `file` to fill `slot`, with the signature that lies beside it.
///
/// # Errors
/// Whatever keeps the signature from being read; `Refused` with every reason.
pub(crate) fn admitted(module: &mut Inspection, file: &Path, slot: Slot, policy: &Policy) -> Result<Admission> {
    if let Some(signature) = Signature::of(file, None)? {
        module.add_signature(&signature);
    }
    admit(module, slot, policy).map_err(|first| {
        let all: Vec<String> = rejections(module, slot, policy).iter().map(ToString::to_string).collect();
        let error = Error::from(first);
        if all.len() > 1 { error.detail(all.join("\n")) } else { error }
    })
}
