//! What the programs share: without the standard library, a panic is WebAssembly's `unreachable`.
#![no_std]

#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
