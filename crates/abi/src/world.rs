use core::fmt;

macro_rules! worlds {
    ($($variant:ident, $name:literal, $about:literal;)*) => {
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
        }
    };
}

worlds! {
    Program, "program", "A WASI command that carries its own eBPF and drives it (wasm-bpf)";
    Operator, "operator", "The Wasm half of a gadget (Inspektor Gadget)";
    Filter, "filter", "Keeps or drops one event a call (Aperture)";
    Packet, "packet", "Handles network packets (wasm3-kernel-module)";
    Hooks, "hooks", "Filters, shapes and observes batches of events";
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
