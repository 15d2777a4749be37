//! The entry: a `syscall` program that calls one of the exported functions, for PROG_TEST_RUN.
//!
//! Its context is [`CONTEXT_BYTES`] long: the function's index (u32), the instance's base in the arena (u32), four
//! arguments (u64 each), and the first result (u64, written). Arguments after the fourth are put in the function's
//! frame beforehand; results after the first and the trap are read from the instance. The program returns 0, or 1 when
//! it has no such function.

use crate::emit::{
    assemble::Code,
    insn::{Assembler, Label, Target, code},
};

/// Bytes of the entry's context.
pub const CONTEXT_BYTES: usize = 48;

pub(crate) fn emit(roots: &[u32]) -> Option<Code> {
    let mut asm = Assembler::default();
    let (done, unknown) = (asm.label(), asm.label());
    asm.arena(0);
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
