//! From addresses to names, by blazesym: the kernel, ELF and DWARF, perf maps of JITs, files as the process sees them
//! (through `/proc/PID/map_files`, so a container's own root is the one that counts).

mod demangle;
mod maps;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::PathBuf,
    sync::Arc,
};

use blazesym::{
    Pid,
    normalize::{Normalizer, UserMeta},
    symbolize::{
        Input, Sym, Symbolized, Symbolizer as Blazesym,
        source::{Elf, Kernel, Process, Source},
    },
};
use skep_event::Frame;

use demangle::demangled;
use maps::{FilesThere, KeptMaps, MappedFile};

/// Addresses whose frames are remembered at most, before everything is forgotten.
const REMEMBERED: usize = 200_000;

/// Resolves stacks, and remembers addresses that it has resolved.
pub struct Symbols {
    blazesym: Blazesym,
    normalizer: Normalizer,
    maps: KeptMaps,
    files: FilesThere,
    known: Known,
}

/// What was resolved.
#[derive(Default)]
struct Known {
    /// By process (0 is the kernel) and address: the frames of that address, those of inlined functions first.
    processes: HashMap<u32, HashMap<u64, Arc<[Frame]>>>,
    addresses: usize,
}

impl Known {
    fn get(&self, pid: u32, place: u64) -> Option<&Arc<[Frame]>> {
        self.processes.get(&pid)?.get(&place)
    }

    fn insert(&mut self, pid: u32, place: u64, frames: Arc<[Frame]>) {
        let before = self.processes.entry(pid).or_default().insert(place, frames);
        self.addresses += usize::from(before.is_none());
    }

    fn forget(&mut self, pid: u32) {
        self.addresses -= self.processes.remove(&pid).map_or(0, |places| places.len());
    }
}

impl Default for Symbols {
    fn default() -> Self {
        Self::new()
    }
}

impl Symbols {
    /// A resolver that knows nothing yet.
    pub fn new() -> Self {
        Self {
            // blazesym would take the C function `f` for the mangled type `float`.
            blazesym: Blazesym::builder().enable_inlined_fns(true).enable_demangling(false).build(),
            normalizer: Normalizer::builder().enable_build_ids(true).build(),
            maps: KeptMaps::default(),
            files: FilesThere::default(),
            known: Known::default(),
        }
    }

