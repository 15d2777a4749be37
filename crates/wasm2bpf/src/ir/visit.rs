//! Which registers an instruction reads and writes.

use smallvec::SmallVec;

use super::{Addr, Arg, BlockId, Cmp, Op, Reg, Term};

impl Arg {
    /// The register, if it is one.
    pub fn reg(self) -> Option<Reg> {
        match self {
            Self::Reg(reg) => Some(reg),
            Self::Imm(_) => None,
        }
    }
}

impl Cmp {
    fn visit(&self, f: &mut impl FnMut(Reg)) {
        f(self.a);
        self.b.reg().map(f);
    }
}

impl Addr {
    fn visit(&self, f: &mut impl FnMut(Reg)) {
        self.base.map(f);
    }
}

impl Op {
    /// Calls `f` with each register read.
    pub fn uses(&self, mut f: impl FnMut(Reg)) {
        match self {
            Self::Const { .. } | Self::Get { .. } => {}
            Self::Copy { src, .. } => f(*src),
            Self::Bin { a, b, .. } => {
                f(*a);
                b.reg().map(f);
            }
            Self::Un { a, .. } => f(*a),
            Self::Set { cmp, .. } | Self::TrapIf { cmp, .. } => cmp.visit(&mut f),
            Self::Select { cmp, a, b, .. } => {
                cmp.visit(&mut f);
                a.reg().map(&mut f);
                b.reg().map(f);
            }
            Self::Load { addr, .. } => addr.visit(&mut f),
            Self::Store { addr, value, .. } => {
                addr.visit(&mut f);
                value.reg().map(f);
            }
            Self::Put { value, .. } => {
                value.reg().map(f);
            }
            Self::LoadArea { index, .. } => f(*index),
            Self::StoreArea { index, value, .. } => {
                f(*index);
                value.reg().map(f);
            }
            Self::Call { args, .. } => args.iter().filter_map(|arg| arg.reg()).for_each(f),
            Self::Launder { reg } => f(*reg),
        }
    }

    /// Calls `f` with each register written.
    pub fn defs(&self, mut f: impl FnMut(Reg)) {
        match self {
            Self::Const { dst, .. }
            | Self::Copy { dst, .. }
            | Self::Bin { dst, .. }
            | Self::Un { dst, .. }
            | Self::Set { dst, .. }
            | Self::Select { dst, .. }
            | Self::Load { dst, .. }
            | Self::Get { dst, .. }
            | Self::LoadArea { dst, .. } => f(*dst),
            Self::Launder { reg } => f(*reg),
            Self::Call { results, .. } => results.iter().copied().for_each(f),
            Self::Store { .. } | Self::Put { .. } | Self::StoreArea { .. } | Self::TrapIf { .. } => {}
        }
    }

    /// The one register that an instruction with a single result writes.
    pub fn dst_mut(&mut self) -> Option<&mut Reg> {
        match self {
            Self::Const { dst, .. }
            | Self::Copy { dst, .. }
            | Self::Bin { dst, .. }
            | Self::Un { dst, .. }
            | Self::Set { dst, .. }
            | Self::Select { dst, .. }
            | Self::Load { dst, .. }
            | Self::Get { dst, .. }
            | Self::LoadArea { dst, .. } => Some(dst),
            Self::Call { results, .. } => match &mut results[..] {
                [dst] => Some(dst),
                _ => None,
            },
            _ => None,
        }
    }
}

fn map_arg(arg: &mut Arg, f: &mut impl FnMut(Reg) -> Reg) {
    if let Arg::Reg(reg) = arg {
        *reg = f(*reg);
    }
}

fn map_cmp(cmp: &mut Cmp, f: &mut impl FnMut(Reg) -> Reg) {
    cmp.a = f(cmp.a);
    map_arg(&mut cmp.b, f);
}

