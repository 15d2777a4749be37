//! `#[plugin]`: exports, description and fingerprints out of a module's functions.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, Item, ItemFn, ItemMod, Lit, LitStr, Meta, Result, Type,
    parse::{Parse, ParseStream},
    punctuated::Punctuated,
    token::Comma,
};

/// `name = "…", version = "…", capabilities("log", …), pages = 4`
pub(crate) struct Arguments(Punctuated<Meta, Comma>);

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        Punctuated::parse_terminated(input).map(Self)
    }
}

/// The limits that a description may ask for.
const BUDGET: &[&str] = &["fuel", "deadline_ms", "pages", "stack_bytes", "table_elements", "output_bytes"];

#[derive(Default)]
struct Description {
    name: String,
    version: String,
    description: String,
    usage: String,
    capabilities: Vec<String>,
    budget: Vec<(String, u64)>,
}

struct Hook {
    name: &'static str,
    description: String,
    on_failure: String,
    function: ItemFn,
}

pub(crate) fn plugin(arguments: &Arguments, mut module: ItemMod) -> Result<TokenStream> {
    let description = describe(arguments)?;
    let Some((_, items)) = &mut module.content else {
        return Err(Error::new_spanned(&module, "the plugin's functions stand in this module: mod name { … }"));
    };
    let mut hooks = Vec::new();
    for item in items.iter_mut() {
        if let Item::Fn(function) = item
            && let Some(hook) = take_hook(function)?
        {
            hooks.push(hook);
        }
    }
    if hooks.is_empty() {
        return Err(Error::new_spanned(&module.ident, "a plugin has at least one of #[filter], #[shape], #[observe]"));
    }
    for (i, hook) in hooks.iter().enumerate() {
        if hooks[..i].iter().any(|other| other.name == hook.name) {
            return Err(Error::new_spanned(&hook.function.sig.ident, "a plugin has each hook once"));
        }
    }
    let mut generated: Vec<TokenStream> = Vec::new();
    generated.push(section("skep.plugin.v1", "SKEP_PLUGIN", &json(&description, &hooks)));
    generated.push(memory());
    for hook in &hooks {
        generated.push(export(hook)?);
    }
    for tokens in generated {
        items.extend(syn::parse2::<syn::File>(tokens)?.items);
    }
    Ok(quote! { #module })
}

fn describe(arguments: &Arguments) -> Result<Description> {
    let mut description = Description::default();
    for meta in &arguments.0 {
        let key = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
        match meta {
            Meta::NameValue(pair) => match (key.as_str(), &pair.value) {
                ("name", value) => description.name = text(value)?,
                ("version", value) => description.version = text(value)?,
                ("description", value) => description.description = text(value)?,
                ("usage", value) => description.usage = text(value)?,
                (limit, Expr::Lit(ExprLit { lit: Lit::Int(number), .. })) if BUDGET.contains(&limit) => {
                    description.budget.push((limit.to_owned(), number.base10_parse()?));
                }
                _ => return Err(unknown(meta)),
            },
            Meta::List(list) if key == "capabilities" => {
                let names = list.parse_args_with(Punctuated::<LitStr, Comma>::parse_terminated)?;
                description.capabilities = names.iter().map(LitStr::value).collect();
            }
            _ => return Err(unknown(meta)),
        }
    }
    for (key, value) in [("name", &description.name), ("version", &description.version)] {
        if value.is_empty() {
            return Err(Error::new(Span::call_site(), format!("a plugin has a {key}: #[plugin({key} = \"…\")]")));
        }
    }
    Ok(description)
}

fn unknown(meta: &Meta) -> Error {
    let known = format!(
        "known: name, version, description, usage (texts), capabilities(\"…\"), {} (numbers)",
        BUDGET.join(", ")
    );
    Error::new_spanned(meta, known)
}

fn text(value: &Expr) -> Result<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.value()),
        other => Err(Error::new_spanned(other, "a text is needed here")),
    }
}

