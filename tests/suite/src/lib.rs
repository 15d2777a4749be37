//! End-to-end tests of Skep.
