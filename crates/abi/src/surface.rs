use crate::Func;

/// What a module of one world may import and has to export: the row of a [`crate::World`] that admission, the linker
/// and the documentation read.
#[derive(Clone, Copy, Debug)]
pub struct Surface {
    /// The functions the world's modules may import. Rows of one module and name are alternatives: a module's own
    /// import type chooses.
    pub imports: &'static [&'static [Func]],
    /// Older names of import modules: `(older, current)`.
    pub aliases: &'static [(&'static str, &'static str)],
    /// The memory that a module may import instead of exporting its own, as module and name.
    pub memory: Option<(&'static str, &'static str)>,
    /// The forms a module of the world comes in, the more particular first.
    pub forms: &'static [Form],
}

/// One form of a world's modules.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// The form's name in reports; empty where the world has one form only.
    pub name: &'static str,
    /// What tells the form: a module that bears any of them is meant to be of this form.
    pub markers: &'static [Marker],
    /// Functions that have to be exported. Rows of one name are alternatives.
    pub required: &'static [Func],
    /// Functions that have to be of this type where they are exported. Rows of one name are alternatives.
    pub optional: &'static [Func],
    /// Globals of type i32 that have to be exported, each holding an address.
    pub globals: &'static [&'static str],
    /// Whether a linear memory has to be exported as [`MEMORY`].
    pub memory: bool,
}

/// A trait of a module that only one world's modules have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Something is imported from the module of that name.
    ImportModule(&'static str),
    /// A function of that name is imported from the module of that name.
    Import(&'static str, &'static str),
    /// A function of that name is exported.
    Export(&'static str),
    /// There is a custom section of that name.
    Section(&'static str),
}

/// The name under which every world's modules export their linear memory.
pub const MEMORY: &str = "memory";

impl Surface {
    /// Every function that may be imported.
    pub fn functions(&self) -> impl Iterator<Item = &'static Func> + Clone + use<> {
        self.imports.iter().flat_map(|table| table.iter())
    }

    /// The current name of an import module: of an older name, the one that took its place.
    pub fn module<'a>(&self, name: &'a str) -> &'a str {
        self.aliases.iter().find(|(older, _)| *older == name).map_or(name, |(_, current)| current)
    }
}
