/// One thing that must hold inside the virtual machine.
pub(super) struct Check {
    /// Its name, also its file's.
    pub(super) name: &'static str,
    /// The first kernel on which it must hold.
    pub(super) since: (u32, u32),
    /// A script for busybox's shell with `-eu`; exit status 0 passes.
    pub(super) script: &'static str,
}

/// Every check, in the order in which they run.
pub(super) fn all() -> Vec<Check> {
    vec![
        Check { name: "version", since: (6, 1), script: "skep --version\n" },
        Check { name: "doctor", since: (6, 1), script: "skep doctor\n" },
    ]
}
