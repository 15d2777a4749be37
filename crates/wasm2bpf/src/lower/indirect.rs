//! `call_indirect`: a binary search over the functions of the type that references can point to.

use std::{collections::HashMap, rc::Rc};

use super::{Entry, Lowering, Result};
use crate::{
    Reason,
    ir::{Area, Arg, BlockId, Cmp, CmpOp, Op, Reg, Term, TrapKind, Ty, Width},
    module::Module,
    refusal::Limit,
};

/// Functions that the indirect calls of a module may have to choose from, counted at each call: twice as many as a
/// program of the kernel's has room for.
const MOST: usize = 1 << 17;

/// What may be made of a call for each of them, besides what is made of its bytes.
const PER_TARGET: i64 = 8;

/// What indirect calls can come to.
pub(crate) struct Targets {
    /// By part's group and canonical type, in order.
    by_type: HashMap<(u32, u32), Rc<[u32]>>,
    left: usize,
}

impl Targets {
    pub(crate) fn new(module: &Module) -> Self {
        let mut by_type: HashMap<(u32, u32), Vec<u32>> = HashMap::new();
        for (group, functions) in module.referenced.iter().enumerate() {
            for &function in functions {
                by_type.entry((group as u32, module.canonical_type(function))).or_default().push(function);
            }
        }
        Self { by_type: by_type.into_iter().map(|(key, functions)| (key, functions.into())).collect(), left: MOST }
    }
}

impl Lowering<'_> {
    pub(super) fn call_indirect(&mut self, ty: u32, table: u32) -> Result<()> {
        let index = self.pop_reg();
        let index = self.table_index(table, index, TrapKind::UndefinedElement);
        let area = Area::Table(table);
        let callee = self.compute(Ty::I32, |dst| Op::LoadArea { width: Width::W32, dst, area, index, offset: 0 });
        let null = Cmp { op: CmpOp::Eq, ty: Ty::I32, a: callee, b: Arg::Imm(0) };
        self.trap_if(null, TrapKind::UninitializedElement);

        let ty = self.part.ty(ty);
        let key = (self.part.group, self.module.canonical[ty]);
        let candidates = self.targets.by_type.get(&key).cloned().unwrap_or_default();
        match self.targets.left.checked_sub(candidates.len()) {
            Some(left) => {
                self.targets.left = left;
                self.left += PER_TARGET * candidates.len() as i64;
            }
            None => return Err(self.refuse(Reason::Limit(Limit::Complexity))),
        }
        for &function in candidates.iter() {
            self.check_import(function)?;
        }
        let signature = &self.module.types[ty];
        let count = signature.params.len();
        let result_types: Vec<Ty> = signature.result_types().collect();
        // The arguments are read in several blocks: locals would do, constants must be registers there.
        let args: Vec<Arg> = self.pop_values(count);
        self.settle_stack();
        let results: Vec<Reg> = result_types.iter().map(|&ty| self.new_reg(ty)).collect();
        let join = self.new_block();
        self.search(&candidates, callee, &args, &results, join);
        if !self.reached[join.0 as usize] {
            // No function of that type: every path trapped.
            self.dead = Some(0);
            return Ok(());
        }
        self.begin(join);
        self.stack.extend(results.into_iter().map(Entry::Temp));
        Ok(())
    }

    fn search(&mut self, candidates: &[u32], callee: Reg, args: &[Arg], results: &[Reg], join: BlockId) {
        match candidates {
            [] => self.terminate(Term::Trap(TrapKind::IndirectType)),
            [function] => {
                let id = Arg::Imm(*function as i32 + 1);
                self.trap_if(Cmp { op: CmpOp::Ne, ty: Ty::I32, a: callee, b: id }, TrapKind::IndirectType);
                self.push_call(*function, args.to_vec(), results.to_vec());
                self.terminate(Term::Jump(join));
            }
            _ => {
                let (low, high) = candidates.split_at(candidates.len() / 2);
                let first = Arg::Imm(high[0] as i32 + 1);
                let cmp = Cmp { op: CmpOp::LtU, ty: Ty::I32, a: callee, b: first };
                let (then, otherwise) = (self.new_block(), self.new_block());
                self.terminate(Term::Branch { cmp, then, otherwise });
                self.begin(then);
                self.search(low, callee, args, results, join);
                self.begin(otherwise);
                self.search(high, callee, args, results, join);
            }
        }
    }
}
