//! The quick way through a function's body: steps over the instructions that compilers write all the time.
//!
//! wasmparser decodes every operand, which was most of the time that a large module took. Which features an instruction
//! belongs to is still wasmparser's word, and so is everything about a body that has an instruction of another kind or
//! something wrong: [`plain`] gives up on it, and the body is read again.

use std::sync::LazyLock;

use wasmparser::{BinaryReader, OperatorsReader};

use crate::features::Seen;

/// Blocks that may be open at once here; Go nests as many as a function has places to resume at.
const MAX_OPEN: usize = 1 << 16;

/// What follows an opcode.
#[derive(Clone, Copy)]
enum Shape {
    Nothing,
    /// A number of 32 bits: an index.
    Index,
    /// Two of them.
    Indices,
    Int32,
    Int64,
    /// Alignment and offset.
    Address,
    /// A block's type, and its instructions up to an `end`.
    Block,
    Else,
    End,
    Labels,
    Bytes(u8),
    /// Left to wasmparser.
    Other,
}

const fn shape(opcode: u8) -> Shape {
    match opcode {
        0x00 | 0x01 | 0x0f | 0x1a | 0x1b | 0x45..=0xc4 => Shape::Nothing,
        0x02..=0x04 => Shape::Block,
        0x05 => Shape::Else,
        0x0b => Shape::End,
        0x0c | 0x0d | 0x10 | 0x20..=0x24 | 0x3f | 0x40 => Shape::Index,
        0x11 => Shape::Indices,
        0x0e => Shape::Labels,
        0x28..=0x3e => Shape::Address,
        0x41 => Shape::Int32,
        0x42 => Shape::Int64,
        0x43 => Shape::Bytes(4),
        0x44 => Shape::Bytes(8),
        _ => Shape::Other,
    }
}

const IF: u8 = 0x04;
/// The prefix of memory.copy, memory.fill and their like.
const MISC: u8 = 0xfc;

/// The bit of a number's byte that says that another follows.
const MORE: u8 = 0x80;
/// The bits of an address's first byte that are its alignment; the others say that more follows.
const ALIGNMENT: u8 = 0x0f;

/// What follows the opcode after [`MISC`].
const fn misc(opcode: u8) -> Shape {
    match opcode {
        0x00..=0x07 => Shape::Nothing,
        0x0b => Shape::Index,
        0x0a => Shape::Indices,
        _ => Shape::Other,
    }
}

/// What is known of an opcode.
///
/// Nearly all instructions have one short number or none, and are stepped over without a branch on what they are: which
/// of them comes next cannot be foretold, and a wrong guess costs a processor more than all the rest.
#[derive(Clone, Copy)]
struct Opcode {
    /// Bytes of the instruction where its operands are short; 0 where that has no one answer.
    length: u8,
    /// The bits of the two bytes after the opcode that are clear where the operands are short.
    clear: u16,
    shape: Shape,
    /// A bit each.
    features: u32,
}

impl Opcode {
    const fn new(shape: Shape, features: u32) -> Self {
        let (length, clear) = match shape {
            Shape::Nothing => (1, 0),
            Shape::Index | Shape::Int32 | Shape::Int64 => (2, MORE as u16),
            Shape::Address => (3, (MORE as u16) << 8 | !ALIGNMENT as u16),
            _ => (0, 0),
        };
        Self { length, clear, shape, features }
    }
}

/// The opcodes without a prefix, and those after [`MISC`].
static OPCODES: LazyLock<[[Opcode; 256]; 2]> = LazyLock::new(|| {
    let features = |code: &[u8]| {
        let mut seen = Seen::default();
        // `else` and `end` fail where no block is open, and are of no feature.
        _ = OperatorsReader::new(BinaryReader::new(code, 0)).visit_operator(&mut seen);
        seen.bits()
    };
    let after = |prefix: &[u8], shape: fn(u8) -> Shape| {
        std::array::from_fn(|opcode| {
            let [opcode, ..] = opcode.to_le_bytes();
            let features = features(&[prefix, &[opcode], [0; 16].as_slice()].concat());
            Opcode::new(shape(opcode), features)
        })
    };
    [after(&[], shape), after(&[MISC], misc)]
});

