//! Composition: wires kernel, worlds, operators and sinks.

pub mod doctor;