    /// Looks up the addresses of many stacks, those of one process in one go: what [`Symbols::resolve`] then finds. Process 0 is
    /// the kernel.
    pub fn learn_all<'a>(&mut self, stacks: impl Iterator<Item = (u32, &'a [u64])>) {
        if self.known.addresses > REMEMBERED {
            self.known = Known::default();
        }
        let mut unknown: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        for (pid, addresses) in stacks {
            let new = places(addresses).filter(|&place| self.known.get(pid, place).is_none());
            unknown.entry(pid).or_default().extend(new);
        }
        for (pid, places) in unknown.into_iter().filter(|(_, places)| !places.is_empty()) {
            self.learn(pid, &places.into_iter().collect::<Vec<_>>());
        }
    }

    /// Keeps what a process has mapped now: it may have ended when its stacks are looked at. What was known of it is of the program that
    /// it was before.
    pub fn see(&mut self, pid: u32) {
        self.known.forget(pid);
        self.maps.read(pid);
    }

    /// The frames of a stack, innermost first; `pid` 0 is the kernel. What cannot be resolved keeps its address and, where its file is
    /// known, the file, its build id and the place in it.
    pub fn resolve(&mut self, pid: u32, addresses: &[u64]) -> Vec<Frame> {
        self.learn_all([(pid, addresses)].into_iter());
        let mut frames = Vec::new();
        for (place, &address) in places(addresses).zip(addresses) {
            match self.known.get(pid, place) {
                Some(known) => frames.extend(known.iter().cloned()),
                None => frames.push(Frame { address, kernel: pid == 0, ..Frame::default() }),
            }
        }
        frames
    }

    fn learn(&mut self, pid: u32, places: &[u64]) {
        if pid == 0 {
            return self.learn_live(pid, Source::Kernel(Kernel::default()), places);
        }
        self.maps.keep(pid);
        // What lies in files that are where they were needs no look at the process.
        let others = self.learn_from_files(pid, places);
        if !others.is_empty() {
            self.learn_live(pid, Source::Process(Process::new(Pid::from(pid))), &others);
        }
    }

    /// What the kernel or a process that lives says of addresses.
    fn learn_live(&mut self, pid: u32, source: Source<'_>, places: &[u64]) {
        let symbolized = match self.blazesym.symbolize(&source, Input::AbsAddr(places)) {
            Ok(symbolized) => symbolized,
            Err(error) => {
                // The process has gone, or its files cannot be read.
                tracing::debug!("symbols of process {pid}: {error:#}");
                self.learn_from_kept_maps(pid, places);
                return;
            }
        };
        let mut unresolved = Vec::new();
        let mut learned = Vec::new();
        for (&place, symbolized) in places.iter().zip(&symbolized) {
            match symbolized {
                Symbolized::Sym(symbol) => learned.push((place, frames_of(symbol, place, pid == 0))),
                Symbolized::Unknown(_) => unresolved.push(place),
            }
        }
        drop(symbolized);
        for (place, frames) in learned {
            self.known.insert(pid, place, frames.into());
        }
        if pid != 0 && !unresolved.is_empty() {
            self.place_in_files(pid, &mut unresolved);
        }
    }

    /// Names places in files that a process has mapped and that are there still; returns the others.
    fn learn_from_files(&mut self, pid: u32, places: &[u64]) -> Vec<u64> {
        let mut others = Vec::new();
        for &place in places {
            let file = self.maps.find(pid, place).map(|mapping| (mapping.file.clone(), mapping.file_offset(place)));
            match file {
                Some((file, file_offset)) if self.files.has(&file) => {
                    let frames = self.frames_in(&file, file_offset, place);
                    self.known.insert(pid, place, frames.unwrap_or_else(|| placed(&file, file_offset, place)).into());
                }
                _ => others.push(place),
            }
        }
        others
    }

    /// What is known of a process that has gone: the files that it had mapped when it was last seen alive. Addresses of a process that
    /// never was stay what they are.
    fn learn_from_kept_maps(&mut self, pid: u32, places: &[u64]) {
        for place in self.learn_from_files(pid, places) {
            let Some(mapping) = self.maps.find(pid, place) else { continue };
            let frames = placed(&mapping.file, mapping.file_offset(place), place);
            self.known.insert(pid, place, frames.into());
        }
    }

    /// The frames of a place in a file, if it has a symbol there.
    fn frames_in(&self, file: &MappedFile, file_offset: u64, place: u64) -> Option<Vec<Frame>> {
        let source = Source::Elf(Elf::new(&file.path));
        match self.blazesym.symbolize_single(&source, Input::FileOffset(file_offset)) {
            Ok(Symbolized::Sym(symbol)) => Some(frames_of(&symbol, place, false)),
            _ => None,
        }
    }

    /// Keeps what a later look at the file needs: its path, build id and offset.
    fn place_in_files(&mut self, pid: u32, places: &mut [u64]) {
        places.sort_unstable();
        let Ok(output) = self.normalizer.normalize_user_addrs(Pid::from(pid), places) else {
            return self.learn_from_kept_maps(pid, places);
        };
        for (&place, &(file_offset, meta)) in places.iter().zip(&output.outputs) {
            let mut frame = Frame { address: place, file_offset, ..Frame::default() };
            match output.meta.get(meta) {
                Some(UserMeta::Elf(elf)) => {
                    frame.module = elf.path.to_string_lossy().into_owned();
                    frame.build_id = elf.build_id.as_deref().map(hex).unwrap_or_default();
                }
                _ => frame.file_offset = 0,
            }
            self.known.insert(pid, place, Arc::new([frame]));
        }
        // One that has ended and that nobody has waited for yet has empty maps.
        let nowhere = |place: &&u64| self.known.get(pid, **place).is_some_and(|frames| frames[0].module.is_empty());
        let nowhere: Vec<u64> = places.iter().filter(nowhere).copied().collect();
        self.learn_from_kept_maps(pid, &nowhere);
    }
}