/// The features of a body's instructions; `None` where it holds one of another kind, or where anything is wrong with it.
/// `open` is room that is handed on from one body to the next.
pub(crate) fn plain(code: &[u8], open: &mut Vec<bool>) -> Option<Seen> {
    let [opcodes, misc_opcodes] = &*OPCODES;
    let (mut seen, mut at) = (0, 0);
    // Of every open block, the body being the first, whether it may have an `else`.
    open.clear();
    open.push(false);
    while !open.is_empty() {
        let byte = *code.get(at)?;
        let mut opcode = &opcodes[usize::from(byte)];
        let next = code.get(at + 1..).and_then(<[u8]>::first_chunk).map_or(u16::MAX, |next| u16::from_le_bytes(*next));
        if next & opcode.clear == 0 && opcode.length != 0 {
            seen |= opcode.features;
            at += usize::from(opcode.length);
            continue;
        }
        at += 1;
        if byte == MISC {
            opcode = &misc_opcodes[usize::from(*code.get(at)?)];
            at += 1;
        }
        seen |= opcode.features;
        at = match opcode.shape {
            Shape::Block => {
                open.push(byte == IF);
                block_type(code, at).filter(|_| open.len() <= MAX_OPEN)?
            }
            Shape::Else => std::mem::replace(open.last_mut()?, false).then_some(at)?,
            Shape::End => {
                open.pop();
                at
            }
            shape => operands(shape, code, at)?,
        };
    }
    (at == code.len()).then(|| Seen::of_bits(seen))
}

/// The place after the operands of an instruction that opens and ends no block.
fn operands(shape: Shape, code: &[u8], at: usize) -> Option<usize> {
    match shape {
        Shape::Nothing => Some(at),
        Shape::Index => number::<32, false>(code, at),
        Shape::Indices => number::<32, false>(code, number::<32, false>(code, at)?),
        Shape::Int32 => number::<32, true>(code, at),
        Shape::Int64 => number::<64, true>(code, at),
        Shape::Address => address(code, at),
        Shape::Labels => labels(code, at),
        Shape::Bytes(count) => Some(at + usize::from(count)),
        Shape::Block | Shape::Else | Shape::End | Shape::Other => None,
    }
}

/// The place after a number in LEB128, if it is one of at most `BITS` bits.
#[inline(always)]
fn number<const BITS: usize, const SIGNED: bool>(code: &[u8], at: usize) -> Option<usize> {
    let last = const { BITS.div_ceil(7) - 1 };
    let rest = code.get(at..)?;
    for (index, byte) in rest.iter().enumerate().take(last) {
        if byte & MORE == 0 {
            return Some(at + index + 1);
        }
    }
    // The bits of the last byte that are above the number's own: none, or all as the sign.
    let byte = *rest.get(last)?;
    let own = BITS - 7 * last;
    let fits = if SIGNED { matches!((byte << 1).cast_signed() >> own, 0 | -1) } else { byte >> own == 0 };
    (byte & MORE == 0 && fits).then_some(at + last + 1)
}

/// The place after the type of a block: none, a number's type, or a function's type by an index of one byte.
#[inline(always)]
fn block_type(code: &[u8], at: usize) -> Option<usize> {
    matches!(*code.get(at)?, 0x00..=0x40 | 0x7c..=0x7f).then_some(at + 1)
}

/// The place after the labels of a `br_table`, the default among them.
fn labels(code: &[u8], at: usize) -> Option<usize> {
    let mut count: u64 = 0;
    let end = number::<32, false>(code, at)?;
    for (index, byte) in code.get(at..end)?.iter().enumerate() {
        count |= u64::from(byte & !MORE) << (7 * index);
    }
    (0..=count).try_fold(end, |at, _| number::<32, false>(code, at))
}

