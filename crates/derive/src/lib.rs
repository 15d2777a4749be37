//! Derives and attributes of Skep's layouts and guest SDK. They are re-exported where they are used: `skep_abi` has the
//! two derives of layouts, `skep_guest` the rest.
#![forbid(unsafe_code)]

mod layout;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `skep_abi::layout::Layout`: the canonical description of a `#[repr(C)]` struct, with every field's name,
/// offset and own description in order, or of an enum with a number for its representation, with every variant's name
/// and number.
#[proc_macro_derive(Layout)]
pub fn layout(input: TokenStream) -> TokenStream {
    done(layout::layout(&parse_macro_input!(input as DeriveInput)))
}

/// Implements `skep_abi::layout::Wire`: the value as the bytes of its layout, little endian, and back. A number that is
/// no variant of an enum is refused when it is read.
#[proc_macro_derive(Wire)]
pub fn wire(input: TokenStream) -> TokenStream {
    done(layout::wire(&parse_macro_input!(input as DeriveInput)))
}

fn done(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(|error| error.into_compile_error()).into()
}
