use std::os::fd::AsFd as _;

use libbpf_sys::*;

use super::{
    Area, Finding, Surroundings, Verdict,
    programs::return_zero,
    sys::{self, Load},
};
use crate::{
    Errno,
    privilege::{CAP_SYS_ADMIN, Capability, to_load},
};

/// Name, what the kernel said, the kernel that first had it, what it is, and the capabilities that trying it takes.
type Row = (&'static str, Result<(), Errno>, (u32, u32), &'static str, &'static [Capability]);

/// Tries what is neither a program type nor a map type.
pub(super) fn probe(around: &Surroundings) -> Vec<Finding> {
    let (kprobe, xdp) = (to_load(BPF_PROG_TYPE_KPROBE), to_load(BPF_PROG_TYPE_XDP));
    let rows: [Row; 6] = [
        ("mmapable arrays", mmapable_array(), (5, 5), "maps read with plain loads", &[]),
        ("bounded loops", load(&bounded_loop()), (5, 3), "loops that the verifier can count", &[]),
        ("may_goto", load(&may_goto()), (6, 9), "loops that the kernel ends", &[]),
        ("bpf_loop", sys::helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_loop), (5, 17), "loops by a helper", kprobe),
        ("test runs", test_run(), (4, 12), "BPF_PROG_TEST_RUN of an xdp program", xdp),
        ("statistics", sys::enable_stats().map(drop), (5, 8), "run counts and times of programs", &[CAP_SYS_ADMIN]),
    ];
    rows.into_iter()
        .map(|(name, result, since, note, needed)| {
            let verdict = match result {
                Ok(()) => Verdict::Works,
                Err(errno) => Verdict::Fails(around.reason(errno, since, "", needed)),
            };
            Finding { area: Area::Features, name, verdict, note: note.to_owned() }
        })
        .collect()
}

fn mmapable_array() -> Result<(), Errno> {
    sys::mmap_once(&sys::create_array(BPF_F_MMAPABLE)?)
}

fn load(insns: &[bpf_insn]) -> Result<(), Errno> {
    sys::load(insns, &Load { program_type: BPF_PROG_TYPE_SOCKET_FILTER, ..Load::default() }).map(drop)
}

fn test_run() -> Result<(), Errno> {
    let how = Load { program_type: BPF_PROG_TYPE_XDP, ..Load::default() };
    sys::test_run(sys::load(&return_zero(), &how)?.as_fd())
}

fn insn(code: u32, off: i16, imm: i32) -> bpf_insn {
    bpf_insn { code: code as u8, off, imm, ..Default::default() }
}

/// `r0 = 0; do { r0 += 1 } while (r0 < 8); r0 = 0; exit`.
fn bounded_loop() -> [bpf_insn; 5] {
    [
        insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0),
        insn(BPF_ALU64 | BPF_ADD | BPF_K, 0, 1),
        insn(BPF_JMP | BPF_JLT | BPF_K, -2, 8),
        insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0),
        insn(BPF_JMP | BPF_EXIT, 0, 0),
    ]
}

/// `r0 = 0; for (;;) may_goto out; out: exit`, which no verifier can count.
fn may_goto() -> [bpf_insn; 4] {
    [
        insn(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0),
        insn(BPF_JMP | BPF_JCOND, 1, 0),
        insn(BPF_JMP | BPF_JA, -2, 0),
        insn(BPF_JMP | BPF_EXIT, 0, 0),
    ]
}
