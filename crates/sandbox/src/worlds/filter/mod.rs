//! World `filter`: the guest keeps or drops one event a call.
//!
//! - [`WasmRuntime`], [`WasmFilter`]: loading a filter and asking it, by the public API's names
//! - [`FilterPolicy`], [`OnTrap`]: what a filter may take, and what becomes of an event on which it fails
//! - [`FilterCounters`]: what a filter did
//! - [`FilterChain`]: filters one after the other, each seeing what the one before kept
//! - [`FilterOperator`]: a filter in a flow
//! - `check`: what a module must look like, before it is instantiated
//! - `instance`: one instance and the event's place in its memory
//! - `room`: a page for the event where a module says that its memory never grows
//! - `run`: many events a crossing, each still with a call and fuel of its own
//! - `slot`: the one place that writes there without a bounds check a time
//! - `log`: `env.log`, so many lines a second
//!
//! ```text
//! bytes ─load_filter─▶ check ─▶ instantiate ─▶ _initialize ─▶ place for the event ─▶ filter(ptr, 88) ─▶ 0 | not 0
//!                                   ▲                                                      │ trap
//!                                   └──────────────── a fresh instance ◀───────────────────┘ the event: policy
//! ```
//!
//! # Using it as a library
//!
//! ```
//! use skep_abi::event_context::EventContext;
//! use skep_sandbox::WasmRuntime;
//!
//! # fn main() -> skep_error::Result<()> {
//! // Keeps system calls that took longer than a millisecond: `duration_ns` is at offset 72.
//! let wasm = wat::parse_str(
//!     r#"(module
//!         (memory (export "memory") 1)
//!         (func (export "filter") (param $event i32) (param $len i32) (result i32)
//!             (i64.gt_u (i64.load offset=72 (local.get $event)) (i64.const 1000000))))"#,
//! )
//! .unwrap();
//! let runtime = WasmRuntime::new()?;
//! let mut filter = runtime.load_filter(&wasm)?;
//!
//! let slow = EventContext { event_type: 2, duration_ns: 5_000_000, ..EventContext::default() };
//! let fast = EventContext { event_type: 2, duration_ns: 5_000, ..EventContext::default() };
//! assert!(filter.filter_event(&slow)?);
//!
//! let mut events = vec![slow, fast, slow];
//! filter.filter_batch(&mut events)?;
//! assert_eq!(events, [slow, slow]);
//! # Ok(())
//! # }
//! ```

mod chain;
mod check;
mod instance;
mod operator;
mod room;
mod run;
mod runtime;
#[allow(unsafe_code)]
mod slot;

pub use crate::log::LogLines;
pub use chain::FilterChain;
pub use operator::FilterOperator;
pub use runtime::{FilterCounters, FilterPolicy, OnTrap, WasmFilter, WasmRuntime};
