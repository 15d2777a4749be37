use core::fmt;

use crate::{Surface, filter, hooks, operator, packet, program};

macro_rules! worlds {
    ($($variant:ident, $name:literal, $surface:expr, $about:literal;)*) => {
        /// One of the ABIs that a module can be written for. A new world is a row of this table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum World {
            $(#[doc = $about] $variant,)*
        }

        impl World {
            /// Every world, in the order of the documentation.
            pub const ALL: &'static [World] = &[$(World::$variant,)*];

            /// The world's name on the command line and in reports.
            pub const fn name(self) -> &'static str {
                match self { $(World::$variant => $name,)* }
            }

            /// What the world is for, in one line.
            pub const fn about(self) -> &'static str {
                match self { $(World::$variant => $about,)* }
            }

            /// What the world's modules import and export.
            pub const fn surface(self) -> &'static Surface {
                match self { $(World::$variant => &$surface,)* }
            }

            /// The world of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|world| world.name() == name)
            }
        }
    };
}

worlds! {
    Program, "program", program::SURFACE, "A WASI command that carries its own eBPF and drives it (wasm-bpf)";
    Operator, "operator", operator::SURFACE, "The Wasm half of a gadget (Inspektor Gadget)";
    Filter, "filter", filter::SURFACE, "Keeps or drops one event a call (Aperture)";
    Packet, "packet", packet::SURFACE, "Handles network packets (wasm3-kernel-module)";
    Hooks, "hooks", hooks::SURFACE, "Filters, shapes and observes batches of events";
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
