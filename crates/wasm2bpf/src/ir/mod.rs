//! The register IR: basic blocks over virtual registers, each of which may be written more than once.
//!
//! WebAssembly's locals are the first registers of a function; stack values become registers with one definition each,
//! and the results of blocks registers written on every edge that enters the end. There are no phis: the register
//! allocator works on live ranges with holes, and the analyses run forward over the blocks.

mod print;
mod visit;

pub use crate::module::Ty;
pub use crate::trap::TrapKind;

/// A virtual register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub u32);

/// A block of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockId(pub u32);

/// An operand: a register, or a number that fits an instruction's 32-bit immediate (sign-extended).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// A register.
    Reg(Reg),
    /// A number.
    Imm(i32),
}

/// Two-operand arithmetic. Shifts take their amount modulo the width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum BinOp {
    Add,
    Sub,
    Mul,
    /// Signed; zero and overflow were checked.
    DivS,
    /// Unsigned; zero was checked.
    DivU,
    RemS,
    RemU,
    And,
    Or,
    Xor,
    Shl,
    ShrS,
    ShrU,
    Rotl,
    Rotr,
}

/// One-operand arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum UnOp {
    Clz,
    Ctz,
    Popcnt,
    /// Sign-extend the low 8 bits.
    Extend8,
    Extend16,
    Extend32,
    /// i64 to i32, or a zero-extending i32 to i64: clear the upper half.
    Low32,
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CmpOp {
    Eq,
    Ne,
    LtS,
    LtU,
    GtS,
    GtU,
    LeS,
    LeU,
    GeS,
    GeU,
}

impl CmpOp {
    /// The comparison that holds exactly when this one does not.
    pub fn inverse(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::LtS => Self::GeS,
            Self::LtU => Self::GeU,
            Self::GtS => Self::LeS,
            Self::GtU => Self::LeU,
            Self::LeS => Self::GtS,
            Self::LeU => Self::GtU,
            Self::GeS => Self::LtS,
            Self::GeU => Self::LtU,
        }
    }

    /// The comparison with its operands exchanged.
    pub fn swapped(self) -> Self {
        match self {
            Self::Eq | Self::Ne => self,
            Self::LtS => Self::GtS,
            Self::LtU => Self::GtU,
            Self::GtS => Self::LtS,
            Self::GtU => Self::LtU,
            Self::LeS => Self::GeS,
            Self::LeU => Self::GeU,
            Self::GeS => Self::LeS,
            Self::GeU => Self::LeU,
        }
    }
}

/// A comparison and its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cmp {
    /// Which.
    pub op: CmpOp,
    /// The operands' width.
    pub ty: Ty,
    /// Left.
    pub a: Reg,
    /// Right.
    pub b: Arg,
}

/// How many bytes an access moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Width {
    W8,
    W16,
    W32,
    W64,
}

impl Width {
    /// In bytes.
    pub fn bytes(self) -> u32 {
        1 << self as u32
    }
}

/// The address of an access: the low 32 bits of a register, or none for a constant address, plus an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addr {
    /// Which memory.
    pub memory: u32,
    /// The register, if the address is not constant.
    pub base: Option<Reg>,
    /// What is added, before the bounds are checked.
    pub offset: u64,
    /// What the analyses proved about it.
    pub check: Check,
}

/// Whether an access needs its bounds checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing is known: compare and trap.
    Needed,
    /// An earlier check on every path covers it, or the address is a constant below the memory's minimum.
    Proven,
}

/// An area of the instance outside linear memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Cell {
    /// A global's value, 64 bits.
    Global(u32),
    /// The number of bytes of a linear memory, 64 bits.
    MemoryBytes(u32),
    /// The number of entries of a table, 32 bits.
    TableSize(u32),
    /// The length left of a data segment, 32 bits: 0 once dropped.
    DataLength(u32),
    /// The length left of an element segment, 32 bits: 0 once dropped.
    ElementLength(u32),
    /// The shadow stack's pointer, 64 bits.
    ShadowPointer,
    /// A result that a merged function leaves, 64 bits.
    Result(u32),
}

