//! The printed form of the IR, for goldens and `--emit ir`.

use std::fmt;

use super::{Addr, Arg, Block, BlockId, Check, Cmp, Function, Inst, Op, Reg, Term, Ty};

impl fmt::Display for Reg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", self.0)
    }
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reg(reg) => reg.fmt(f),
            Self::Imm(value) => value.fmt(f),
        }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::Other => "?",
        })
    }
}

impl fmt::Display for Cmp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}.{} {}", self.a, self.op, self.ty, self.b)
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.memory != 0 {
            write!(f, "memory {} ", self.memory)?;
        }
        match self.base {
            Some(base) => write!(f, "[{base} + {}]", self.offset)?,
            None => write!(f, "[{}]", self.offset)?,
        }
        if self.check == Check::Proven { f.write_str(" proven") } else { Ok(()) }
    }
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Const { dst, value } => write!(f, "{dst} = {value}"),
            Self::Copy { dst, src } => write!(f, "{dst} = {src}"),
            Self::Bin { op, ty, dst, a, b } => write!(f, "{dst} = {op:?}.{ty} {a}, {b}"),
            Self::Un { op, ty, dst, a } => write!(f, "{dst} = {op:?}.{ty} {a}"),
            Self::Set { dst, cmp } => write!(f, "{dst} = set {cmp}"),
            Self::Select { dst, cmp, a, b } => write!(f, "{dst} = select {cmp} ? {a} : {b}"),
            Self::Load { width, dst, addr, sign } => {
                write!(f, "{dst} = load{} {addr}", width.bytes() * 8)?;
                sign.map_or(Ok(()), |ty| write!(f, " signed {ty}"))
            }
            Self::Store { width, addr, value } => write!(f, "store{} {addr}, {value}", width.bytes() * 8),
            Self::Get { dst, cell } => write!(f, "{dst} = get {cell:?}"),
            Self::Put { cell, value } => write!(f, "put {cell:?}, {value}"),
            Self::LoadArea { width, dst, area, index, offset } => {
                write!(f, "{dst} = load{} {area:?}[{index} + {offset}]", width.bytes() * 8)
            }
            Self::StoreArea { width, area, index, offset, value } => {
                write!(f, "store{} {area:?}[{index} + {offset}], {value}", width.bytes() * 8)
            }
            Self::TrapIf { cmp, kind } => write!(f, "trap {kind:?} if {cmp}"),
            Self::Call { function, args, results } if results.is_empty() => {
                write!(f, "call f{function}({})", list(args))
            }
            Self::Call { function, args, results } => {
                write!(f, "{} = call f{function}({})", list(results), list(args))
            }
            Self::Launder { reg } => write!(f, "launder {reg}"),
        }
    }
}

impl fmt::Display for Inst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.op.fmt(f)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jump(to) => write!(f, "jump {to}"),
            Self::Branch { cmp, then, otherwise } => write!(f, "branch {cmp} ? {then} : {otherwise}"),
            Self::Switch { index, targets, default } => {
                write!(f, "switch {index} [{}] else {default}", list(targets))
            }
            Self::Return(values) => write!(f, "return {}", list(values)),
            Self::Trap(kind) => write!(f, "trap {kind:?}"),
        }
    }
}

impl Block {
    fn write(&self, f: &mut fmt::Formatter<'_>, id: usize) -> fmt::Result {
        writeln!(
            f,
            "b{id}:{}{}{}",
            if self.header { " loop" } else { "" },
            match self.depth {
                0 => String::new(),
                depth => format!(" depth {depth}"),
            },
            match self.spends {
                0 => String::new(),
                fuel => format!(" spends {fuel}"),
            }
        )?;
        for inst in &self.insts {
            writeln!(f, "    {inst}")?;
        }
        writeln!(f, "    {}", self.term)
    }
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params: Vec<String> = (0..self.params).map(|p| format!("v{p}: {}", self.ty(Reg(p)))).collect();
        writeln!(f, "function {} `{}` ({}) -> ({})", self.index, self.name, params.join(", "), list(&self.results))?;
        for (id, block) in self.blocks.iter().enumerate() {
            block.write(f, id)?;
        }
        Ok(())
    }
}
