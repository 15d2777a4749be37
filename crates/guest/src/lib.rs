//! SDK for Skep guests written in Rust.
#![no_std]