/// An array in the instance outside linear memory, whose elements are addressed by a register that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Area {
    /// A table's entries, 4 bytes each.
    Table(u32),
    /// An element segment's entries, 4 bytes each.
    Elements(u32),
    /// A data segment's bytes.
    Data(u32),
    /// A linear memory itself, for bulk operations that have checked their ranges.
    Memory(u32),
    /// The shadow stack, addressed in bytes.
    Shadow,
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// `dst = value`.
    Const {
        /// Written.
        dst: Reg,
        /// A 64-bit number; for `I32` registers below 2³².
        value: i64,
    },
    /// `dst = src`.
    Copy {
        /// Written.
        dst: Reg,
        /// Read.
        src: Reg,
    },
    /// `dst = a op b`.
    Bin {
        /// Which.
        op: BinOp,
        /// Its width.
        ty: Ty,
        /// Written.
        dst: Reg,
        /// Left.
        a: Reg,
        /// Right.
        b: Arg,
    },
    /// `dst = op a`.
    Un {
        /// Which.
        op: UnOp,
        /// The width of the result.
        ty: Ty,
        /// Written.
        dst: Reg,
        /// Read.
        a: Reg,
    },
    /// `dst = cmp ? 1 : 0`.
    Set {
        /// Written.
        dst: Reg,
        /// Decides.
        cmp: Cmp,
    },
    /// `dst = cmp ? a : b`.
    Select {
        /// Written.
        dst: Reg,
        /// Decides.
        cmp: Cmp,
        /// If it holds.
        a: Arg,
        /// If not.
        b: Arg,
    },
    /// `dst = memory[addr]`, zero-extended.
    Load {
        /// Bytes read.
        width: Width,
        /// Written.
        dst: Reg,
        /// From where.
        addr: Addr,
        /// Sign-extend to this type.
        sign: Option<Ty>,
    },
    /// `memory[addr] = value`.
    Store {
        /// Bytes written.
        width: Width,
        /// To where.
        addr: Addr,
        /// What.
        value: Arg,
    },
    /// `dst = cell`.
    Get {
        /// Written.
        dst: Reg,
        /// What is read.
        cell: Cell,
    },
    /// `cell = value`.
    Put {
        /// What is written.
        cell: Cell,
        /// The value.
        value: Arg,
    },
    /// `dst = area[index]`, zero-extended; the index, in bytes, was checked.
    LoadArea {
        /// Bytes read.
        width: Width,
        /// Written.
        dst: Reg,
        /// From where.
        area: Area,
        /// Byte offset.
        index: Reg,
        /// Added to it.
        offset: i32,
    },
    /// `area[index] = value`; the index, in bytes, was checked.
    StoreArea {
        /// Bytes written.
        width: Width,
        /// To where.
        area: Area,
        /// Byte offset.
        index: Reg,
        /// Added to it.
        offset: i32,
        /// What.
        value: Arg,
    },
    /// Trap if `cmp` holds.
    TrapIf {
        /// Decides.
        cmp: Cmp,
        /// How it traps.
        kind: TrapKind,
    },
    /// Call a function of the module.
    Call {
        /// Its index in the module, or of a routine of ours, from [`ROUTINES`] on.
        function: u32,
        /// Its arguments.
        args: Vec<Arg>,
        /// Where its results go.
        results: Vec<Reg>,
    },
    /// Add the opaque zero, so that the verifier forgets what it knows about the register.
    Launder {
        /// Read and written.
        reg: Reg,
    },
}

/// Routines that the compiler adds (bulk memory and tables) take function indices from here on.
pub const ROUTINES: u32 = 1 << 30;

/// An instruction and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inst {
    /// What it does.
    pub op: Op,
    /// The offset in the module's bytes of the WebAssembly instruction it was made for.
    pub offset: u32,
}

/// How a block ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Term {
    /// Go on there.
    Jump(BlockId),
    /// Go to `then` if `cmp` holds, else to `otherwise`.
    Branch {
        /// Decides.
        cmp: Cmp,
        /// If it holds.
        then: BlockId,
        /// If not.
        otherwise: BlockId,
    },
    /// Go to `targets[index]`, or to `default` when there is none.
    Switch {
        /// Unsigned, 32 bits.
        index: Reg,
        /// By index.
        targets: Vec<BlockId>,
        /// Otherwise.
        default: BlockId,
    },
    /// Return these values.
    Return(Vec<Arg>),
    /// Trap.
    Trap(TrapKind),
}

/// A basic block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its instructions.
    pub insts: Vec<Inst>,
    /// Its end.
    pub term: Term,
    /// Where its end comes from.
    pub term_offset: u32,
    /// Whether back edges enter it: it asks `may_goto`.
    pub header: bool,
    /// The fuel that it spends when it begins, see the [crate](crate#fuel); 0 is none.
    pub spends: u32,
    /// How many loops it is in.
    pub depth: u32,
}

impl Block {
    /// An empty one, whose end is not known yet.
    pub(crate) fn new(depth: u32) -> Self {
        let term = Term::Trap(TrapKind::Unreachable);
        Self { insts: Vec::new(), term, term_offset: 0, header: false, spends: 0, depth }
    }
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its index in the module, or from [`ROUTINES`] on.
    pub index: u32,
    /// What it is called.
    pub name: String,
    /// Its parameters are the first registers.
    pub params: u32,
    /// Results' types.
    pub results: Vec<Ty>,
    /// The type of each register.
    pub regs: Vec<Ty>,
    /// Its blocks in layout order; the first is the entry.
    pub blocks: Vec<Block>,
    /// The register that counts fuel down, in functions that spend it.
    pub fuel: Option<Reg>,
}

impl Function {
    /// A new register.
    pub fn reg(&mut self, ty: Ty) -> Reg {
        self.regs.push(ty);
        Reg(self.regs.len() as u32 - 1)
    }

    /// The type of a register.
    pub fn ty(&self, reg: Reg) -> Ty {
        self.regs[reg.0 as usize]
    }

    /// Blocks with their ids.
    pub fn blocks(&self) -> impl Iterator<Item = (BlockId, &Block)> {
        self.blocks.iter().enumerate().map(|(index, block)| (BlockId(index as u32), block))
    }

    /// A block.
    pub fn block(&self, id: BlockId) -> &Block {
        &self.blocks[id.0 as usize]
    }

    /// Functions that it calls, in order of appearance, with repeats.
    pub fn callees(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks.iter().flat_map(|block| &block.insts).filter_map(|inst| match inst.op {
            Op::Call { function, .. } => Some(function),
            _ => None,
        })
    }
}
