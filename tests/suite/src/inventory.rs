use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use libbpf_rs::query::{LinkInfoIter, MapInfoIter, ProgInfoIter};

/// What is loaded and attached in the kernel, each with its name: programs, maps and links by their ids.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    items: BTreeMap<(&'static str, u32), String>,
}

impl Inventory {
    /// What there is now.
    pub fn now() -> Self {
        let mut items = BTreeMap::new();
        let mut programs = BTreeMap::new();
        for program in ProgInfoIter::default() {
            let name = program.name.to_string_lossy().into_owned();
            programs.insert(program.id, name.clone());
            items.insert(("program", program.id), name);
        }
        for map in MapInfoIter::default() {
            items.insert(("map", map.id), map.name.to_string_lossy().into_owned());
        }
        for link in LinkInfoIter::default() {
            let program = programs.get(&link.prog_id).cloned().unwrap_or_default();
            items.insert(("link", link.id), program);
        }
        Self { items }
    }

    /// What has come since `before`, as far as one of `names` names it: a kernel may have other users meanwhile.
    pub fn added_since(&self, before: &Self, names: &[&str]) -> Vec<String> {
        let new = self.items.iter().filter(|(key, _)| !before.items.contains_key(key));
        let ours = new.filter(|(_, name)| names.contains(&name.as_str()));
        ours.map(|((kind, id), name)| format!("{kind} {id} {name}")).collect()
    }

    /// Waits until nothing of those names is left that was not there `before`: the kernel frees programs a moment after
    /// their last user has gone.
    ///
    /// # Panics
    /// When something is left after ten seconds.
    pub fn assert_nothing_left(before: &Self, names: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left = Self::now().added_since(before, names);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left behind in the kernel: {left:?}");
            thread::yield_now();
        }
    }
}
