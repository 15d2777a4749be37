//! What is obviously superfluous in finished code: jumps to the next instruction, jumps to jumps, and what nothing
//! reaches.

use super::insn::{Assembler, Target};

/// Rewrites until nothing changes; each round is linear.
pub(crate) fn run(asm: &mut Assembler) {
    thread_jumps(asm);
    remove(asm);
}

/// Jumps to a plain jump go where that goes.
fn thread_jumps(asm: &mut Assembler) {
    for index in 0..asm.insns.len() {
        let Target::Label(mut label) = asm.insns[index].target else { continue };
        // A chain longer than this is no chain of ours; a cycle must not hang.
        for _ in 0..8 {
            let Some(next) = asm.insns.get(asm.labels[label.0 as usize]) else { break };
            match next.target {
                // A jump back keeps its place: the header's own code must be passed.
                Target::Label(further) if next.is_jump() && further != label => label = further,
                _ => break,
            }
        }
        asm.insns[index].target = Target::Label(label);
    }
}

/// What can be reached from the start: the verifier refuses a program in which anything cannot.
fn reachable(asm: &Assembler) -> Vec<bool> {
    let mut found = vec![false; asm.insns.len()];
    let mut work = vec![0];
    while let Some(index) = work.pop() {
        let Some(insn) = asm.insns.get(index) else { continue };
        if std::mem::replace(&mut found[index], true) {
            continue;
        }
        if let Target::Label(label) = insn.target {
            work.push(asm.labels[label.0 as usize]);
        }
        if !insn.is_jump() && !insn.is_exit() {
            work.push(index + 1);
        }
    }
    found
}

fn remove(asm: &mut Assembler) {
    let mut keep = reachable(asm);
    for (index, insn) in asm.insns.iter().enumerate() {
        if let Target::Label(label) = insn.target
            && insn.is_jump()
            && asm.labels[label.0 as usize] == index + 1
        {
            keep[index] = false;
        }
    }
    let mut new_index = Vec::with_capacity(asm.insns.len() + 1);
    let mut kept = 0;
    for &keep in &keep {
        new_index.push(kept);
        kept += usize::from(keep);
    }
    new_index.push(kept);
    for label in &mut asm.labels {
        *label = new_index[(*label).min(keep.len())];
    }
    let mut keep = keep.into_iter();
    asm.insns.retain(|_| keep.next().unwrap_or(true));
}
