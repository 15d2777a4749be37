use libbpf_sys::*;

use super::{Area, Finding, Surroundings, Verdict, sys};
use crate::privilege::to_create;

/// Name, number, the kernel that first had it, and the option without which it lacks it.
type Row = (&'static str, u32, (u32, u32), &'static str);

const ROWS: &[Row] = &[
    ("hash", BPF_MAP_TYPE_HASH, (3, 19), ""),
    ("array", BPF_MAP_TYPE_ARRAY, (3, 19), ""),
    ("prog_array", BPF_MAP_TYPE_PROG_ARRAY, (4, 2), ""),
    ("perf_event_array", BPF_MAP_TYPE_PERF_EVENT_ARRAY, (4, 3), "CONFIG_PERF_EVENTS"),
    ("percpu_hash", BPF_MAP_TYPE_PERCPU_HASH, (4, 6), ""),
    ("percpu_array", BPF_MAP_TYPE_PERCPU_ARRAY, (4, 6), ""),
    ("stack_trace", BPF_MAP_TYPE_STACK_TRACE, (4, 6), "CONFIG_PERF_EVENTS"),
    ("cgroup_array", BPF_MAP_TYPE_CGROUP_ARRAY, (4, 8), "CONFIG_CGROUPS"),
    ("lru_hash", BPF_MAP_TYPE_LRU_HASH, (4, 10), ""),
    ("lru_percpu_hash", BPF_MAP_TYPE_LRU_PERCPU_HASH, (4, 10), ""),
    ("lpm_trie", BPF_MAP_TYPE_LPM_TRIE, (4, 11), ""),
    ("array_of_maps", BPF_MAP_TYPE_ARRAY_OF_MAPS, (4, 12), ""),
    ("hash_of_maps", BPF_MAP_TYPE_HASH_OF_MAPS, (4, 12), ""),
    ("devmap", BPF_MAP_TYPE_DEVMAP, (4, 14), "CONFIG_NET"),
    ("devmap_hash", BPF_MAP_TYPE_DEVMAP_HASH, (5, 4), "CONFIG_NET"),
    ("sockmap", BPF_MAP_TYPE_SOCKMAP, (4, 14), "CONFIG_NET"),
    ("sockhash", BPF_MAP_TYPE_SOCKHASH, (4, 18), "CONFIG_NET"),
    ("cpumap", BPF_MAP_TYPE_CPUMAP, (4, 15), "CONFIG_NET"),
    ("xskmap", BPF_MAP_TYPE_XSKMAP, (4, 18), "CONFIG_XDP_SOCKETS"),
    ("cgroup_storage", BPF_MAP_TYPE_CGROUP_STORAGE, (4, 19), "CONFIG_CGROUP_BPF"),
    ("percpu_cgroup_storage", BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, (4, 20), "CONFIG_CGROUP_BPF"),
    ("reuseport_sockarray", BPF_MAP_TYPE_REUSEPORT_SOCKARRAY, (4, 19), "CONFIG_INET"),
    ("queue", BPF_MAP_TYPE_QUEUE, (4, 20), ""),
    ("stack", BPF_MAP_TYPE_STACK, (4, 20), ""),
    ("sk_storage", BPF_MAP_TYPE_SK_STORAGE, (5, 2), "CONFIG_NET"),
    ("struct_ops", BPF_MAP_TYPE_STRUCT_OPS, (5, 6), "CONFIG_BPF_JIT"),
    ("ringbuf", BPF_MAP_TYPE_RINGBUF, (5, 8), ""),
    ("inode_storage", BPF_MAP_TYPE_INODE_STORAGE, (5, 10), "CONFIG_BPF_LSM"),
    ("task_storage", BPF_MAP_TYPE_TASK_STORAGE, (5, 11), ""),
    ("bloom_filter", BPF_MAP_TYPE_BLOOM_FILTER, (5, 16), ""),
    ("user_ringbuf", BPF_MAP_TYPE_USER_RINGBUF, (6, 1), ""),
    ("cgrp_storage", BPF_MAP_TYPE_CGRP_STORAGE, (6, 2), "CONFIG_CGROUPS"),
    ("arena", BPF_MAP_TYPE_ARENA, (6, 9), ""),
    ("insn_array", BPF_MAP_TYPE_INSN_ARRAY, (6, 19), ""),
];

/// Creates a map of each type.
pub(super) fn probe(around: &Surroundings) -> Vec<Finding> {
    ROWS.iter()
        .map(|&(name, number, since, option)| {
            let verdict = match sys::create_map(number) {
                Ok(()) => Verdict::Works,
                Err(errno) => Verdict::Fails(around.reason(errno, since, option, to_create(number))),
            };
            Finding { area: Area::Maps, name, verdict, note: String::new() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_map_type_has_a_row() {
        let missing: Vec<u32> =
            (1..__MAX_BPF_MAP_TYPE).filter(|number| ROWS.iter().all(|row| row.1 != *number)).collect();
        assert!(missing.is_empty(), "no row for map types {missing:?}");
    }
}
