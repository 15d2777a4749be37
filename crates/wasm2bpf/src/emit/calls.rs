//! Parameters, calls, returns.

use super::{A, B, BASE, Emitter, Target, code};
use crate::{
    Binding,
    ir::{Arg, Reg, Ty},
    layout::{FUEL, RESULTS, SELF, TRAP, ZERO},
    regalloc::{Place, REGISTER_PARAMS},
};

/// Where a value comes from in a parallel move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Machine(u8),
    Slot(i32),
    Imm(i32),
}

impl Emitter<'_> {
    pub(super) fn parameters(&mut self, exported: bool) {
        let count = self.f.params.min(REGISTER_PARAMS);
        // Those that live in slots first: that frees their registers.
        for param in (0..count).filter(|&param| self.alloc.live_params[param as usize]) {
            if let Place::Slot(_) = self.place(Reg(param)) {
                let from = param as u8 + 2;
                if exported && self.f.ty(Reg(param)) == Ty::I32 {
                    self.asm.mov32(from, from);
                }
                self.finish(Reg(param), from);
            }
        }
        let mut moves = Vec::new();
        for param in (0..count).filter(|&param| self.alloc.live_params[param as usize]) {
            if let Some(machine) = self.machine(Reg(param)) {
                moves.push((machine, Source::Machine(param as u8 + 2)));
            }
        }
        self.parallel(moves);
        for param in 0..count {
            let live = self.alloc.live_params[param as usize];
            if let Some(machine) = self.machine(Reg(param)).filter(|_| live && exported)
                && self.f.ty(Reg(param)) == Ty::I32
            {
                self.asm.mov32(machine, machine);
            }
        }
        for param in REGISTER_PARAMS..self.f.params {
            if let Some(machine) = self.machine(Reg(param)).filter(|_| self.alloc.live_params[param as usize]) {
                let slot = self.slot((param - REGISTER_PARAMS) * 8);
                self.load_base(self.size_of(Reg(param)), machine, slot);
            }
        }
    }

    /// Moves values to machine registers all at once; a cycle goes through the scratch.
    fn parallel(&mut self, mut moves: Vec<(u8, Source)>) {
        moves.retain(|&(to, from)| from != Source::Machine(to));
        while !moves.is_empty() {
            let ready = moves.iter().position(|&(to, _)| !moves.iter().any(|&(_, from)| from == Source::Machine(to)));
            match ready {
                Some(index) => {
                    let (to, from) = moves.swap_remove(index);
                    match from {
                        Source::Machine(from) => self.asm.mov(to, from),
                        Source::Slot(slot) => self.load_base(code::DW, to, slot),
                        Source::Imm(value) => self.asm.constant(to, i64::from(value)),
                    }
                }
                None => {
                    let (to, _) = moves[0];
                    self.asm.mov(A, to);
                    for (_, from) in &mut moves {
                        if *from == Source::Machine(to) {
                            *from = Source::Machine(A);
                        }
                    }
                }
            }
        }
    }

    fn source(&self, arg: Arg) -> Source {
        match arg {
            Arg::Imm(value) => Source::Imm(value),
            Arg::Reg(reg) => match self.place(reg) {
                Place::Machine(machine) => Source::Machine(machine),
                Place::Slot(_) => Source::Slot(self.slot_of(reg).unwrap_or_default()),
                Place::None => Source::Imm(0),
            },
        }
    }

    pub(super) fn call(&mut self, function: u32, args: &[Arg], results: &[Reg]) {
        let functions = self.program.functions;
        let Some(callee) = functions.get(&function) else { return };
        if let Some(Binding::Helper(number)) = callee.binding {
            return self.call_helper(number, args, &callee.results, results);
        }
        let fuel = self.f.fuel.and_then(|fuel| self.machine(fuel)).filter(|_| callee.burns);
        if let Some(fuel) = fuel {
            self.asm.store(code::DW, BASE, FUEL as i16, fuel);
        }
        for (&arg, index) in args.iter().zip(0u32..).skip(REGISTER_PARAMS as usize) {
            let slot = self.program.layout.slot(callee.frame + (index - REGISTER_PARAMS) * 8);
            let from = self.read_arg(arg, B);
            self.store_base(code::DW, slot, from, A);
        }
        let in_registers = args.iter().zip(2..).take(REGISTER_PARAMS as usize);
        let moves = in_registers.map(|(&arg, to)| (to, self.source(arg))).collect();
        self.parallel(moves);
        self.asm.load(code::W, 1, BASE, SELF as i16);
        self.forget_arguments_from(args.len());
        let target = match callee.binding {
            Some(_) => Target::Extern(function),
            None => Target::Function(function),
        };
        self.asm.push_to(code::JMP | code::CALL, 0, 1, 0, -1, target);
        if callee.traps {
            self.propagates = true;
            self.asm.load(code::W, B, BASE, TRAP as i16);
            self.asm.push_to(code::JMP32 | code::JNE, B, 0, 0, 0, Target::Label(self.propagate));
        }
        if let Some(fuel) = fuel {
            self.asm.load(code::DW, fuel, BASE, FUEL as i16);
        }
        if callee.binding.is_some() {
            self.narrow_result(&callee.results);
        }
        self.take_results(results);
    }

    /// The verifier thinks that a function of ours reads all five registers: what is left in those that it does not
    /// would be compared at each loop before the call.
    fn forget_arguments_from(&mut self, count: usize) {
        if self.loops {
            for register in (2..=REGISTER_PARAMS as u8 + 1).skip(count) {
                self.asm.constant(register, 0);
            }
        }
    }

    fn call_helper(&mut self, number: u32, args: &[Arg], types: &[Ty], results: &[Reg]) {
        let moves = args.iter().zip(1..).map(|(&arg, to)| (to, self.source(arg))).collect();
        self.parallel(moves);
        self.asm.push(code::JMP | code::CALL, 0, 0, 0, number as i32);
        self.narrow_result(types);
        if !results.is_empty() {
            // The verifier knows of some helpers what they return at most.
            self.asm.load(code::DW, B, BASE, ZERO as i16);
            self.asm.alu(code::ALU64, code::ADD, A, B);
        }
        self.take_results(results);
    }

    /// What is not ours may leave the upper half of a 32-bit result as it likes.
    fn narrow_result(&mut self, types: &[Ty]) {
        if types == [Ty::I32] {
            self.asm.mov32(A, A);
        }
    }

    fn take_results(&mut self, results: &[Reg]) {
        if let Some(&first) = results.first() {
            self.finish(first, A);
        }
        for (&result, index) in results.iter().zip(0..).skip(1) {
            let at = self.target(result);
            self.load_base(self.size_of(result), at, RESULTS - 8 * (index - 1));
            self.finish(result, at);
        }
    }

    pub(super) fn return_(&mut self, values: &[Arg]) {
        for (&value, index) in values.iter().zip(0..).skip(1) {
            let from = self.read_arg(value, B);
            self.store_base(code::DW, RESULTS - 8 * (index - 1), from, A);
        }
        if let Some(fuel) = self.f.fuel.and_then(|fuel| self.machine(fuel)) {
            self.asm.store(code::DW, BASE, FUEL as i16, fuel);
        }
        if self.step {
            let value = values.first().map(|&value| self.read_arg(value, A));
            return self.return_from_round(value);
        }
        match values.first() {
            Some(&value) => {
                let from = self.read_arg(value, A);
                self.asm.mov(A, from);
            }
            None => self.asm.constant(A, 0),
        }
        self.asm.exit();
    }
}
