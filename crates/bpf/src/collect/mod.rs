//! The collectors: CPU samples, waits for locks, system calls, time off the CPU.
//!
//! ```text
//! gadgets/<name>/program.bpf.o ─load─▶ config map written ─attach─▶ ring buffer ─┐
//!                                                                  count maps ───┼─▶ CollectorSource ─▶ Batch
//! at the end: all tasks ─sweep─▶ what they wait for still ─▶ ring    stack map ────┘      │ new stacks
//!                                                                                       └─▶ Symbols ─▶ StackTable
//! ```
//!
//! - [`Collector`]: what can be collected, one row each
//! - [`CollectorOptions`]: whom it looks at, what it brings
//! - [`CollectorSource`]: one that runs, as a source of a flow
//! - `config`: the bytes of `struct skep_config`
//! - `counts`: the sums that stay in the kernel until they are fetched

mod config;
mod counts;
mod source;

pub use config::{CollectorOptions, Sums};
pub use source::CollectorSource;

/// Programs of a collector: its name, and the target text where its section does not say where it is attached.
type Programs = &'static [(&'static str, Attach)];

/// How a program of a collector is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attach {
    /// Where its section says.
    Section,
    /// To a clock event on every CPU, at the frequency asked for.
    Clock,
    /// Where its section says; the collector is worth something without it, on kernels that do not have its place.
    Optional,
    /// Goes through all tasks when the run ends; as worthwhile without it.
    Sweep,
}

macro_rules! collectors {
    ($($(#[$doc:meta])* $variant:ident, $name:literal, $gadget:literal, [$($program:literal $attach:ident),*];)*) => {
        /// What can be collected. A new collector is a folder below `gadgets` and a row here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Collector {
            $($(#[$doc])* $variant,)*
        }

        impl Collector {
            /// Every collector.
            pub const ALL: &'static [Collector] = &[$(Collector::$variant,)*];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The eBPF object.
            pub(crate) const fn object(self) -> &'static [u8] {
                match self {
                    $(Self::$variant =>
                        include_bytes!(concat!("../../../../gadgets/", $gadget, "/program.bpf.o")),)*
                }
            }

            /// The programs of the object.
            pub(crate) const fn programs(self) -> Programs {
                match self { $(Self::$variant => &[$(($program, Attach::$attach)),*],)* }
            }
        }
    };
}

collectors! {
    /// Samples of what runs on each CPU.
    Cpu, "cpu", "profile_cpu", ["sample" Clock, "became" Optional];
    /// Waits for locks: futexes of user space and contended locks of the kernel.
    Lock, "lock", "trace_lock",
        ["futex_enter" Section, "futex_leave" Section, "contention_begin" Optional, "contention_end" Optional,
            "became" Optional, "sweep" Sweep];
    /// System calls from entry to exit.
    Syscall, "syscall", "trace_syscall", ["enter" Section, "leave" Section, "became" Optional, "sweep" Sweep];
    /// Time that threads spend off the CPU.
    OffCpu, "offcpu", "profile_offcpu", ["sched_switch" Section, "became" Optional, "sweep" Sweep];
}