/// The place after alignment and offset.
#[inline(always)]
fn address(code: &[u8], at: usize) -> Option<usize> {
    if code.get(at)? & !ALIGNMENT != 0 {
        return None;
    }
    number::<64, false>(code, at + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmparser::{OperatorsReaderAllocations, Parser, Payload};

    use super::*;

    /// What wasmparser alone says.
    fn full(code: &[u8]) -> Option<Seen> {
        let mut seen = Seen::default();
        seen.operators(BinaryReader::new(code, 0), &mut OperatorsReaderAllocations::default()).ok()?;
        Some(seen)
    }

    /// The quick way never says more than wasmparser, nor anything else.
    #[track_caller]
    fn agree(code: &[u8]) {
        if let Some(seen) = plain(code, &mut Vec::new()) {
            assert_eq!(Some(seen), full(code), "{code:02x?}");
        }
    }

    /// Numbers that are short, long, too long and too large for 32 and for 64 bits.
    fn numbers() -> Vec<Vec<u8>> {
        let mut numbers = vec![vec![]];
        for length in 1..=11 {
            for last in [0x00, 0x01, 0x02, 0x07, 0x08, 0x0f, 0x10, 0x3f, 0x40, 0x70, 0x78, 0x7e, 0x7f] {
                for byte in [0x80, 0xff] {
                    let mut number = vec![byte; length - 1];
                    number.push(last);
                    numbers.push(number);
                }
            }
        }
        numbers
    }

    #[test]
    fn every_opcode_is_read_as_wasmparser_reads_it() {
        let numbers = numbers();
        let mut quick = 0;
        for opcode in 0..=u8::MAX {
            for prefix in [&[opcode][..], &[MISC, opcode]] {
                for first in &numbers {
                    for second in [&[][..], &[0], &[0x8f, 0x01], &[0xff, 0xff, 0xff, 0xff, 0x1f]] {
                        // The ends close the block that some open; those too many are refused by both.
                        for ends in [&[0x0b][..], &[0x0b, 0x0b]] {
                            let code = [prefix, first, second, ends].concat();
                            agree(&code);
                            quick += u32::from(plain(&code, &mut Vec::new()).is_some());
                        }
                    }
                }
            }
        }
        assert!(quick > 20_000, "only {quick} were read the quick way: the test shows little");
    }

    #[test]
    fn an_else_stands_in_an_if_and_once() {
        let block = |opcode: u8, inner: &[u8]| [&[opcode, 0x40], inner, &[0x0b, 0x0b]].concat();
        for (code, sound) in [
            (block(IF, &[0x05]), true),
            (block(IF, &[0x05, 0x05]), false),
            (block(0x02, &[0x05]), false),
            (block(IF, &[0x02, 0x40, 0x05, 0x0b]), false),
            (block(IF, &[0x02, 0x40, 0x0b, 0x05]), true),
            (vec![0x05, 0x0b], false),
        ] {
            assert_eq!(plain(&code, &mut Vec::new()).is_some(), sound, "{code:02x?}");
            assert_eq!(full(&code).is_some(), sound, "{code:02x?}");
        }
    }

    #[test]
    fn the_ends_of_a_body_are_its_last_byte() {
        for code in
            [&[][..], &[0x0b, 0x01], &[0x0b, 0x0b], &[0x01], &[0x44, 0, 0], &[0x0e, 0xff, 0xff, 0xff, 0xff, 0x0f]]
        {
            assert_eq!(plain(code, &mut Vec::new()), None, "{code:02x?}");
            assert_eq!(full(code), None, "{code:02x?}");
        }
        let deep = [[0x02, 0x40].repeat(MAX_OPEN), vec![0x0b; MAX_OPEN + 1]].concat();
        assert_eq!((plain(&deep, &mut Vec::new()), full(&deep)), (None, Some(Seen::default())));
    }

    #[test]
    fn bodies_that_compilers_write_are_read_the_quick_way() {
        for path in ["bootstrap/bootstrap.wasm", "tcpstates/tcpstates.wasm", "execve/execve.wasm"] {
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path);
            let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            let (mut bodies, mut quick) = (0, 0);
            for payload in Parser::new(0).parse_all(&bytes) {
                let Ok(Payload::CodeSectionEntry(body)) = payload else { continue };
                let mut code = body.get_binary_reader_for_operators().expect("sound locals");
                let code = code.read_bytes(code.bytes_remaining()).expect("what remains");
                agree(code);
                bodies += 1;
                quick += u32::from(plain(code, &mut Vec::new()).is_some());
            }
            assert!(quick * 100 >= bodies * 95, "{path}: {quick} of {bodies}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_otherwise_than_by_wasmparser(code: Vec<u8>) {
            agree(&code);
        }

        /// Bytes of which most are opcodes of blocks and short numbers get further than any others.
        #[test]
        fn nor_are_those_of_blocks(
            bytes in proptest::collection::vec(prop_oneof![0x00..=0x11u8, 0x20..=0x45u8, Just(0x40), Just(0x0b), any::<u8>()], 0..64)
        ) {
            agree(&bytes);
            agree(&[&bytes[..], &[0x0b]].concat());
        }
    }
}
