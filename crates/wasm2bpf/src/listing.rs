//! The listing: each eBPF instruction, in the assembler's notation, beside the WebAssembly one it was made for and the
//! source line.

use std::{collections::HashMap, fmt::Write as _};

use crate::{
    compile::Compiled,
    emit::insn::{Insn, Target, code},
    source::Lines,
    trap::TrapSite,
};

/// Symbols of functions by index.
type Names<'a> = HashMap<u32, &'a str>;

fn alu_symbol(op: u8) -> &'static str {
    match op {
        code::ADD => "+=",
        code::SUB => "-=",
        code::MUL => "*=",
        code::DIV => "/=",
        code::OR => "|=",
        code::AND => "&=",
        code::LSH => "<<=",
        code::RSH => ">>=",
        code::MOD => "%=",
        code::XOR => "^=",
        code::ARSH => "s>>=",
        _ => "=",
    }
}

fn jump_symbol(op: u8) -> &'static str {
    match op {
        code::JEQ => "==",
        code::JGT => ">",
        code::JGE => ">=",
        code::JNE => "!=",
        code::JSGT => "s>",
        code::JSGE => "s>=",
        code::JLT => "<",
        code::JLE => "<=",
        code::JSLT => "s<",
        _ => "s<=",
    }
}

fn size_name(op: u8) -> &'static str {
    match op & 0x18 {
        code::W => "u32",
        code::H => "u16",
        code::B => "u8",
        _ => "u64",
    }
}

fn alu(insn: &Insn, wide: bool) -> String {
    let r = if wide { 'r' } else { 'w' };
    let (dst, op) = (insn.dst, insn.code & 0xf0);
    if op == code::NEG {
        return format!("{r}{dst} = -{r}{dst}");
    }
    if insn.code & code::X == 0 {
        let signed = if insn.off == 1 { "s" } else { "" };
        return format!("{r}{dst} {signed}{} {}", alu_symbol(op), insn.imm);
    }
    match (op, insn.off) {
        (code::MOV, 1) if wide && insn.imm == 1 => format!("r{dst} = addr_space_cast(r{}, 0, 1)", insn.src),
        (code::MOV, bits @ (8 | 16 | 32)) => format!("{r}{dst} = (s{bits}){r}{}", insn.src),
        (_, 1) => format!("{r}{dst} s{} {r}{}", alu_symbol(op), insn.src),
        _ => format!("{r}{dst} {} {r}{}", alu_symbol(op), insn.src),
    }
}

fn jump(insn: &Insn, slot: u32, names: &Names<'_>) -> String {
    let wide = insn.code & 7 == code::JMP;
    let r = if wide { 'r' } else { 'w' };
    let to = i64::from(slot) + 1 + i64::from(insn.off);
    match (insn.code & 0xf0, insn.target) {
        (code::EXIT, _) => "exit".to_owned(),
        (code::CALL, Target::Function(index)) => match names.get(&index) {
            Some(name) => format!("call {name}"),
            None => format!("call f{index}"),
        },
        (code::CALL, Target::Extern(index)) => format!("call import {index}"),
        (code::CALL, _) => format!("call {}", insn.imm),
        (code::JA, _) if wide => format!("goto {to}"),
        (code::JA, _) => format!("gotol {}", i64::from(slot) + 1 + i64::from(insn.imm)),
        (code::JCOND, _) => format!("may_goto {to}"),
        (op, _) if insn.code & code::X != 0 => {
            format!("if {r}{} {} {r}{} goto {to}", insn.dst, jump_symbol(op), insn.src)
        }
        (op, _) => format!("if {r}{} {} {} goto {to}", insn.dst, jump_symbol(op), insn.imm),
    }
}

/// One instruction, at that slot of its function.
pub(crate) fn instruction(insn: &Insn, slot: u32, names: &Names<'_>) -> String {
    let size = size_name(insn.code);
    match insn.code & 7 {
        code::ALU => alu(insn, false),
        code::ALU64 => alu(insn, true),
        code::JMP | code::JMP32 => jump(insn, slot, names),
        code::LDX => format!("r{} = *({size} *)(r{} {:+})", insn.dst, insn.src, insn.off),
        code::ST => format!("*({size} *)(r{} {:+}) = {}", insn.dst, insn.off, insn.imm),
        code::STX => format!("*({size} *)(r{} {:+}) = r{}", insn.dst, insn.off, insn.src),
        _ if insn.target == Target::Array => format!("r{} = memory + {:#x} ll", insn.dst, insn.imm),
        _ if matches!(insn.target, Target::Address(_)) => format!("r{} = round ll", insn.dst),
        _ if insn.target == Target::Arena => format!("r{} = arena ll", insn.dst),
        _ => {
            let value = i64::from(insn.wide.unwrap_or(0)) << 32 | i64::from(insn.imm as u32);
            format!("r{} = {value:#x} ll", insn.dst)
        }
    }
}

/// All functions, then the trap sites.
pub(crate) fn print(functions: &[Compiled], sites: &[TrapSite], wasm: &[u8], lines: &Lines) -> String {
    let named = functions.iter().filter_map(|f| Some((f.ir.as_ref()?.index, f.symbol.as_str())));
    let names: Names<'_> = named.collect();
    let mut text = String::new();
    for function in functions {
        let _ = writeln!(text, "{}:", function.symbol);
        let (mut last, mut last_line) = (None, None);
        for &(slot, ref insn) in &function.code.insns {
            let mut beside = String::new();
            if last != Some(insn.wasm) {
                last = Some(insn.wasm);
                beside = beside_of(wasm, insn.wasm);
                let line = lines.at(insn.wasm);
                if let Some(line) = line.filter(|_| line != last_line) {
                    let _ = write!(beside, "  {}:{}", line.file, line.line);
                }
                last_line = line;
            }
            let row = format!("{slot:>6}  {:<40} {beside}", instruction(insn, slot, &names));
            let _ = writeln!(text, "{}", row.trim_end());
        }
    }
    for (number, site) in sites.iter().enumerate() {
        let TrapSite { kind, function, offset } = site;
        let _ = write!(text, "trap {}: {kind} in function {function} at {offset:#x}", number + 1);
        match lines.at(*offset) {
            Some(line) => writeln!(text, ", {}:{}", line.file, line.line),
            None => writeln!(text),
        }
        .unwrap_or_default();
    }
    text
}

/// The offset and the instruction there; routines of the compiler's own have none.
fn beside_of(wasm: &[u8], offset: u32) -> String {
    if offset == 0 { "; added".to_owned() } else { format!("; {offset:#x} {}", crate::mnemonic::at(wasm, offset)) }
}
