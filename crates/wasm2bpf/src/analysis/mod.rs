//! What is true at each point of a function: which registers are live, what the verifier may know, which addresses
//! were checked.

pub(crate) mod bounds;
pub(crate) mod forks;
pub(crate) mod known;
pub(crate) mod links;
pub(crate) mod liveness;

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use smallvec::SmallVec;

use crate::ir::{Function, Reg};

/// Maps by registers and positions, which the module's author does not choose freely: one multiplication spreads them.
pub(crate) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<NumberHasher>>;

/// Hashes small numbers.
#[derive(Clone, Copy, Default)]
pub(crate) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u32(u32::from(byte)));
    }

    fn write_u32(&mut self, number: u32) {
        // Fibonacci hashing; the rotation keeps the first of two numbers in play.
        self.0 = (self.0.rotate_left(29) ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

/// A set of registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegSet(SmallVec<[u64; 2]>);

impl RegSet {
    pub(crate) fn new(len: usize) -> Self {
        Self(SmallVec::from_elem(0, len.div_ceil(64)))
    }

    pub(crate) fn contains(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 != 0
    }

    pub(crate) fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    pub(crate) fn remove(&mut self, index: usize) {
        self.0[index / 64] &= !(1 << (index % 64));
    }

    /// Adds all of `other`; true if that changed anything.
    pub(crate) fn union(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            changed |= *theirs & !*mine != 0;
            *mine |= theirs;
        }
        changed
    }

    /// `self = other & !without | with`.
    pub(crate) fn assign(&mut self, other: &Self, without: &Self, with: &Self) {
        for (index, mine) in self.0.iter_mut().enumerate() {
            *mine = other.0[index] & !without.0[index] | with.0[index];
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(word, &bits)| {
            std::iter::successors((bits != 0).then_some(bits), |bits| {
                let rest = bits & (bits - 1);
                (rest != 0).then_some(rest)
            })
            .map(move |bits| word * 64 + bits.trailing_zeros() as usize)
        })
    }
}

/// The registers that more than one block mentions, numbered densely: the others need no place in per-block sets.
pub(crate) struct Shared {
    /// For each register, its number among the shared, or `u32::MAX`.
    number: Vec<u32>,
    /// The shared registers.
    pub(crate) regs: Vec<Reg>,
}

impl Shared {
    pub(crate) fn new(f: &Function) -> Self {
        const NONE: u32 = u32::MAX;
        let mut home = vec![NONE; f.regs.len()];
        let mut shared = vec![false; f.regs.len()];
        home[..f.params as usize].fill(0);
        for (id, block) in f.blocks() {
            let mut mention = |reg: Reg| {
                let home = &mut home[reg.0 as usize];
                if *home == NONE {
                    *home = id.0;
                } else if *home != id.0 {
                    shared[reg.0 as usize] = true;
                }
            };
            for inst in &block.insts {
                inst.op.uses(&mut mention);
                inst.op.defs(&mut mention);
            }
            block.term.uses(&mut mention);
        }
        // Fuel is read and written by every header, call and return.
        if let Some(fuel) = f.fuel {
            shared[fuel.0 as usize] = true;
        }
        let mut number = vec![NONE; f.regs.len()];
        let mut regs = Vec::new();
        for (index, _) in shared.iter().enumerate().filter(|(_, shared)| **shared) {
            number[index] = regs.len() as u32;
            regs.push(Reg(index as u32));
        }
        Self { number, regs }
    }

    pub(crate) fn number(&self, reg: Reg) -> Option<usize> {
        let number = self.number[reg.0 as usize];
        (number != u32::MAX).then_some(number as usize)
    }
}