impl Op {
    /// Renames every register, read or written.
    pub fn map_regs(&mut self, mut f: impl FnMut(Reg) -> Reg) {
        let f = &mut f;
        match self {
            Self::Const { dst, .. } | Self::Get { dst, .. } => *dst = f(*dst),
            Self::Copy { dst, src } => (*dst, *src) = (f(*dst), f(*src)),
            Self::Bin { dst, a, b, .. } => {
                (*dst, *a) = (f(*dst), f(*a));
                map_arg(b, f);
            }
            Self::Un { dst, a, .. } => (*dst, *a) = (f(*dst), f(*a)),
            Self::Set { dst, cmp } => {
                *dst = f(*dst);
                map_cmp(cmp, f);
            }
            Self::Select { dst, cmp, a, b } => {
                *dst = f(*dst);
                map_cmp(cmp, f);
                map_arg(a, f);
                map_arg(b, f);
            }
            Self::Load { dst, addr, .. } => {
                *dst = f(*dst);
                addr.base = addr.base.map(f);
            }
            Self::Store { addr, value, .. } => {
                addr.base = addr.base.map(&mut *f);
                map_arg(value, f);
            }
            Self::Put { value, .. } => map_arg(value, f),
            Self::LoadArea { dst, index, .. } => (*dst, *index) = (f(*dst), f(*index)),
            Self::StoreArea { index, value, .. } => {
                *index = f(*index);
                map_arg(value, f);
            }
            Self::TrapIf { cmp, .. } => map_cmp(cmp, f),
            Self::Call { args, results, .. } => {
                args.iter_mut().for_each(|arg| map_arg(arg, f));
                results.iter_mut().for_each(|reg| *reg = f(*reg));
            }
            Self::Launder { reg } => *reg = f(*reg),
        }
    }
}

impl Term {
    /// Renames every register read.
    pub fn map_regs(&mut self, mut f: impl FnMut(Reg) -> Reg) {
        match self {
            Self::Jump(_) | Self::Trap(_) => {}
            Self::Branch { cmp, .. } => map_cmp(cmp, &mut f),
            Self::Switch { index, .. } => *index = f(*index),
            Self::Return(values) => values.iter_mut().for_each(|value| map_arg(value, &mut f)),
        }
    }

    /// Calls `f` with each register read.
    pub fn uses(&self, mut f: impl FnMut(Reg)) {
        match self {
            Self::Jump(_) | Self::Trap(_) => {}
            Self::Branch { cmp, .. } => cmp.visit(&mut f),
            Self::Switch { index, .. } => f(*index),
            Self::Return(values) => values.iter().filter_map(|value| value.reg()).for_each(f),
        }
    }

    /// Calls `f` with each block that can come next, with repeats.
    pub fn successors(&self, mut f: impl FnMut(BlockId)) {
        match self {
            Self::Jump(to) => f(*to),
            Self::Branch { then, otherwise, .. } => {
                f(*then);
                f(*otherwise);
            }
            Self::Switch { targets, default, .. } => {
                targets.iter().copied().for_each(&mut f);
                f(*default);
            }
            Self::Return(_) | Self::Trap(_) => {}
        }
    }

    /// The blocks that can come next, each once: a table can name one a million times.
    pub(crate) fn next_blocks(&self) -> SmallVec<[BlockId; 2]> {
        let mut next = SmallVec::new();
        self.successors(|to| next.push(to));
        next.sort_unstable();
        next.dedup();
        next
    }

    /// Calls `f` with each block that can come next, to be changed.
    pub fn successors_mut(&mut self, mut f: impl FnMut(&mut BlockId)) {
        match self {
            Self::Jump(to) => f(to),
            Self::Branch { then, otherwise, .. } => {
                f(then);
                f(otherwise);
            }
            Self::Switch { targets, default, .. } => {
                targets.iter_mut().for_each(&mut f);
                f(default);
            }
            Self::Return(_) | Self::Trap(_) => {}
        }
    }
}
