//! Builds eBPF objects and sample guests for the tests.