/// Takes the hook's attribute off a function.
fn take_hook(function: &mut ItemFn) -> Result<Option<Hook>> {
    const NAMES: [&str; 3] = ["filter", "shape", "observe"];
    let of = |attribute: &Attribute| NAMES.iter().copied().find(|name| attribute.path().is_ident(name));
    let Some((index, name)) = function.attrs.iter().enumerate().find_map(|(i, attr)| Some((i, of(attr)?))) else {
        return Ok(None);
    };
    let attribute = function.attrs.remove(index);
    let mut on_failure = "open".to_owned();
    if !matches!(attribute.meta, Meta::Path(_)) {
        attribute.parse_nested_meta(|meta| {
            let value: LitStr = meta.value()?.parse()?;
            if !meta.path.is_ident("on_failure") || !matches!(value.value().as_str(), "open" | "closed") {
                return Err(meta.error("known: on_failure = \"open\" or \"closed\""));
            }
            on_failure = value.value();
            Ok(())
        })?;
    }
    let description = doc(&function.attrs);
    function.attrs.push(syn::parse_quote!(#[inline(always)]));
    Ok(Some(Hook { name, description, on_failure, function: function.clone() }))
}

fn doc(attributes: &[Attribute]) -> String {
    let lines =
        attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).filter_map(|attribute| match &attribute
            .meta
        {
            Meta::NameValue(pair) => text(&pair.value).ok(),
            _ => None,
        });
    lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>().join(" ")
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn json(description: &Description, hooks: &[Hook]) -> String {
    let hooks: Vec<String> = hooks
        .iter()
        .map(|hook| {
            format!(
                "{}:{{\"wire_version\":1,\"description\":{},\"on_failure\":{}}}",
                quoted(hook.name),
                quoted(&hook.description),
                quoted(&hook.on_failure)
            )
        })
        .collect();
    let capabilities: Vec<String> = description.capabilities.iter().map(|name| quoted(name)).collect();
    let budget: Vec<String> =
        description.budget.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
    format!(
        "{{\"name\":{},\"version\":{},\"description\":{},\"usage\":{},\"hooks\":{{{}}},\"capabilities\":[{}],\"budget\":{{{}}}}}",
        quoted(&description.name),
        quoted(&description.version),
        quoted(&description.description),
        quoted(&description.usage),
        hooks.join(","),
        capabilities.join(","),
        budget.join(",")
    )
}

/// A custom section that holds a text.
fn section(name: &str, constant: &str, content: &str) -> TokenStream {
    let constant = format_ident!("{constant}");
    let bytes = proc_macro2::Literal::byte_string(content.as_bytes());
    let len = content.len();
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[used]
        #[unsafe(link_section = #name)]
        static #constant: [u8; #len] = *#bytes;
    }
}

fn memory() -> TokenStream {
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[unsafe(no_mangle)]
        extern "C" fn skep_alloc(size: usize, align: usize) -> *mut u8 {
            ::skep_guest::hooks::alloc(size, align)
        }

        #[cfg(target_arch = "wasm32")]
        #[unsafe(no_mangle)]
        extern "C" fn skep_free(address: *mut u8, size: usize, align: usize) {
            ::skep_guest::hooks::free(address, size, align)
        }
    }
}

/// The type behind the reference that is a function's argument.
fn referred(function: &ItemFn, index: usize) -> Result<&Type> {
    match function.sig.inputs.iter().nth(index) {
        Some(FnArg::Typed(argument)) => match &*argument.ty {
            Type::Reference(reference) => Ok(&reference.elem),
            other => Err(Error::new_spanned(other, "a reference to a record or state is needed here")),
        },
        _ => {
            Err(Error::new_spanned(&function.sig, "filter: fn(&R) -> bool; shape: fn(&mut R); observe: fn(&mut S, &R)"))
        }
    }
}

fn export(hook: &Hook) -> Result<TokenStream> {
    let function = &hook.function.sig.ident;
    let entry = format_ident!("skep_{}", hook.name);
    let (fingerprint, call) = match hook.name {
        "filter" => {
            let record = referred(&hook.function, 0)?;
            (quote!(FILTER_V1), quote! { ::skep_guest::hooks::filter::<#record>(address, len, #function) })
        }
        "shape" => {
            let record = referred(&hook.function, 0)?;
            let call = if shaping(record) {
                quote! { ::skep_guest::hooks::shape(address, len, #function) }
            } else {
                quote! {
                    ::skep_guest::hooks::shape::<#record>(address, len, |batch| {
                        batch.for_each(|_, record| #function(record))
                    })
                }
            };
            (quote!(SHAPE_V1), call)
        }
        _ => {
            let (state, record) = (referred(&hook.function, 0)?, referred(&hook.function, 1)?);
            let call = quote! {
                {
                    static STATE: ::skep_guest::hooks::Cell<#state> = ::skep_guest::hooks::Cell::new();
                    ::skep_guest::hooks::observe::<#state, #record>(address, len, &STATE, #function)
                }
            };
            (quote!(OBSERVE_V1), call)
        }
    };
    let section = format!("skep.schema.{}.v1", hook.name);
    let constant = format_ident!("SKEP_SCHEMA_{}", hook.name.to_uppercase());
    Ok(quote! {
        #[cfg(target_arch = "wasm32")]
        #[used]
        #[unsafe(link_section = #section)]
        static #constant: [u8; 32] = ::skep_guest::hooks::#fingerprint;

        #[cfg(target_arch = "wasm32")]
        #[unsafe(no_mangle)]
        extern "C" fn #entry(address: u32, len: u32) -> i64 {
            // SAFETY: the host calls this with a request.
            unsafe { #call }
        }
    })
}

/// Whether the type is `Shaping<…>`, by its last name.
fn shaping(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Shaping"))
}
