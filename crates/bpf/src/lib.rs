//! eBPF objects on the live kernel: open, load, attach, maps, rings.
