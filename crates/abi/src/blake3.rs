//! BLAKE3 in constant evaluation: a guest's fingerprints stand in its custom sections, so they have to be known when it
//! is compiled, and no crate hashes in a `const`. Hosts that hash at run time use the crate `blake3`; a test holds the
//! two together.

const IV: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
const BLOCK: usize = 64;
const CHUNK: usize = 1024;
const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const PARENT: u32 = 4;
const ROOT: u32 = 8;

/// The hash of the first `len` bytes of `input`.
pub(crate) const fn hash(input: &[u8], len: usize) -> [u8; 32] {
    let words = subtree(input, 0, len, ROOT);
    let mut bytes = [0; 32];
    let mut i = 0;
    while i < 32 {
        bytes[i] = (words[i / 4] >> (8 * (i % 4))) as u8;
        i += 1;
    }
    bytes
}

const fn subtree(input: &[u8], start: usize, end: usize, root: u32) -> [u32; 8] {
    let len = end - start;
    if len <= CHUNK {
        return chunk(input, start, end, root);
    }
    // The left side is the largest whole number of chunks that is a power of two and leaves the right side something.
    let mut left = CHUNK;
    while left * 2 < len {
        left *= 2;
    }
    let a = subtree(input, start, start + left, 0);
    let b = subtree(input, start + left, end, 0);
    let mut block = [0; 16];
    let mut i = 0;
    while i < 8 {
        block[i] = a[i];
        block[i + 8] = b[i];
        i += 1;
    }
    compress(IV, block, 0, BLOCK as u32, PARENT | root)
}

const fn chunk(input: &[u8], start: usize, end: usize, root: u32) -> [u32; 8] {
    let counter = (start / CHUNK) as u64;
    let mut cv = IV;
    let mut at = start;
    loop {
        let len = if end - at < BLOCK { end - at } else { BLOCK };
        let mut block = [0u32; 16];
        let mut i = 0;
        while i < len {
            block[i / 4] |= (input[at + i] as u32) << (8 * (i % 4));
            i += 1;
        }
        let first = if at == start { CHUNK_START } else { 0 };
        let last = at + len == end;
        let flags = first | if last { CHUNK_END | root } else { 0 };
        cv = compress(cv, block, counter, len as u32, flags);
        at += len;
        if last {
            return cv;
        }
    }
}

const fn compress(cv: [u32; 8], mut block: [u32; 16], counter: u64, len: u32, flags: u32) -> [u32; 8] {
    let mut v = [0; 16];
    let mut i = 0;
    while i < 8 {
        v[i] = cv[i];
        v[i + 8] = IV[i % 4];
        i += 1;
    }
    v[12] = counter as u32;
    v[13] = (counter >> 32) as u32;
    v[14] = len;
    v[15] = flags;
    let mut round = 0;
    while round < 7 {
        let mut i = 0;
        while i < 4 {
            v = mix(v, i, 4 + i, 8 + i, 12 + i, block[2 * i], block[2 * i + 1]);
            i += 1;
        }
        i = 0;
        while i < 4 {
            v = mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, block[8 + 2 * i], block[9 + 2 * i]);
            i += 1;
        }
        let mut next = [0; 16];
        i = 0;
        while i < 16 {
            next[i] = block[PERMUTATION[i]];
            i += 1;
        }
        block = next;
        round += 1;
    }
    let mut out = [0; 8];
    i = 0;
    while i < 8 {
        out[i] = v[i] ^ v[i + 8];
        i += 1;
    }
    out
}

const fn mix(mut v: [u32; 16], a: usize, b: usize, c: usize, d: usize, x: u32, y: u32) -> [u32; 16] {
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(x);
    v[d] = (v[d] ^ v[a]).rotate_right(16);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(12);
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(y);
    v[d] = (v[d] ^ v[a]).rotate_right(8);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(7);
    v
}

#[cfg(test)]
mod tests {
    extern crate std;

    #[test]
    fn it_is_the_crate_blake3_at_every_boundary_of_blocks_chunks_and_trees() {
        let input: std::vec::Vec<u8> = (0..8200u32).map(|i| (i % 251) as u8).collect();
        for len in [0, 1, 63, 64, 65, 1023, 1024, 1025, 2047, 2048, 2049, 3072, 3073, 4097, 5000, 8192, 8200] {
            assert_eq!(super::hash(&input, len), *blake3::hash(&input[..len]).as_bytes(), "{len} bytes");
        }
    }
}