/// What a later look at a file without symbols needs.
fn placed(file: &MappedFile, file_offset: u64, address: u64) -> Vec<Frame> {
    vec![Frame {
        address,
        module: file.path.to_string_lossy().into_owned(),
        build_id: file.build_id.as_deref().map(hex).unwrap_or_default(),
        file_offset,
        ..Frame::default()
    }]
}

/// Where to look for the frames of a stack's addresses: all but the innermost are return addresses, and the call is just before.
fn places(addresses: &[u64]) -> impl Iterator<Item = u64> {
    addresses.iter().enumerate().map(|(at, &ip)| if at == 0 { ip } else { ip.saturating_sub(1) })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn frames_of(symbol: &Sym<'_>, address: u64, kernel: bool) -> Vec<Frame> {
    let module = match (&symbol.module, kernel) {
        (_, true) => "[kernel]".to_owned(),
        (Some(module), _) => module.to_string_lossy().into_owned(),
        (None, _) => String::new(),
    };
    let frame = |name: &str, code: Option<(String, u32)>| {
        let (file, line) = code.unwrap_or_default();
        Frame { address, name: demangled(name), module: module.clone(), file, line, kernel, ..Frame::default() }
    };
    let place = |code: &blazesym::symbolize::CodeInfo<'_>| {
        let path: PathBuf = code.to_path().into_owned();
        (path.to_string_lossy().into_owned(), code.line.unwrap_or(0))
    };
    // blazesym lists inlined functions from the outside in; a stack is read from the inside out.
    let inlined =
        symbol.inlined.iter().rev().map(|function| frame(&function.name, function.code_info.as_ref().map(place)));
    let own = frame(&symbol.name, symbol.code_info.as_deref().map(place));
    inlined.chain([own]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn known_function() -> u64 {
        known_function as *const () as u64
    }

    #[test]
    fn an_address_of_this_process_has_its_name() {
        let frames = Symbols::new().resolve(std::process::id(), &[known_function() + 1]);
        assert!(frames.iter().any(|frame| frame.name.contains("known_function")), "{frames:?}");
    }

    #[test]
    fn code_of_a_process_that_has_gone_is_placed_in_the_file_that_it_had_mapped() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id();
        let maps = || std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let is_code = |line: &&str| line.contains(" r-xp ") && line.contains('/');
        let code = std::iter::repeat_with(|| maps().lines().find(is_code).map(str::to_owned)).flatten().next().unwrap();
        let start = u64::from_str_radix(code.split_once('-').unwrap().0, 16).unwrap();
        let file = code.rsplit_once(' ').unwrap().1;
        let mut symbols = Symbols::new();
        let mut check = |address: u64| {
            for frame in symbols.resolve(pid, &[address]) {
                assert!(frame.module == file || !frame.name.is_empty(), "{frame:?}");
                assert!(!frame.name.is_empty() || frame.file_offset > 0 && !frame.build_id.is_empty(), "{frame:?}");
            }
        };
        check(start + 0x40);
        child.kill().unwrap();
        while !maps().is_empty() {
            std::thread::yield_now();
        }
        check(start + 0x80);
        child.wait().unwrap();
        check(start + 0xc0);
    }

    #[test]
    fn an_address_of_nobody_stays_an_address() {
        let mut symbols = Symbols::new();
        for pid in [std::process::id(), u32::MAX >> 1] {
            let frames = symbols.resolve(pid, &[0x10]);
            assert_eq!((frames.len(), frames[0].address), (1, 0x10));
            assert!(frames[0].name.is_empty());
        }
    }
}
