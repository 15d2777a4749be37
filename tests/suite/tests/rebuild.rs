//! The committed modules are what their sources say: each is built again, where its tool chain is present, and must show
//! the same imports and exports. (Bytes differ from one compiler to the next.) What is rebuilt of the samples must also do
//! what the committed ones do: the tests of `behaviour` run here on it. The other guests are tests themselves.

mod behaviour;

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::LazyLock,
    time::SystemTime,
};

use skep_abi::program;
use skep_dev::{
    catalogue::{Collection, Item, Language},
    surface::Surface,
};

fn committed(item: &Item) -> Surface {
    let bytes = fs::read(&item.result).unwrap_or_else(|error| {
        panic!("{}: {error}; build it: cargo run -p skep-dev -- {} {}", item.result.display(), command(item), item.name)
    });
    Surface::of(&bytes).unwrap()
}

fn command(item: &Item) -> &'static str {
    if item.result.starts_with(Collection::Examples.dir()) { "examples" } else { "guests" }
}

fn all() -> Vec<Item> {
    [Collection::Examples, Collection::TestGuests, Collection::BenchGuests]
        .into_iter()
        .flat_map(|collection| collection.items().unwrap())
        .collect()
}

/// Of nextest, which gives each test a process of its own, all of a run have one name; `cargo test` has one process.
static RUN: LazyLock<String> =
    LazyLock::new(|| std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| format!("{:?}", SystemTime::now())));

/// The module that the item's source makes today; `None` where it cannot be built here. A run of the tests builds it once,
/// whichever of them asks first.
fn rebuilt(item: &Item) -> Option<PathBuf> {
    if let Err(error) = item.toolchain() {
        println!("left out, {error}: {}", item.name);
        return None;
    }
    let dir = skep_dev::build_dir().join("rebuilt");
    fs::create_dir_all(&dir).unwrap();
    let module = dir.join(format!("{}.wasm", item.name));
    let stamp = dir.join(format!("{}.run", item.name));
    let lock = File::create(dir.join(format!("{}.lock", item.name))).unwrap();
    lock.lock().unwrap();
    if fs::read_to_string(&stamp).is_ok_and(|built_by| built_by == *RUN) {
        return Some(module);
    }
    item.build(&module).unwrap_or_else(|error| panic!("{error:?}"));
    fs::write(stamp, &*RUN).unwrap();
    Some(module)
}

/// For the tests of `behaviour`: that sample as its source makes it today.
fn sample(name: &str) -> PathBuf {
    let items = Collection::Examples.select(&[name.to_owned()]).unwrap();
    rebuilt(&items[0]).unwrap_or_else(|| skep_suite::example(name))
}

/// Builds every guest in that language again, where it can be built here, and compares.
fn rebuild(language: Language) {
    for item in all().into_iter().filter(|item| item.language == language) {
        let Some(module) = rebuilt(&item) else { continue };
        let surface = Surface::of(&fs::read(&module).unwrap()).unwrap();
        assert_eq!(surface, committed(&item), "{}: rebuild and commit it", item.name);
    }
}

#[test]
fn guests_in_c_show_what_the_committed_ones_show() {
    rebuild(Language::C);
}

#[test]
fn guests_in_rust_show_what_the_committed_ones_show() {
    rebuild(Language::Rust);
}

#[test]
fn guests_in_go_show_what_the_committed_ones_show() {
    rebuild(Language::Go);
}

#[test]
fn committed_modules_import_only_what_the_table_of_the_world_has() {
    let known: Vec<String> = program::IMPORTS
        .iter()
        .chain(program::VARIANTS)
        .chain(program::SHARED_IMPORTS)
        .chain(program::ITER_IMPORTS)
        .flat_map(|function| {
            let line = format!("{} {}", function.name, function.sig);
            // The older name of the same module.
            [format!("{}.{line}", function.module), format!("{}.{line}", program::MODULE_OLD)]
        })
        .collect();
    for item in all() {
        // Plugins and other libraries speak other worlds, whose tables admission holds them to.
        if matches!(item.language, Language::CPlugin | Language::RustPlugin) {
            continue;
        }
        let surface = committed(&item);
        let wasi = format!("{}.", program::MODULE_WASI);
        for import in surface.imports.iter().filter(|import| !import.starts_with(&wasi)) {
            assert!(known.contains(import), "{} imports {import}", item.name);
        }
        for export in ["memory memory", "_start func () -> ()"] {
            assert!(surface.exports.contains(export), "{} exports no {export}", item.name);
        }
    }
}

#[test]
fn shipped_samples_are_small() {
    for item in Collection::Examples.items().unwrap() {
        let len = fs::metadata(&item.result).unwrap().len();
        assert!(len < 2_000_000, "{}: {len} bytes", item.name);
    }
}
