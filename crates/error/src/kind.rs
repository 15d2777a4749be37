/// What kind of fault an error is. It decides the exit code of `skep`; those below 64 and above 128 keep the shell's
/// customs, those between are named in `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The command line cannot be understood.
    Usage,
    /// The bytes are not what they should be: no Wasm, a broken object, a malformed record.
    BadInput,
    /// A file, map, program or symbol does not exist.
    NotFound,
    /// The kernel or this build cannot do what was asked.
    Unsupported,
    /// A module or a request was understood and turned down by policy.
    Refused,
    /// A defect of Skep.
    Internal,
    /// An operating system call on a file or a terminal failed.
    Io,
    /// The kernel said no to an eBPF operation.
    Kernel,
    /// The user lacks the privilege.
    Permission,
    /// A time limit ended the run.
    TimedOut,
    /// Ctrl-C or SIGTERM ended the run.
    Interrupted,
    /// The guest trapped.
    Trap,
}

impl Kind {
    /// Every kind, in the order of the table in the documentation.
    pub const ALL: [Kind; 12] = [
        Kind::Usage,
        Kind::BadInput,
        Kind::NotFound,
        Kind::Unsupported,
        Kind::Refused,
        Kind::Internal,
        Kind::Kernel,
        Kind::Io,
        Kind::Permission,
        Kind::TimedOut,
        Kind::Interrupted,
        Kind::Trap,
    ];

    /// The exit code of `skep` when a run ends by this kind of error.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::BadInput => 65,
            Kind::NotFound => 66,
            Kind::Unsupported => 69,
            Kind::Refused => 1,
            Kind::Internal => 70,
            Kind::Kernel => 71,
            Kind::Io => 74,
            Kind::Permission => 77,
            Kind::TimedOut => 124,
            Kind::Interrupted => 130,
            Kind::Trap => 134,
        }
    }
}
