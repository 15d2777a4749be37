//! Guest code that the documentation shows is built as it says, and is what it says.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use skep_admit::{Policy, Slot, admit, inspect};
use skep_dev::{Tool, plugin, workspace};

/// The blocks of a page that are in `language`, first to last.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join(page)).unwrap();
    let mut found = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) if info.split(',').next() == Some(language) => open = Some(Vec::new()),
            (None, Some(_)) => open = Some(vec!["another language"]),
            (Some(_), Some("")) => {
                let lines = open.take().unwrap_or_default();
                if lines.first() != Some(&"another language") {
                    found.push(lines.join("\n") + "\n");
                }
            }
            (Some(lines), _) if lines.first() != Some(&"another language") => lines.push(line),
            _ => {}
        }
    }
    found
}

fn only(page: &str, language: &str) -> String {
    let mut blocks = blocks(page, language);
    assert_eq!(blocks.len(), 1, "{page} has one block in {language}");
    blocks.remove(0)
}

#[track_caller]
fn admitted_as_filter(module: &Path, world: &str) {
    let found = inspect(&fs::read(module).unwrap());
    let admission = admit(&found, Slot::Filter, &Policy::default()).unwrap();
    assert_eq!(admission.world.name(), world);
}

/// Whether there is a tool chain; else it is said that this was left out.
fn there(toolchain: Result<(), skep_error::Error>) -> bool {
    toolchain.inspect_err(|error| println!("left out: {error}")).is_ok()
}

#[test]
fn the_plugin_in_rust_is_built_from_its_page() {
    if !there(plugin::rust_toolchain()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let git = r#"git = "https://github.com/skep-project/skep""#;
    let manifest = only("docs/src/hooks.md", "toml");
    assert!(manifest.contains(git), "{manifest}");
    let here = format!("path = {:?}", workspace().join("crates/guest"));
    fs::create_dir(dir.path().join("src")).unwrap();
    fs::write(dir.path().join("Cargo.toml"), manifest.replace(git, &here)).unwrap();
    fs::write(dir.path().join("src/lib.rs"), only("docs/src/hooks.md", "rust")).unwrap();
    // The versions that the sample was built with.
    fs::copy(workspace().join("examples/slow-syscalls/Cargo.lock"), dir.path().join("Cargo.lock")).unwrap();
    let module = dir.path().join("slow.wasm");
    plugin::rust(dir.path(), "slow", &module).unwrap_or_else(|error| panic!("{}", error.report(60)));
    admitted_as_filter(&module, "hooks");
}

#[test]
fn the_filters_in_c_are_built_from_their_pages() {
    if !there(Tool::CLANG.find().map(drop)) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (page, world) in [("docs/src/hooks.md", "hooks"), ("README.md", "filter")] {
        let (source, module) = (dir.path().join("slow.c"), dir.path().join("slow.wasm"));
        fs::write(&source, only(page, "c")).unwrap();
        plugin::c(&source, &module).unwrap_or_else(|error| panic!("{page}: {}", error.report(60)));
        admitted_as_filter(&module, world);
    }
}

/// What stands around the lines of a page, which are not a whole program.
fn whole(page: &str, code: &str) -> String {
    let (includes, code): (Vec<&str>, Vec<&str>) = code.lines().partition(|line| line.starts_with("#include"));
    let (includes, code) = (includes.join("\n"), code.join("\n"));
    match page {
        "docs/src/program.md" => format!(
            "#include <stdio.h>\n#include <bpf/libbpf.h>\n{includes}\nint main(void)\n{{\n\tstatic struct {{ struct {{ struct bpf_program *tasks; }} progs; }} of, *skel = &of;\n\
             \tchar buf[4096];\n\tint n;\n{code}\nreturn 0;\n}}\n"
        ),
        _ => format!("{includes}\n{code}\nint main(void) {{ return object[0]; }}\n"),
    }
}

#[test]
fn the_programs_in_c_compile_as_their_pages_show_them() {
    if !there(skep_dev::guest::c_toolchain()) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tool.bpf.o"), "an object").unwrap();
    for page in ["docs/src/program.md", "docs/src/guests.md"] {
        let source = dir.path().join("tool.c");
        fs::write(&source, whole(page, &only(page, "c"))).unwrap();
        let built = skep_dev::guest::c(&source, &dir.path().join("tool.wasm"), &[dir.path().to_owned()]);
        built.unwrap_or_else(|error| panic!("{page}: {}", error.report(60)));
    }
}

/// Pages with guest code that no test above takes would not be noticed otherwise.
#[test]
fn no_page_has_guest_code_that_nobody_builds() {
    let output = Command::new("git").current_dir(workspace()).args(["ls-files", "*.md"]).output().unwrap();
    let pages: Vec<PathBuf> = String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect();
    assert!(pages.len() > 10, "{pages:?}");
    let mut with_code: Vec<String> = Vec::new();
    for page in &pages {
        let page = page.to_str().unwrap();
        for language in ["c", "rust", "go", "typescript"] {
            with_code.extend(blocks(page, language).iter().map(|_| format!("{page}: {language}")));
        }
    }
    with_code.sort();
    // filter.md's Rust is a documentation test of skep-sandbox; the eBPF program of wasm-from-c.md is compiled beside the
    // tests of linking, in tests/kernel-wasm.
    let built = [
        "README.md: c",
        "docs/src/filter.md: rust",
        "docs/src/guests.md: c",
        "docs/src/hooks.md: c",
        "docs/src/hooks.md: rust",
        "docs/src/program.md: c",
        "docs/src/wasm-from-c.md: c",
    ];
    assert_eq!(with_code, built);
}
