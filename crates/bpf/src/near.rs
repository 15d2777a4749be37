//! Names that are nearly right: what this kernel, its tracing file system or a file has instead.

use std::{fs, ops::ControlFlow, path::Path};

use blazesym::inspect::{Inspector, source};
use skep_error::nearest;

use crate::tracefs;

fn suggestion(what: &str, near: Option<&str>) -> String {
    match near {
        Some(near) => format!("{what}; did you mean {near}?"),
        None => what.to_owned(),
    }
}

/// The kernel's functions; of the security hooks, also the names without the prefix that their programs' sections leave out.
pub(crate) fn kernel_function(name: &str) -> String {
    let stem: String = name.chars().take(6).collect();
    let table = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split_ascii_whitespace().nth(2));
    let names = names.map(|name| name.strip_prefix("bpf_lsm_").unwrap_or(name));
    let near = nearest(name, names.filter(|name| name.contains(stem.as_str())));
    suggestion(&format!("the kernel has no function {name} that can be probed"), near)
}

/// System calls, by what the kernel calls their entries on x86-64 and on aarch64.
pub(crate) fn system_call(name: &str) -> String {
    let table = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let names = table.lines().filter_map(|line| line.split_ascii_whitespace().nth(2)?.split_once("64_sys_"));
    let names = names.filter(|(before, _)| matches!(*before, "__x" | "__arm"));
    let near = nearest(name, names.map(|(_, name)| name));
    suggestion(&format!("the kernel has no system call {name}"), near)
}

/// Tracepoints: `category:name` or `category/name`, or a name alone, as raw tracepoints have it.
pub(crate) fn tracepoint(place: &str) -> String {
    tracefs::ensure_mounted();
    let Some(events) = tracefs::events() else {
        return "tracefs is not mounted: mount -t tracefs tracefs /sys/kernel/tracing".to_owned();
    };
    let entries = |path: &Path| -> Vec<String> {
        let found = fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
        found.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let categories = entries(events);
    let all = categories
        .iter()
        .flat_map(|category| entries(&events.join(category)).into_iter().map(move |name| format!("{category}:{name}")));
    let all: Vec<String> = all.collect();
    let what = format!("this kernel has no tracepoint {place}");
    match place.split_once([':', '/']) {
        Some((category, name)) => {
            let asked = format!("{category}:{name}");
            suggestion(&what, nearest(&asked, all.iter().map(String::as_str)))
        }
        None => suggestion(&what, nearest(place, all.iter().filter_map(|one| Some(one.split_once(':')?.1)))),
    }
}

/// Symbols of an ELF file: `path:symbol`, whatever is added to it.
pub(crate) fn user_symbol(place: &str) -> String {
    let Some((path, symbol)) = place.rsplit_once(':') else {
        return "write it as path:symbol".to_owned();
    };
    if !Path::new(path).is_file() {
        return format!("{path} is no file; give its whole path");
    }
    let symbol = symbol.split('+').next().unwrap_or(symbol);
    let mut names = Vec::new();
    let mut elf = source::Elf::new(path);
    // What can be probed is what the symbol table has.
    elf.debug_syms = false;
    let file = source::Source::Elf(elf);
    let all = Inspector::new().for_each(&file, |found| {
        names.push(found.name.to_string());
        ControlFlow::Continue(())
    });
    let what = format!("{path} has no symbol {symbol}: nm -D {path} lists those that it shows");
    if all.is_err() {
        return what;
    }
    suggestion(&what, nearest(symbol, names.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_symbols_of_a_file_are_known() {
        let own = std::env::current_exe().unwrap();
        let place = format!("{}:mainn", own.display());
        assert!(user_symbol(&place).ends_with("did you mean main?"), "{}", user_symbol(&place));
        assert!(user_symbol("/nowhere:main").contains("is no file"));
    }

    #[test]
    fn tracepoints_and_system_calls_are_known() {
        if !crate::explain::has_bpf_privilege() || !tracefs::ensure_mounted() {
            println!("left out: no privilege to read tracefs and the kernel's symbols");
            return;
        }
        for (given, meant) in [("sched/sched_swich", "sched:sched_switch"), ("sched:sched_swich", "sched:sched_switch")]
        {
            assert!(tracepoint(given).ends_with(&format!("did you mean {meant}?")), "{}", tracepoint(given));
        }
        assert!(tracepoint("sys_entr").ends_with("did you mean sys_enter?"), "{}", tracepoint("sys_entr"));
        assert!(system_call("unlinkatt").ends_with("did you mean unlinkat?"), "{}", system_call("unlinkatt"));
    }
}
