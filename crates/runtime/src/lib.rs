//! Composition: wires kernel, worlds, operators and sinks.
