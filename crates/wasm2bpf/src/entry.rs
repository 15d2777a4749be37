//! The entry: a `syscall` program that calls one of the exported functions, for PROG_TEST_RUN.
//!
//! A program has room for 256 functions, itself among them. The loader puts in a program what it reaches and nothing
//! else, so an object has as many entries as it takes, each for some of the exports.
//!
//! Its context is [`CONTEXT_BYTES`] long: the function's index (u32), the instance's base in the arena (u32), four
//! arguments (u64 each), and the first result (u64, written). Arguments after the fourth are put in the function's
//! frame beforehand; results after the first and the trap are read from the instance. The program returns 0, or 1 when
//! it has no such function.

use std::collections::{HashMap, HashSet};

use crate::{
    emit::{
        assemble::Code,
        insn::{Assembler, Label, Target, code},
    },
    refusal::Limit,
};

/// Bytes of the entry's context.
pub const CONTEXT_BYTES: usize = 48;

/// The first entry's name; the others have numbers.
pub(crate) const PROGRAM: &str = "wasm_entry";

/// Functions that an entry can reach (`BPF_MAX_SUBPROGS`, without itself).
const REACHED: usize = 255;

/// Instructions that an entry can reach: the verifier walks a million (`BPF_COMPLEXITY_LIMIT_INSNS`).
const WALKED: u32 = 400_000;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name of its program.
    pub program: String,
    /// The functions that it calls, in order.
    pub roots: Vec<u32>,
}

/// Shares the roots out among entries; `slots` says how long each function is. An error is a root that reaches too much
/// alone.
pub(crate) fn split(
    roots: &[u32],
    callees: &HashMap<u32, Vec<u32>>,
    slots: impl Fn(u32) -> u32,
) -> Result<Vec<Entry>, (u32, Limit)> {
    let mut entries: Vec<Vec<u32>> = vec![Vec::new()];
    let (mut reached, mut walked) = (HashSet::new(), 0);
    let sum = |functions: &[u32]| functions.iter().map(|&f| slots(f)).fold(0, u32::saturating_add);
    for &root in roots {
        let mut more = reach(root, callees, &reached);
        if (reached.len() + more.len() > REACHED || sum(&more).saturating_add(walked) > WALKED) && !reached.is_empty() {
            entries.push(Vec::new());
            reached.clear();
            walked = 0;
            more = reach(root, callees, &reached);
        }
        if more.len() > REACHED {
            return Err((root, Limit::Functions { needed: count(root, callees) }));
        }
        walked += sum(&more);
        if walked > WALKED {
            return Err((root, Limit::Instructions { needed: walked }));
        }
        reached.extend(more);
        if let Some(entry) = entries.last_mut() {
            entry.push(root);
        }
    }
    let named = entries.into_iter().enumerate().map(|(number, roots)| Entry {
        program: if number == 0 { PROGRAM.to_owned() } else { format!("{PROGRAM}_{number}") },
        roots,
    });
    Ok(named.collect())
}

/// What a function reaches, itself first, besides what is known; no further than it takes to see that it is too much.
fn reach(root: u32, callees: &HashMap<u32, Vec<u32>>, known: &HashSet<u32>) -> Vec<u32> {
    visit(root, callees, known, REACHED)
}

fn count(root: u32, callees: &HashMap<u32, Vec<u32>>) -> usize {
    visit(root, callees, &HashSet::new(), usize::MAX).len()
}

fn visit(root: u32, callees: &HashMap<u32, Vec<u32>>, known: &HashSet<u32>, most: usize) -> Vec<u32> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    let mut work = vec![root];
    while let Some(function) = work.pop() {
        if known.contains(&function) || !seen.insert(function) {
            continue;
        }
        found.push(function);
        if found.len() > most {
            break;
        }
        work.extend(callees.get(&function).into_iter().flatten());
    }
    found
}

/// `arena`: whether instances are in one, which the program must refer to.
pub(crate) fn emit(roots: &[u32], arena: bool) -> Option<Code> {
    let mut asm = Assembler::default();
    let (done, unknown) = (asm.label(), asm.label());
    if arena {
        asm.arena(0);
    }
    asm.mov(6, 1);
    asm.load(code::W, 7, 6, 0);
    asm.load(code::W, 1, 6, 4);
    for argument in 0..4u8 {
        asm.load(code::DW, 2 + argument, 6, 8 + 8 * i16::from(argument));
    }
    search(&mut asm, roots, done, unknown);
    asm.place(done);
    asm.store(code::DW, 6, 40, 0);
    asm.constant(0, 0);
    asm.exit();
    asm.place(unknown);
    asm.constant(0, 1);
    asm.exit();
    crate::emit::peephole::run(&mut asm);
    asm.assemble(true)
}

fn search(asm: &mut Assembler, roots: &[u32], done: Label, unknown: Label) {
    match roots {
        [] => asm.jump(unknown),
        [root] => {
            asm.push_to(code::JMP32 | code::JNE, 7, 0, 0, *root as i32, Target::Label(unknown));
            asm.push_to(code::JMP | code::CALL, 0, 1, 0, -1, Target::Function(*root));
            asm.jump(done);
        }
        _ => {
            let (low, high) = roots.split_at(roots.len() / 2);
            let upper = asm.label();
            asm.push_to(code::JMP32 | code::JGE, 7, 0, 0, high[0] as i32, Target::Label(upper));
            search(asm, low, done, unknown);
            asm.place(upper);
            search(asm, high, done, unknown);
        }
    }
}
