//! Derives and attributes of Skep's layouts and guest SDK. They are re-exported where they are used: `skep_abi` has the
//! two derives of layouts, `skep_guest` the rest.
#![forbid(unsafe_code)]

mod layout;
mod plugin;
mod record;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemMod, parse_macro_input};

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

/// Implements `skep_guest::hooks::Record` for a `#[repr(C)]` struct of plain fields.
#[proc_macro_derive(Record)]
pub fn record(input: TokenStream) -> TokenStream {
    done(record::record(&parse_macro_input!(input as DeriveInput)))
}

/// Makes a plugin of world `hooks` out of a module whose functions are marked `#[filter]`, `#[shape]` or `#[observe]`:
/// exports, description and fingerprints. See `skep_guest::hooks`.
///
/// Arguments: `name`, `version`, `description`, `usage` (texts); `capabilities("log", …)`; and what the plugin may
/// spend: `fuel`, `deadline_ms`, `pages`, `stack_bytes`, `table_elements`, `output_bytes` (numbers). A hook takes
/// `on_failure = "open"` or `"closed"`.
#[proc_macro_attribute]
pub fn plugin(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as plugin::Arguments);
    done(plugin::plugin(&arguments, parse_macro_input!(item as ItemMod)))
}

fn done(result: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    result.unwrap_or_else(|error| error.into_compile_error()).into()
}
