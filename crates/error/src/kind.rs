macro_rules! kinds {
    ($($variant:ident, $code:literal, $about:literal;)*) => {
        /// What kind of fault an error is. It decides the exit code of `skep`; those below 64 and above 128 keep the
        /// shell's customs, those between are named in `sysexits.h`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $(#[doc = $about] $variant,)*
        }

        impl Kind {
            /// Every kind, in the order of the table in the documentation.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant,)*];

            /// The exit code of `skep` when a run ends by this kind of error.
            pub const fn exit_code(self) -> u8 {
                match self { $(Kind::$variant => $code,)* }
            }

            /// What the kind means, in one sentence.
            pub const fn about(self) -> &'static str {
                match self { $(Kind::$variant => $about,)* }
            }
        }
    };
}

kinds! {
    Refused, 1, "A module or a request was understood and turned down by policy.";
    Usage, 2, "The command line cannot be understood.";
    BadInput, 65, "The bytes are not what they should be: no Wasm, a broken object, a malformed record.";
    NotFound, 66, "A file, map, program or symbol does not exist.";
    Unsupported, 69, "The kernel or this build cannot do what was asked.";
    Internal, 70, "A defect of Skep.";
    Kernel, 71, "The kernel said no to an eBPF operation.";
    Io, 74, "An operating system call on a file or a terminal failed.";
    Permission, 77, "The user lacks the privilege.";
    TimedOut, 124, "A time limit ended the run.";
    Interrupted, 130, "Ctrl-C, SIGTERM or SIGHUP ended the run before its end.";
    Trap, 134, "The guest trapped.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_distinct_and_in_order() {
        assert!(Kind::ALL.windows(2).all(|pair| pair[0].exit_code() < pair[1].exit_code()));
    }
}
