//! eBPF instructions with symbolic targets, and their encoding.

/// Classes, operations and modifiers of the instruction set (`Documentation/bpf/standardization/instruction-set.rst`).
pub(crate) mod code {
    pub(crate) const LD: u8 = 0x00;
    pub(crate) const LDX: u8 = 0x01;
    pub(crate) const ST: u8 = 0x02;
    pub(crate) const STX: u8 = 0x03;
    pub(crate) const ALU: u8 = 0x04;
    pub(crate) const JMP: u8 = 0x05;
    pub(crate) const JMP32: u8 = 0x06;
    pub(crate) const ALU64: u8 = 0x07;

    pub(crate) const MEM: u8 = 0x60;
    pub(crate) const W: u8 = 0x00;
    pub(crate) const H: u8 = 0x08;
    pub(crate) const B: u8 = 0x10;
    pub(crate) const DW: u8 = 0x18;
    pub(crate) const X: u8 = 0x08;

    pub(crate) const ADD: u8 = 0x00;
    pub(crate) const SUB: u8 = 0x10;
    pub(crate) const MUL: u8 = 0x20;
    pub(crate) const DIV: u8 = 0x30;
    pub(crate) const OR: u8 = 0x40;
    pub(crate) const AND: u8 = 0x50;
    pub(crate) const LSH: u8 = 0x60;
    pub(crate) const RSH: u8 = 0x70;
    pub(crate) const NEG: u8 = 0x80;
    pub(crate) const MOD: u8 = 0x90;
    pub(crate) const XOR: u8 = 0xa0;
    pub(crate) const MOV: u8 = 0xb0;
    pub(crate) const ARSH: u8 = 0xc0;

    pub(crate) const JA: u8 = 0x00;
    pub(crate) const JEQ: u8 = 0x10;
    pub(crate) const JGT: u8 = 0x20;
    pub(crate) const JGE: u8 = 0x30;
    pub(crate) const JNE: u8 = 0x50;
    pub(crate) const JSGT: u8 = 0x60;
    pub(crate) const JSGE: u8 = 0x70;
    pub(crate) const CALL: u8 = 0x80;
    pub(crate) const EXIT: u8 = 0x90;
    pub(crate) const JLT: u8 = 0xa0;
    pub(crate) const JLE: u8 = 0xb0;
    pub(crate) const JSLT: u8 = 0xc0;
    pub(crate) const JSLE: u8 = 0xd0;
    pub(crate) const JCOND: u8 = 0xe0;
}

/// A place in a function's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label(pub(crate) u32);

/// What an instruction refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nothing.
    None,
    /// A place in the same function.
    Label(Label),
    /// A function of the object, by its index in the module.
    Function(u32),
    /// A function of another object, by the index of the import.
    Extern(u32),
    /// The arena map.
    Arena,
    /// The array of instances, plus the immediate.
    Array,
    /// The address of a function of the object.
    Address(u32),
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Insn {
    pub(crate) code: u8,
    pub(crate) dst: u8,
    pub(crate) src: u8,
    pub(crate) off: i16,
    pub(crate) imm: i32,
    /// The upper half of a 64-bit immediate: the instruction takes two slots.
    pub(crate) wide: Option<i32>,
    pub(crate) target: Target,
    /// The offset in the module of the WebAssembly instruction it was made for.
    pub(crate) wasm: u32,
}

impl Insn {
    pub(crate) fn encode(&self, off: i16, imm: i32, out: &mut Vec<u8>) {
        out.extend([self.code, self.src << 4 | self.dst]);
        out.extend(off.to_le_bytes());
        out.extend(imm.to_le_bytes());
        if let Some(high) = self.wide {
            out.extend([0, 0, 0, 0]);
            out.extend(high.to_le_bytes());
        }
    }

    pub(crate) fn is_exit(&self) -> bool {
        self.code == code::JMP | code::EXIT
    }

    /// Whether it is the plain jump somewhere.
    pub(crate) fn is_jump(&self) -> bool {
        self.code == code::JMP | code::JA && self.target != Target::None
    }

    /// Whether it jumps on a condition, `may_goto` included.
    pub(crate) fn is_branch(&self) -> bool {
        matches!(self.code & 7, code::JMP | code::JMP32)
            && !matches!(self.code & 0xf0, code::JA | code::CALL | code::EXIT)
    }
}

/// Code of one function while it is made.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    pub(crate) insns: Vec<Insn>,
    /// By label, the index of the instruction it stands before.
    pub(crate) labels: Vec<usize>,
    /// The offset that new instructions are marked with.
    pub(crate) wasm: u32,
}

/// A label that is not placed yet.
const UNPLACED: usize = usize::MAX;

