//! The rewrite itself: pure, instructions in and instructions out.

use libbpf_sys::bpf_insn;

/// The helpers that put records into a ring buffer, and when their result tells a failure.
const RINGBUF_OUTPUT: i32 = 130;
const RINGBUF_RESERVE: i32 = 131;
const RINGBUF_RESERVE_DYNPTR: i32 = 198;

const LD_IMM64: u8 = 0x18;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const JUMP_ALWAYS_32: u8 = 0x06;
const CLASS_JMP: u8 = 0x05;
const CLASS_JMP32: u8 = 0x06;
const PSEUDO_CALL: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const PSEUDO_FUNC: u8 = 4;

/// The instructions added after a call.
const ADDED: usize = 5;

/// Where instructions were added: what indexes them elsewhere must move along.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Insertion {
    /// Indices of the calls after which [`ADDED`] instructions now stand, in the old program, ascending.
    calls: Vec<usize>,
}

impl Insertion {
    /// The new index of the instruction that had index `old`.
    pub(crate) fn moved(&self, old: usize) -> usize {
        old + ADDED * self.calls.partition_point(|&call| call < old)
    }
}

/// Whether the program puts records into ring buffers.
pub(crate) fn fills_ring(insns: &[bpf_insn]) -> bool {
    steps(insns).any(|(_, insn)| insn.code == CALL && insn.src_reg() == 0 && succeeds_when(insn.imm).is_some())
}

/// Follows each call that fills a ring buffer by instructions that add 1 to the u64 at the start of the map `counter`
/// when the call failed.
///
/// `None` when there is no such call, or when a jump would no longer reach its target.
pub(crate) fn count_failures(insns: &[bpf_insn], counter: i32) -> Option<(Vec<bpf_insn>, Insertion)> {
    let mut insertion = Insertion::default();
    for (at, insn) in steps(insns) {
        if insn.code == CALL && insn.src_reg() == 0 && succeeds_when(insn.imm).is_some() {
            insertion.calls.push(at);
        }
    }
    if insertion.calls.is_empty() {
        return None;
    }
    let mut out = Vec::with_capacity(insns.len() + ADDED * insertion.calls.len());
    for (at, insn) in steps(insns) {
        out.push(retarget(insns, at, *insn, &insertion)?);
        if insn.code == LD_IMM64 {
            out.push(insns[at + 1]);
        }
        if insertion.calls.binary_search(&at).is_ok() {
            out.extend(count(succeeds_when(insn.imm)?, counter));
        }
    }
    Some((out, insertion))
}

/// The opcode of the jump, on r0 and 0, that a success takes.
fn succeeds_when(helper: i32) -> Option<u8> {
    const JNE: u8 = 0x55;
    const JSGE: u8 = 0x75;
    match helper {
        RINGBUF_RESERVE => Some(JNE),
        RINGBUF_OUTPUT | RINGBUF_RESERVE_DYNPTR => Some(JSGE),
        _ => None,
    }
}

/// `if r0 succeeded goto +4; r1 = &counter ll; r2 = 1; lock *(u64 *)(r1 + 0) += r2`. A call leaves r1 to r5 unreadable,
/// so they are free.
fn count(succeeded: u8, counter: i32) -> [bpf_insn; ADDED] {
    const MOV64_IMM: u8 = 0xb7;
    const ATOMIC_64: u8 = 0xdb;
    [
        insn(succeeded, 0, 0, 4, 0),
        insn(LD_IMM64, 1, PSEUDO_MAP_VALUE, 0, counter),
        insn(0, 0, 0, 0, 0),
        insn(MOV64_IMM, 2, 0, 0, 1),
        insn(ATOMIC_64, 1, 2, 0, 0),
    ]
}

fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> bpf_insn {
    let mut insn = bpf_insn { code, off, imm, ..Default::default() };
    insn.set_dst_reg(dst);
    insn.set_src_reg(src);
    insn
}

/// Walks over instructions, taking a 16-byte one as one step.
fn steps(insns: &[bpf_insn]) -> impl Iterator<Item = (usize, &bpf_insn)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let at = next;
        let insn = insns.get(at)?;
        next += if insn.code == LD_IMM64 { 2 } else { 1 };
        // A 16-byte instruction cut off at the end is the verifier's to refuse.
        (next <= insns.len()).then_some((at, insn))
    })
}

