//! What a module shows to the outside: its imports with their types, and its exports.

use std::collections::BTreeSet;

use skep_error::{Error, Kind, Result};
use wasmparser::{ExternalKind, Parser, Payload, TypeRef, ValType};

/// Imports and exports of a module, each as one line of text in a sorted set, so that two can be compared and the
/// difference read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surface {
    /// `module.name (params) -> (results)` for a function; `module.name memory` and so on for the rest.
    pub imports: BTreeSet<String>,
    /// `name func (params) -> (results)`, `name memory`, `name table`, `name global`.
    pub exports: BTreeSet<String>,
}

impl Surface {
    /// Reads the surface of a core module.
    ///
    /// # Errors
    /// [`Kind::BadInput`] where the bytes are not a core module.
    pub fn of(wasm: &[u8]) -> Result<Self> {
        let bad = |error: wasmparser::BinaryReaderError| Error::wrap(Kind::BadInput, error);
        let mut surface = Self::default();
        let mut types = Vec::new();
        // Type index of every function, imported ones first.
        let mut functions = Vec::new();
        let mut exports = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload.map_err(bad)? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        let ty = ty.map_err(bad)?;
                        types.push(format!("({}) -> ({})", list(ty.params()), list(ty.results())));
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.map_err(bad)?;
                        let what = match import.ty {
                            TypeRef::Func(index) => {
                                functions.push(index);
                                types.get(index as usize).cloned().unwrap_or_default()
                            }
                            TypeRef::Memory(_) => "memory".to_owned(),
                            TypeRef::Table(_) => "table".to_owned(),
                            TypeRef::Global(_) => "global".to_owned(),
                            _ => "other".to_owned(),
                        };
                        surface.imports.insert(format!("{}.{} {what}", import.module, import.name));
                    }
                }
                Payload::FunctionSection(section) => {
                    for index in section {
                        functions.push(index.map_err(bad)?);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        exports.push(export.map_err(bad)?);
                    }
                }
                _ => {}
            }
        }
        for export in exports {
            let what = match export.kind {
                ExternalKind::Func => {
                    let ty = functions.get(export.index as usize).and_then(|index| types.get(*index as usize));
                    format!("func {}", ty.map_or("", String::as_str))
                }
                ExternalKind::Memory => "memory".to_owned(),
                ExternalKind::Table => "table".to_owned(),
                ExternalKind::Global => "global".to_owned(),
                _ => "other".to_owned(),
            };
            surface.exports.insert(format!("{} {what}", export.name));
        }
        Ok(surface)
    }
}

/// Types with commas between, as `skep_abi::Sig` prints them.
fn list(types: &[ValType]) -> String {
    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
