use super::Page;
use skep_abi::{CAPABILITIES, Func, World, hooks, program};
use skep_admit::{Budget, LIMITS, RejectionKind};
use skep_error::{Error, Kind, Result, did_you_mean};
use std::fmt::Write as _;

/// A table's name and what makes it.
type Table = (&'static str, fn() -> String);

/// Every table that pages can show.
const TABLES: &[Table] = &[
    ("exit-codes", exit_codes),
    ("worlds", worlds),
    ("imports-program", || imports(&[program::IMPORTS, program::VARIANTS])),
    ("imports-shared", || imports(&[program::SHARED_IMPORTS])),
    ("imports-iterators", || imports(&[program::ITER_IMPORTS])),
    ("imports-hooks", || imports(hooks::SURFACE.imports)),
    ("capabilities", capabilities),
    ("budget", budget),
    ("limits", limits),
    ("rejections", rejections),
];

const START: &str = "<!-- generated: ";
const START_END: &str = " -->";
const END: &str = "<!-- end -->";

/// The page with each of its generated tables made anew.
pub(super) fn rewrite(page: &Page) -> Result<String> {
    let broken = |what: String| Error::new(Kind::BadInput, what).context(format!("reading {}", page.name()));
    let mut text = String::new();
    let mut rest = page.text.as_str();
    while let Some(at) = rest.find(START) {
        let (before, after) = rest.split_at(at + START.len());
        let (name, after) = after.split_once(START_END).ok_or_else(|| broken("a marker has no end".to_owned()))?;
        let (_, after) = after.split_once(END).ok_or_else(|| broken(format!("table {name} has no {END}")))?;
        let (_, make) = TABLES.iter().find(|(known, _)| *known == name).ok_or_else(|| {
            broken(format!("no table {name}")).help(did_you_mean(name, TABLES.iter().map(|(known, _)| *known)))
        })?;
        _ = write!(text, "{before}{name}{START_END}\n{}{END}", make());
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}

fn exit_codes() -> String {
    let mut table = "| code | kind | meaning |\n|---|---|---|\n| 0 | | Everything asked for was done. |\n".to_owned();
    for kind in Kind::ALL {
        _ = writeln!(table, "| {} | {kind:?} | {} |", kind.exit_code(), kind.about());
    }
    table
}

fn worlds() -> String {
    let mut table = "| world | what it is |\n|---|---|\n".to_owned();
    for world in World::ALL {
        _ = writeln!(table, "| `{}` | {} |", world.name(), world.about());
    }
    table
}

fn imports(lists: &[&[Func]]) -> String {
    let mut table = "| module | function | type |\n|---|---|---|\n".to_owned();
    for func in lists.iter().flat_map(|list| list.iter()) {
        _ = writeln!(table, "| `{}` | `{}` | `{}` |", func.module, func.name, func.sig);
    }
    table
}

fn capabilities() -> String {
    let mut table = "| capability | allows a module to | imports |\n|---|---|---|\n".to_owned();
    for capability in CAPABILITIES {
        let modules = capability.functions().map(|func| func.module).fold(Vec::new(), |mut seen: Vec<&str>, module| {
            if !seen.contains(&module) {
                seen.push(module);
            }
            seen
        });
        let of = |module: &&str| {
            let names = capability.functions().filter(|func| func.module == *module).map(|func| func.name);
            let mut names: Vec<&str> = names.collect();
            names.dedup();
            format!("`{module}`: {}", names.join(", "))
        };
        let imports: Vec<String> = modules.iter().map(of).collect();
        _ = writeln!(table, "| `{}` | {} | {} |", capability.name, capability.about, imports.join("; "));
    }
    table
}

fn budget() -> String {
    let mut table = "| limit | default | what it bounds |\n|---|---|---|\n".to_owned();
    for (name, value, about) in Budget::default().rows() {
        _ = writeln!(table, "| `{name}` | {value} | {about} |");
    }
    table
}

fn limits() -> String {
    let mut table = "| at most | |\n|---|---|\n".to_owned();
    for (limit, about) in LIMITS {
        _ = writeln!(table, "| {limit} | {about} |");
    }
    table
}

fn rejections() -> String {
    let mut table = "| kind | what is wrong | what to do |\n|---|---|---|\n".to_owned();
    for kind in RejectionKind::ALL {
        _ = writeln!(table, "| `{}` | {} | {} |", kind.code(), kind.about(), kind.help().replace('|', "\\|"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Page {
        Page { path: "x.md".into(), text: text.to_owned() }
    }

    #[test]
    fn a_table_is_made_anew_and_the_rest_stays() {
        let old = "before\n<!-- generated: worlds -->\nold\n<!-- end -->\nafter\n";
        let new = rewrite(&page(old)).unwrap();
        assert!(new.starts_with("before\n<!-- generated: worlds -->\n| world |"), "{new}");
        assert!(new.ends_with("<!-- end -->\nafter\n"), "{new}");
        assert!(new.contains("| `program` |"));
        assert_eq!(rewrite(&page(&new)).unwrap(), new);
    }

    #[test]
    fn an_unknown_table_is_an_error() {
        let error = rewrite(&page("<!-- generated: word -->\n<!-- end -->")).unwrap_err();
        assert_eq!(error.help_text(), Some("did you mean \"worlds\"?"));
        assert!(rewrite(&page("<!-- generated: worlds -->\nno end")).is_err());
    }
}