/// `insn`, at index `at` of the old program, with its relative target corrected.
fn retarget(insns: &[bpf_insn], at: usize, mut insn: bpf_insn, insertion: &Insertion) -> Option<bpf_insn> {
    let shift = |relative: i64| -> Option<i64> {
        let target = usize::try_from(at as i64 + 1 + relative).ok().filter(|&target| target <= insns.len())?;
        Some(insertion.moved(target) as i64 - insertion.moved(at) as i64 - 1)
    };
    let class = insn.code & 0x07;
    match insn.code {
        CALL if insn.src_reg() == PSEUDO_CALL => insn.imm = shift(insn.imm.into())?.try_into().ok()?,
        CALL | EXIT => {}
        LD_IMM64 if insn.src_reg() == PSEUDO_FUNC => insn.imm = shift(insn.imm.into())?.try_into().ok()?,
        JUMP_ALWAYS_32 => insn.imm = shift(insn.imm.into())?.try_into().ok()?,
        _ if class == CLASS_JMP || class == CLASS_JMP32 => insn.off = shift(insn.off.into())?.try_into().ok()?,
        _ => {}
    }
    Some(insn)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOV: u8 = 0xb7;
    const JA: u8 = 0x05;

    fn reserve() -> bpf_insn {
        insn(CALL, 0, 0, 0, RINGBUF_RESERVE)
    }

    fn same(a: &bpf_insn, b: &bpf_insn) -> bool {
        (a.code, a.off, a.imm, a.dst_reg(), a.src_reg()) == (b.code, b.off, b.imm, b.dst_reg(), b.src_reg())
    }

    #[test]
    fn a_program_without_such_a_call_is_left_alone() {
        assert!(count_failures(&[insn(MOV, 0, 0, 0, 0), insn(EXIT, 0, 0, 0, 0)], 7).is_none());
    }

    #[test]
    fn jumps_over_a_call_grow_in_both_directions() {
        // 0: goto 3; 1: call; 2: goto 0; 3: exit
        let program = [insn(JA, 0, 0, 2, 0), reserve(), insn(JA, 0, 0, -3, 0), insn(EXIT, 0, 0, 0, 0)];
        let (out, insertion) = count_failures(&program, 7).unwrap();
        assert_eq!(out.len(), 4 + ADDED);
        assert_eq!(out[0].off, 2 + ADDED as i16);
        assert_eq!(out[2 + ADDED].off, -3 - ADDED as i16);
        assert_eq!([0, 1, 2, 3].map(|old| insertion.moved(old)), [0, 1, 7, 8]);
    }

    #[test]
    fn a_jump_to_the_call_itself_stays_on_it() {
        let program = [insn(JA, 0, 0, 0, 0), reserve(), insn(JA, 0, 0, -2, 0), insn(EXIT, 0, 0, 0, 0)];
        let (out, _) = count_failures(&program, 7).unwrap();
        assert_eq!(out[0].off, 0);
        assert_eq!(i64::from(out[7].off) + 7 + 1, 1);
    }

    #[test]
    fn the_count_follows_the_call_and_names_the_map() {
        let (out, _) = count_failures(&[reserve(), insn(EXIT, 0, 0, 0, 0)], 42).unwrap();
        assert!(same(&out[0], &reserve()));
        assert_eq!((out[1].code, out[1].off), (0x55, 4));
        assert_eq!((out[2].code, out[2].src_reg(), out[2].imm), (LD_IMM64, PSEUDO_MAP_VALUE, 42));
        assert!(same(&out[6], &insn(EXIT, 0, 0, 0, 0)));
    }

    #[test]
    fn calls_and_references_to_subprograms_move() {
        // 0: call sub (at 4); 1-2: r1 = &sub; 3: exit; 4: reserve; 5: exit
        let program = [
            insn(CALL, 0, PSEUDO_CALL, 0, 3),
            insn(LD_IMM64, 1, PSEUDO_FUNC, 0, 2),
            insn(0, 0, 0, 0, 0),
            insn(EXIT, 0, 0, 0, 0),
            reserve(),
            insn(EXIT, 0, 0, 0, 0),
        ];
        let (out, insertion) = count_failures(&program, 1).unwrap();
        assert_eq!((out[0].imm, out[1].imm), (3, 2));
        assert_eq!(insertion.moved(5), 10);
    }

    #[test]
    fn a_jump_that_would_no_longer_reach_is_no_rewrite() {
        let mut program = vec![insn(JA, 0, 0, i16::MAX, 0), reserve()];
        program.resize(i16::MAX as usize + 2, insn(EXIT, 0, 0, 0, 0));
        assert!(count_failures(&program, 1).is_none());
    }
}
