use crate::{Func, World, filter, hooks, operator, packet, program, wasi};

/// Something that a module may be allowed: the exact imports that come with it, and no others.
#[derive(Clone, Copy, Debug)]
pub struct Capability {
    /// The name in a plugin's metadata, in a policy and in reports.
    pub name: &'static str,
    /// What it allows, in one line.
    pub about: &'static str,
    /// Whether it lets a module import the linear memory that its world's host makes.
    pub memory: bool,
    /// Its imports, of every world that has it.
    pub imports: &'static [&'static [Func]],
}

/// Every capability. An import that a world knows belongs to exactly one of them.
pub const CAPABILITIES: &[Capability] = &[
    Capability {
        name: "log",
        about: "write lines to the host's log",
        memory: false,
        imports: &[hooks::LOG, operator::LOG, filter::LOG, packet::LOG],
    },
    Capability {
        name: "clock",
        about: "read the clocks",
        memory: false,
        imports: &[hooks::CLOCK, packet::CLOCK, wasi::CLOCK],
    },
    Capability {
        name: "metrics",
        about: "count and measure",
        memory: false,
        imports: &[hooks::METRICS, packet::METRICS],
    },
    Capability {
        name: "map-read",
        about: "read eBPF maps",
        memory: false,
        imports: &[hooks::MAP_READ, operator::MAP_READ],
    },
    Capability {
        name: "map-write",
        about: "make eBPF maps and change them",
        memory: false,
        imports: &[hooks::MAP_WRITE, operator::MAP_WRITE],
    },
    Capability {
        name: "kallsyms",
        about: "look up symbols of the kernel",
        memory: false,
        imports: &[hooks::KALLSYMS, operator::KALLSYMS],
    },
    Capability {
        name: "files",
        about: "open files below granted directories",
        memory: false,
        imports: &[hooks::FILES, wasi::FILES],
    },
    Capability {
        name: "stdio",
        about: "use the standard streams and the files that are open",
        memory: false,
        imports: &[wasi::DESCRIPTORS],
    },
    Capability {
        name: "process",
        about: "read arguments and environment, and exit",
        memory: false,
        imports: &[wasi::PROCESS],
    },
    Capability { name: "random", about: "draw random bytes", memory: false, imports: &[wasi::RANDOM] },
    Capability { name: "sockets", about: "use sockets that are open", memory: false, imports: &[wasi::SOCKETS] },
    Capability {
        name: "bpf",
        about: "load eBPF programs, attach them and use their maps",
        memory: false,
        imports: &[program::IMPORTS, program::VARIANTS, program::ITER_IMPORTS],
    },
    Capability {
        name: "bpf-memory",
        about: "map eBPF maps into linear memory",
        memory: false,
        imports: &[program::SHARED_IMPORTS],
    },
    Capability {
        name: "gadget",
        about: "read and change a gadget's data sources",
        memory: false,
        imports: &[operator::GADGET],
    },
    Capability {
        name: "attach",
        about: "choose where a gadget's programs attach",
        memory: false,
        imports: &[operator::CONFIG],
    },
    Capability { name: "perf", about: "read perf event arrays", memory: false, imports: &[operator::PERF] },
    Capability { name: "memory", about: "use a linear memory that the host makes", memory: true, imports: &[] },
    Capability { name: "table", about: "keep a small table at the host", memory: false, imports: &[packet::TABLE] },
];

impl Capability {
    /// The capability of that name.
    pub fn from_name(name: &str) -> Option<&'static Self> {
        CAPABILITIES.iter().find(|capability| capability.name == name)
    }

    /// The capability that an import comes with; of an older module name, `import.module` is the current one.
    pub fn of(import: &Func) -> Option<&'static Self> {
        CAPABILITIES.iter().find(|capability| capability.functions().any(|func| func == import))
    }

    /// Every function that comes with it.
    pub fn functions(&self) -> impl Iterator<Item = &'static Func> + Clone + use<> {
        self.imports.iter().flat_map(|table| table.iter())
    }

    /// The functions that come with it in one world.
    pub fn functions_in(&self, world: World) -> impl Iterator<Item = &'static Func> + use<> {
        self.functions().filter(move |func| world.surface().functions().any(|known| known == *func))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_import_of_every_world_belongs_to_exactly_one_capability() {
        for world in World::ALL {
            for func in world.surface().functions() {
                let owners = CAPABILITIES.iter().filter(|c| c.functions().any(|known| known == func)).count();
                assert_eq!(owners, 1, "{world}: {}.{}", func.module, func.name);
            }
        }
    }

    #[test]
    fn every_capability_is_of_use_in_some_world() {
        for capability in CAPABILITIES {
            assert!(
                capability.memory || World::ALL.iter().any(|world| capability.functions_in(*world).next().is_some())
            );
        }
    }
}
