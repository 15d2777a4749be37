use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Ident, Result, Type};

pub(crate) fn layout(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let shape = match &input.data {
        Data::Struct(_) => {
            let fields = fields(input)?;
            let members = fields.iter().map(|(field, ty)| {
                let text = field.to_string();
                quote! {
                    ::skep_abi::layout::Member {
                        name: #text,
                        offset: ::core::mem::offset_of!(#name, #field),
                        desc: &<#ty as ::skep_abi::layout::Layout>::DESC,
                    }
                }
            });
            quote! { ::skep_abi::layout::Shape::Struct(&[#(#members),*]) }
        }
        Data::Enum(data) => {
            let repr = number(input)?;
            let variants = data.variants.iter().map(|variant| {
                let ident = &variant.ident;
                let text = ident.to_string();
                quote! { (#text, #name::#ident as i64) }
            });
            quote! { ::skep_abi::layout::Shape::Enum(#repr, &[#(#variants),*]) }
        }
        Data::Union(_) => return Err(Error::new_spanned(name, "a union has no layout that can be checked")),
    };
    Ok(quote! {
        impl ::skep_abi::layout::Layout for #name {
            const DESC: ::skep_abi::layout::Desc = ::skep_abi::layout::Desc {
                size: ::core::mem::size_of::<#name>(),
                align: ::core::mem::align_of::<#name>(),
                shape: #shape,
            };
        }
    })
}

pub(crate) fn wire(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let (write, read) = match &input.data {
        Data::Struct(_) => {
            let fields = fields(input)?;
            let writes = fields.iter().map(|(field, ty)| {
                quote! {
                    ::skep_abi::layout::Wire::write_to(
                        &self.#field,
                        &mut to[::core::mem::offset_of!(#name, #field)..][..::core::mem::size_of::<#ty>()],
                    );
                }
            });
            let reads = fields.iter().map(|(field, ty)| {
                quote! {
                    #field: ::skep_abi::layout::Wire::read_from(
                        from.get(::core::mem::offset_of!(#name, #field)..)?.get(..::core::mem::size_of::<#ty>())?,
                    )?
                }
            });
            (quote! { to.fill(0); #(#writes)* }, quote! { Some(Self { #(#reads),* }) })
        }
        Data::Enum(data) => {
            let repr: Type = syn::parse_str(&number(input)?)?;
            let variants = data.variants.iter().map(|variant| &variant.ident);
            (
                quote! { ::skep_abi::layout::Wire::write_to(&(*self as #repr), to); },
                quote! {
                    let raw = <#repr as ::skep_abi::layout::Wire>::read_from(from)?;
                    #(if raw == Self::#variants as #repr { return Some(Self::#variants); })*
                    None
                },
            )
        }
        Data::Union(_) => return Err(Error::new_spanned(name, "a union cannot be read without knowing which it is")),
    };
    Ok(quote! {
        impl ::skep_abi::layout::Wire for #name {
            fn write_to(&self, to: &mut [u8]) { #write }
            fn read_from(from: &[u8]) -> Option<Self> { #read }
        }
    })
}

/// The named fields of a `#[repr(C)]` struct without parameters.
pub(crate) fn fields(input: &DeriveInput) -> Result<Vec<(Ident, Type)>> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "a struct is needed here"));
    };
    if !reprs(input)?.iter().any(|repr| repr == "C") {
        return Err(Error::new_spanned(&input.ident, "the layout is only known under #[repr(C)]"));
    }
    if !input.generics.params.is_empty() {
        return Err(Error::new_spanned(&input.generics, "a layout belongs to one type: remove the parameters"));
    }
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(&data.fields, "fields need names"));
    };
    Ok(fields.named.iter().filter_map(|field| Some((field.ident.clone()?, field.ty.clone()))).collect())
}

/// The number type that represents an enum.
fn number(input: &DeriveInput) -> Result<String> {
    reprs(input)?
        .into_iter()
        .find(|repr| matches!(repr.as_str(), "u8" | "u16" | "u32" | "u64" | "i8" | "i16" | "i32" | "i64"))
        .ok_or_else(|| Error::new_spanned(&input.ident, "the layout is only known under #[repr(u32)] or its like"))
}

fn reprs(input: &DeriveInput) -> Result<Vec<String>> {
    let mut reprs = Vec::new();
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("repr")) {
        attribute.parse_nested_meta(|meta| {
            if let Some(ident) = meta.path.get_ident() {
                reprs.push(ident.to_string());
            }
            if meta.input.peek(syn::token::Paren) {
                let content;
                syn::parenthesized!(content in meta.input);
                content.parse::<TokenStream>()?;
            }
            Ok(())
        })?;
    }
    Ok(reprs)
}
