use core::fmt;

/// A WebAssembly number type. No world of Skep passes anything else across the boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ValType {
    I32,
    I64,
    F32,
    F64,
}

/// The type of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sig {
    /// Parameter types, first to last.
    pub params: &'static [ValType],
    /// Result types, first to last.
    pub results: &'static [ValType],
}

/// A function that crosses the boundary between host and guest: an import, or an export when `module` is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Func {
    /// The import's module; empty for an export.
    pub module: &'static str,
    /// The function's name.
    pub name: &'static str,
    /// The function's type.
    pub sig: Sig,
}

impl Func {
    /// An imported function.
    pub const fn import(
        module: &'static str,
        name: &'static str,
        params: &'static [ValType],
        results: &'static [ValType],
    ) -> Self {
        Self { module, name, sig: Sig { params, results } }
    }

    /// An exported function.
    pub const fn export(name: &'static str, params: &'static [ValType], results: &'static [ValType]) -> Self {
        Self::import("", name, params, results)
    }
}

impl fmt::Display for ValType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

impl fmt::Display for Sig {
    /// As in the standard's prose: `(i32, i64) -> (i32)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_signature(f, self.params, self.results)
    }
}

/// Writes a function's type as every report shows it: `(i32, i64) -> (i32)`.
///
/// # Errors
/// Those of `f`.
pub fn write_signature<T: fmt::Display>(f: &mut fmt::Formatter<'_>, params: &[T], results: &[T]) -> fmt::Result {
    for (before, types) in [("(", params), (" -> (", results)] {
        f.write_str(before)?;
        for (i, ty) in types.iter().enumerate() {
            write!(f, "{}{ty}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(")")?;
    }
    Ok(())
}
