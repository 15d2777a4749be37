//! Names of functions as their source has them.

/// What names start with that a compiler of C++ mangled, blocks and constructors of globals among them.
const CPP: [&str; 5] = ["_Z", "__Z", "___Z", "____Z", "_GLOBAL_"];
/// What names start with that rustc mangled, in its legacy form and in v0.
const RUST: [&str; 4] = ["_ZN", "__ZN", "_R", "__R"];

/// The name that was mangled to `name`, or `name`. The parsers take more for mangled than a symbol can be: `f` for the type `float`,
/// `R…` for a name whose underscore was cut off. So they are asked only about what starts as a mangled symbol does.
pub(super) fn demangled(name: &str) -> String {
    let starts = |with: &[&str]| with.iter().any(|start| name.starts_with(start));
    if starts(&RUST)
        && let Ok(rust) = rustc_demangle::try_demangle(name)
    {
        return format!("{rust:#}");
    }
    let cpp = starts(&CPP).then(|| cpp_demangle::Symbol::new(name).ok()?.demangle().ok()).flatten();
    cpp.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_mangled_is_demangled() {
        for name in "f i w v d x PKc Ss NC RNvC1a1b ZN3foo3barE main _start _Read _".split(' ') {
            assert_eq!(demangled(name), name);
        }
        for (name, source) in [
            ("_ZN3foo3barEv", "foo::bar()"),
            ("_Z3barPKc", "bar(char const*)"),
            ("_Z3barv.constprop.0", "bar() [clone .constprop.0]"),
            ("_ZN4core3fmt5write17h0123456789abcdefE", "core::fmt::write"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
        ] {
            assert_eq!(demangled(name), source, "{name}");
        }
    }
}
