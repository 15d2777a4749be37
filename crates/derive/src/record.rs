use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Result};

use crate::layout::fields;

pub(crate) fn record(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let fields = fields(input)?;
    let types = fields.iter().map(|(_, ty)| ty);
    let entries = fields.iter().map(|(field, ty)| {
        let text = field.to_string();
        quote! {
            ::skep_guest::hooks::Field {
                name: #text,
                offset: ::core::mem::offset_of!(#name, #field),
                size: ::core::mem::size_of::<#ty>(),
            }
        }
    });
    Ok(quote! {
        const _: () = {
            const fn is_plain<T: ::skep_guest::Plain>() {}
            #(is_plain::<#types>();)*
        };

        // SAFETY: `#[repr(C)]`, every field is in the list and plain; the derive has checked.
        unsafe impl ::skep_guest::hooks::Record for #name {
            const FIELDS: &'static [::skep_guest::hooks::Field] = &[#(#entries),*];
        }
    })
}
