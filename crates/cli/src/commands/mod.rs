//! One file a command: what it takes, and a function that runs it.

pub(crate) mod doctor;
