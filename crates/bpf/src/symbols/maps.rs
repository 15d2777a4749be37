//! Which files a process had mapped, kept for when it has gone: its last samples are read after its end.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use blazesym::helper::read_elf_build_id;

/// How old the maps of a process may be before they are read again, when it has new code to be named; and how old what is known of a
/// file. To read them takes a millisecond where a process has many libraries, more than all else about a sample.
const FRESH: Duration = Duration::from_secs(1);
/// Processes whose maps are kept at most, before everything is forgotten.
const PROCESSES: usize = 4096;

/// Files of which it is known whether they are there at most, before that is forgotten.
const FILES: usize = 4096;

/// Code of a file, mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    start: u64,
    end: u64,
    /// The file's byte at `start`.
    offset: u64,
    pub(super) file: Arc<MappedFile>,
}

impl Mapping {
    /// The file's byte at that address.
    pub(super) fn file_offset(&self, address: u64) -> u64 {
        (address - self.start).saturating_add(self.offset)
    }
}

/// A file that was mapped.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MappedFile {
    /// As the process saw it.
    pub(super) path: PathBuf,
    pub(super) build_id: Option<Vec<u8>>,
}

impl MappedFile {
    /// Whether the file of that name is still the one that was mapped. Without a build id nobody can tell.
    fn is_there(&self) -> bool {
        self.build_id.is_some() && build_id(&self.path) == self.build_id
    }
}

/// Which mapped files are there still, by their names, and when that was looked at.
#[derive(Default)]
pub(super) struct FilesThere(HashMap<PathBuf, (Instant, bool)>);

impl FilesThere {
    pub(super) fn has(&mut self, file: &MappedFile) -> bool {
        match self.0.get(&file.path) {
            Some(&(looked, there)) if looked.elapsed() < FRESH => there,
            _ => {
                let there = file.is_there();
                if self.0.len() >= FILES {
                    self.0.clear();
                }
                self.0.insert(file.path.clone(), (Instant::now(), there));
                there
            }
        }
    }
}

/// The maps of the processes that were seen alive.
#[derive(Default)]
pub(super) struct KeptMaps {
    processes: HashMap<u32, (Instant, Vec<Mapping>)>,
    /// By device and inode as the maps show them.
    files: HashMap<(String, String), Arc<MappedFile>>,
}

impl KeptMaps {
    /// Keeps the maps of a process, if it lives and they are not known well enough. A number that is given to another process brings
    /// new code, and with it new maps.
    pub(super) fn keep(&mut self, pid: u32) {
        if self.processes.get(&pid).is_some_and(|(read, _)| read.elapsed() < FRESH) {
            return;
        }
        self.read(pid);
    }

    /// Keeps the maps of a process as they are now, if it lives.
    pub(super) fn read(&mut self, pid: u32) {
        let Ok(text) = fs::read(format!("/proc/{pid}/maps")) else { return };
        let text = String::from_utf8_lossy(&text);
        let maps: Vec<Mapping> = text.lines().filter_map(|line| self.mapping(pid, line)).collect();
        if maps.is_empty() {
            // A process that ends has no memory any more.
            return;
        }
        if self.processes.len() >= PROCESSES {
            self.processes.clear();
            self.files.clear();
        }
        self.processes.insert(pid, (Instant::now(), maps));
    }

    /// What a process had mapped at that address.
    pub(super) fn find(&self, pid: u32, address: u64) -> Option<&Mapping> {
        let (_, maps) = self.processes.get(&pid)?;
        maps.iter().find(|mapping| (mapping.start..mapping.end).contains(&address))
    }

    /// `start-end perms offset device inode path`, of code in a file.
    fn mapping(&mut self, pid: u32, line: &str) -> Option<Mapping> {
        let mut words = line.splitn(6, ' ');
        let range = words.next()?;
        let (start, end) = range.split_once('-')?;
        let permissions = words.next()?;
        let offset = u64::from_str_radix(words.next()?, 16).ok()?;
        let (device, inode) = (words.next()?, words.next()?);
        let path = words.next()?.trim_start();
        if permissions.as_bytes().get(2) != Some(&b'x') || !path.starts_with('/') {
            return None;
        }
        let file = self.files.entry((device.to_owned(), inode.to_owned())).or_insert_with(|| {
            // The name may mean another file outside of the process's root.
            let mapped = PathBuf::from(format!("/proc/{pid}/map_files/{range}"));
            Arc::new(MappedFile { path: path.into(), build_id: build_id(&mapped) })
        });
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(Mapping { start: number(start)?, end: number(end)?, offset, file: file.clone() })
    }
}

fn build_id(path: &Path) -> Option<Vec<u8>> {
    read_elf_build_id(path).ok().flatten().map(|id| id.to_vec())
}
