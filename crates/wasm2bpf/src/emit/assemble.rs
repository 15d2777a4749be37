//! Labels → offsets. Jumps that do not reach with 16 bits become long ones.

use super::insn::{Assembler, Insn, Target, code};

/// A function's code with offsets in place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code {
    /// Eight bytes a slot.
    pub(crate) bytes: Vec<u8>,
    /// For each instruction, its slot, and the instruction; what it refers to outside the function is still symbolic.
    pub(crate) insns: Vec<(u32, Insn)>,
}

/// How many slots an instruction takes.
fn size(insn: &Insn, long: bool) -> u32 {
    match (insn.wide, long) {
        (Some(_), _) => 2,
        (None, true) if insn.is_branch() => 3,
        _ => 1,
    }
}

/// How many slots it may take after the verifier has put in what stands for it: `may_goto`, divisions and inlined helpers
/// become several instructions, and a jump over them that then has no room for its distance is refused.
fn grown(insn: &Insn, long: bool) -> u32 {
    let divides = matches!(insn.code & 7, code::ALU | code::ALU64) && matches!(insn.code & 0xf0, code::DIV | code::MOD);
    let may_goto = insn.code == code::JMP | code::JCOND;
    let helper = insn.code == code::JMP | code::CALL && insn.src == 0;
    size(insn, long) + if divides || may_goto || helper { 24 } else { 0 }
}

impl Assembler {
    /// The most branches that are open at once on a walk that takes what follows a branch first and the other side
    /// later, as the verifier's does; what was walked before ends it, so that ways back do not count.
    pub(crate) fn open_branches(&self) -> u32 {
        let mut open = vec![0u32; self.insns.len() + 1];
        for (index, insn) in self.insns.iter().enumerate().rev() {
            let next = if insn.is_jump() || insn.is_exit() { 0 } else { open[index + 1] };
            let there = match insn.target {
                Target::Label(label) => self.labels[label.0 as usize].min(self.insns.len()),
                _ => 0,
            };
            let there = if there > index { open[there] } else { 0 };
            open[index] = if insn.is_branch() { there.max(next + 1) } else { there.max(next) };
        }
        open[0]
    }

    /// The finished code. None when a jump is too long for the instruction set.
    pub(crate) fn assemble(self, long_jumps: bool) -> Option<Code> {
        let count = self.insns.len();
        let mut long = vec![false; count];
        let (mut slots, mut reach) = (vec![0u32; count + 1], vec![0u32; count + 1]);
        for round in 0.. {
            // A long jump takes up to three slots and makes others long. What is a third of the way is made long at once
            // when that has gone on for a while, and then nothing else can become so.
            let most = if round < 4 { i64::from(i16::MAX) } else { i64::from(i16::MAX) / 3 };
            for (index, insn) in self.insns.iter().enumerate() {
                slots[index + 1] = slots[index] + size(insn, long[index]);
                reach[index + 1] = reach[index] + grown(insn, long[index]);
            }
            let mut changed = false;
            for (index, insn) in self.insns.iter().enumerate() {
                let Target::Label(label) = insn.target else { continue };
                let to = reach[self.labels[label.0 as usize].min(count)];
                let distance = i64::from(to) - i64::from(reach[index]) - 1;
                if !long[index] && distance.abs() > most {
                    long[index] = true;
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        if !long_jumps && long.contains(&true) {
            return None;
        }
        let mut code = Code::default();
        for (index, insn) in self.insns.iter().enumerate() {
            let slot = slots[index];
            let mut insn = *insn;
            if let Target::Label(label) = insn.target {
                let to = i64::from(slots[self.labels[label.0 as usize].min(count)]);
                if long[index] {
                    let mut at = slot;
                    if insn.is_branch() {
                        // if … goto +1; goto +1; gotol target
                        insn.off = 1;
                        code.push(at, Insn { target: Target::None, ..insn });
                        let skip = Insn { code: code::JMP | code::JA, dst: 0, src: 0, imm: 0, off: 1, ..insn };
                        code.push(at + 1, Insn { target: Target::None, ..skip });
                        at += 2;
                    }
                    let imm = (to - i64::from(at) - 1) as i32;
                    let jump = Insn { code: code::JMP32 | code::JA, dst: 0, src: 0, off: 0, imm, ..insn };
                    code.push(at, jump);
                    continue;
                }
                insn.off = (to - i64::from(slot) - 1) as i16;
            }
            code.push(slot, insn);
        }
        Some(code)
    }
}

impl Code {
    fn push(&mut self, slot: u32, insn: Insn) {
        insn.encode(insn.off, insn.imm, &mut self.bytes);
        self.insns.push((slot, insn));
    }

    /// How many slots it takes.
    pub(crate) fn slots(&self) -> u32 {
        (self.bytes.len() / 8) as u32
    }
}
