//! The plugins of `examples/` are what their sources say: the same imports and exports, whatever compiler built them.

use skep_dev::{
    catalogue::{Collection, Language},
    surface::Surface,
};

#[test]
fn plugins_are_built_from_their_sources() {
    let temporary = tempfile::tempdir().unwrap();
    let plugins = Collection::Examples.items().unwrap();
    let mut built = 0;
    for item in plugins.iter().filter(|item| matches!(item.language, Language::RustPlugin | Language::CPlugin)) {
        if let Err(error) = item.toolchain() {
            println!("left out: {}: {error}", item.name);
            continue;
        }
        let rebuilt = temporary.path().join(format!("{}.wasm", item.name));
        if let Err(error) = item.build(&rebuilt) {
            panic!("{}", error.report(40));
        }
        let of = |path| Surface::of(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(of(&rebuilt), of(&item.result), "{}", item.name);
        built += 1;
    }
    println!("{built} plugins rebuilt");
}
