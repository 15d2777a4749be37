//! What this kernel and this user can do; the probes stand in `skep-bpf`.

pub use skep_bpf::probe::{Area, Finding, Reason, Verdict, findings};