impl Assembler {
    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(UNPLACED);
        Label(self.labels.len() as u32 - 1)
    }

    pub(crate) fn place(&mut self, label: Label) {
        self.labels[label.0 as usize] = self.insns.len();
    }

    pub(crate) fn push(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32) {
        self.push_to(code, dst, src, off, imm, Target::None);
    }

    pub(crate) fn push_to(&mut self, code: u8, dst: u8, src: u8, off: i16, imm: i32, target: Target) {
        self.insns.push(Insn { code, dst, src, off, imm, wide: None, target, wasm: self.wasm });
    }

    /// `dst op= imm`
    pub(crate) fn alu_imm(&mut self, class: u8, op: u8, dst: u8, imm: i32) {
        self.push(class | op, dst, 0, 0, imm);
    }

    /// `dst op= src`
    pub(crate) fn alu(&mut self, class: u8, op: u8, dst: u8, src: u8) {
        self.push(class | op | code::X, dst, src, 0, 0);
    }

    /// `dst = src`, all 64 bits.
    pub(crate) fn mov(&mut self, dst: u8, src: u8) {
        if dst != src {
            self.alu(code::ALU64, code::MOV, dst, src);
        }
    }

    /// `dst = (u32) src`
    pub(crate) fn mov32(&mut self, dst: u8, src: u8) {
        self.alu(code::ALU, code::MOV, dst, src);
    }

    /// `dst = value`, in as few slots as it takes.
    pub(crate) fn constant(&mut self, dst: u8, value: i64) {
        if let Ok(imm) = i32::try_from(value) {
            self.alu_imm(code::ALU64, code::MOV, dst, imm);
        } else if let Ok(imm) = u32::try_from(value) {
            self.alu_imm(code::ALU, code::MOV, dst, imm as i32);
        } else {
            let wide = Some((value >> 32) as i32);
            let (imm, target, wasm) = (value as i32, Target::None, self.wasm);
            self.insns.push(Insn { code: code::LD | code::DW, dst, src: 0, off: 0, imm, wide, target, wasm });
        }
    }

    /// `dst = &arena`: what makes a program belong to the map.
    pub(crate) fn arena(&mut self, dst: u8) {
        let (code, wide, target) = (code::LD | code::DW, Some(0), Target::Arena);
        self.insns.push(Insn { code, dst, src: 0, off: 0, imm: 0, wide, target, wasm: self.wasm });
    }

    /// `dst = &array[offset]`
    pub(crate) fn array(&mut self, dst: u8, offset: i32) {
        let (code, wide, target) = (code::LD | code::DW, Some(0), Target::Array);
        self.insns.push(Insn { code, dst, src: 0, off: 0, imm: offset, wide, target, wasm: self.wasm });
    }

    /// `dst = &function`, for a helper that calls it.
    pub(crate) fn function(&mut self, dst: u8, index: u32) {
        let (code, wide, target) = (code::LD | code::DW, Some(0), Target::Address(index));
        self.insns.push(Insn { code, dst, src: 4, off: 0, imm: 0, wide, target, wasm: self.wasm });
    }

    /// `dst = addr_space_cast(src, 0, 1)`: the low 32 bits, as a pointer into the arena.
    pub(crate) fn cast(&mut self, dst: u8, src: u8) {
        self.push(code::ALU64 | code::MOV | code::X, dst, src, 1, 1);
    }

    pub(crate) fn load(&mut self, size: u8, dst: u8, base: u8, off: i16) {
        self.push(code::LDX | code::MEM | size, dst, base, off, 0);
    }

    pub(crate) fn store(&mut self, size: u8, base: u8, off: i16, src: u8) {
        self.push(code::STX | code::MEM | size, base, src, off, 0);
    }

    pub(crate) fn store_imm(&mut self, size: u8, base: u8, off: i16, imm: i32) {
        self.push(code::ST | code::MEM | size, base, 0, off, imm);
    }

    pub(crate) fn jump(&mut self, to: Label) {
        self.push_to(code::JMP | code::JA, 0, 0, 0, 0, Target::Label(to));
    }

    /// Counts as a jump for the verifier, which keeps a state to compare with only after two of them and eight
    /// instructions (`is_state_visited`), so that the second path into what follows ends there. The kernel takes it
    /// out before the JIT (`opt_remove_nops`).
    pub(crate) fn checkpoint(&mut self) {
        self.push(code::JMP | code::JA, 0, 0, 0, 0);
    }

    pub(crate) fn may_goto(&mut self, to: Label) {
        self.push_to(code::JMP | code::JCOND, 0, 0, 0, 0, Target::Label(to));
    }

    pub(crate) fn exit(&mut self) {
        self.push(code::JMP | code::EXIT, 0, 0, 0, 0);
    }
}
