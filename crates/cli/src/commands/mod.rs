//! The commands: a row of this table each, and a file.

mod compile;
mod completions;
mod doctor;
mod exec_kernel;
mod inspect;
mod profile;
mod run;
mod sign;

use clap::Subcommand;
use skep_error::Result;

macro_rules! commands {
    ($($(#[$doc:meta])* $variant:ident($args:ty) = $run:path;)*) => {
        /// What `skep` can do.
        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $($(#[$doc])* $variant($args),)*
        }

        impl Command {
            /// Runs the command; the exit code of the process.
            pub(crate) fn run(&self) -> Result<u8> {
                match self { $(Self::$variant(args) => $run(args),)* }
            }
        }
    };
}

commands! {
    /// Runs a module that carries its own eBPF (world `program`)
    Run(run::Args) = run::run;
    /// Shows where CPU time, lock waits, system calls or time off the CPU go
    Profile(profile::ProfileArgs) = profile::profile;
    /// Shows system calls or lock waits as they end
    Trace(profile::TraceArgs) = profile::trace;
    /// Keeps events in a file
    Record(profile::RecordArgs) = profile::record;
    /// Sends the events of a file through filters to outputs, without root
    Replay(profile::ReplayArgs) = profile::replay;
    /// Says what a module is, what it asks for, and whether it may run
    Inspect(inspect::Args) = inspect::run;
    /// Makes a key to sign modules with
    Keygen(sign::KeygenArgs) = sign::keygen;
    /// Signs a module: writes MODULE.sig
    Sign(sign::SignArgs) = sign::sign;
    /// Checks a module's signature
    Verify(sign::VerifyArgs) = sign::verify;
    /// Compiles a WebAssembly module to eBPF
    Compile(compile::Args) = compile::run;
    /// Runs an export of a module in the kernel
    ExecKernel(exec_kernel::Args) = exec_kernel::run;
    /// Says what this kernel and this user can do, and what to do about the rest
    Doctor(doctor::Args) = doctor::run;
    /// Prints shell completions
    Completions(completions::Args) = completions::run;
    /// Prints the manual page of Skep or of a command, for man
    Man(completions::ManArgs) = completions::man;
}
