//! Which accesses need no check: constant addresses below the memory's minimum, and addresses that an earlier check on
//! every path covers.

use std::collections::HashMap;

use crate::ir::{Check, Function, Op, Reg};

/// Marks the accesses that need no check, within each block.
pub(crate) fn prove(f: &mut Function, memory_min: impl Fn(u32) -> u64) {
    for block in &mut f.blocks {
        // A module has one memory, and a register belongs to one module. For each, how many bytes from it on were found to be inside memory since it was last written.
        let mut covered: HashMap<Reg, u64> = HashMap::new();
        for inst in &mut block.insts {
            if let Op::Load { width, addr, .. } | Op::Store { width, addr, .. } = &mut inst.op {
                let extent = addr.offset.saturating_add(u64::from(width.bytes()));
                match addr.base {
                    None if extent <= memory_min(addr.memory) => addr.check = Check::Proven,
                    None => {}
                    Some(base) => {
                        let known = covered.entry(base).or_insert(0);
                        if *known >= extent {
                            addr.check = Check::Proven;
                        } else {
                            *known = extent;
                        }
                    }
                }
            }
            inst.op.defs(|reg| {
                covered.remove(&reg);
            });
        }
    }
}
