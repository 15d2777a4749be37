use skep_error::{Error, Kind as ErrorKind, Result};
use std::io::{self, Read};

/// The first bytes of a file: its kind and version.
pub(super) const MAGIC: &[u8; 8] = b"SKEPREC\x01";
const BLOCK_MAGIC: &[u8; 4] = b"SKBK";
pub(super) const HEAD: usize = 24;
/// No writer makes larger blocks; a reader allocates no more than this on a file's word.
pub(super) const MAX_PLAIN: usize = 64 << 20;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Schema = 1,
    Batch = 2,
    Stacks = 3,
    Counters = 4,
    Index = 5,
    End = 6,
}

impl Kind {
    fn from_raw(raw: u8) -> Option<Self> {
        [Self::Schema, Self::Batch, Self::Stacks, Self::Counters, Self::Index, Self::End]
            .into_iter()
            .find(|kind| *kind as u8 == raw)
    }
}

/// A block as it was stored, unpacked.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) kind: Kind,
    pub(super) items: u32,
    pub(super) plain: Vec<u8>,
    /// Bytes it takes in the file.
    pub(super) size: u64,
}

/// What follows in a file.
#[derive(Debug)]
pub(super) enum Next {
    Block(Block),
    /// The file ends between two blocks.
    End,
    /// The file ends within a block, or the block is damaged.
    Broken(&'static str),
}

/// A block's bytes, head and payload.
pub(super) fn encode(kind: Kind, items: u32, plain: &[u8]) -> Result<Vec<u8>> {
    if plain.len() > MAX_PLAIN {
        return Err(Error::new(ErrorKind::Internal, format!("a block of {} bytes", plain.len())));
    }
    let packed = lz4_flex::block::compress(plain);
    let mut bytes = Vec::with_capacity(HEAD + packed.len());
    bytes.extend_from_slice(BLOCK_MAGIC);
    bytes.extend_from_slice(&[kind as u8, 0, 0, 0]);
    for number in [packed.len() as u32, plain.len() as u32, items] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let checksum = checksum(&bytes, &packed);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(&packed);
    Ok(bytes)
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads the next block.
pub(super) fn decode(from: &mut impl Read) -> io::Result<Next> {
    let mut head = [0; HEAD];
    match read_up_to(from, &mut head)? {
        0 => return Ok(Next::End),
        HEAD => {}
        _ => return Ok(Next::Broken("the file ends within the head of a block")),
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (stored, plain_len, items) = (word(8) as usize, word(12) as usize, word(16));
    let kind = Kind::from_raw(head[4]);
    let (Some(kind), true) = (kind, &head[..4] == BLOCK_MAGIC) else {
        return Ok(Next::Broken("bytes that start no block"));
    };
    // Data that cannot be packed grows by less than this.
    if plain_len > MAX_PLAIN || stored > lz4_flex::block::get_maximum_output_size(MAX_PLAIN) {
        return Ok(Next::Broken("a block larger than any writer makes"));
    }
    let mut packed = Vec::new();
    from.take(stored as u64).read_to_end(&mut packed)?;
    if packed.len() != stored {
        return Ok(Next::Broken("the file ends within a block"));
    }
    if checksum(&head[..20], &packed) != word(20) {
        return Ok(Next::Broken("a block whose checksum is wrong"));
    }
    match lz4_flex::block::decompress(&packed, plain_len) {
        Ok(plain) if plain.len() == plain_len => {
            Ok(Next::Block(Block { kind, items, plain, size: (HEAD + stored) as u64 }))
        }
        _ => Ok(Next::Broken("a block that cannot be unpacked")),
    }
}

fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
