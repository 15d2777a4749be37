//! XXH64 of a buffer: `programs/xxhash64.c` in Rust.
#![no_std]
use kernel_programs as _;

const P1: u64 = 0x9e37_79b1_85eb_ca87;
const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const P3: u64 = 0x1656_67b1_9e37_79f9;
const P4: u64 = 0x85eb_ca77_c2b2_ae63;
const P5: u64 = 0x27d4_eb2f_1656_67c5;

fn round(acc: u64, input: u64) -> u64 {
    acc.wrapping_add(input.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

fn merge(acc: u64, v: u64) -> u64 {
    (acc ^ round(0, v)).wrapping_mul(P1).wrapping_add(P4)
}

fn xxh64(words: &[u64; 512], count: usize, seed: u64) -> u64 {
    let word = |i: usize| words[i & 511];
    let mut v = [seed.wrapping_add(P1).wrapping_add(P2), seed.wrapping_add(P2), seed, seed.wrapping_sub(P1)];
    let mut i = 0;
    while i + 4 <= count {
        for (lane, v) in v.iter_mut().enumerate() {
            *v = round(*v, word(i + lane));
        }
        i += 4;
    }
    let mut h = v[0].rotate_left(1);
    for (v, by) in v[1..].iter().zip([7, 12, 18]) {
        h = h.wrapping_add(v.rotate_left(by));
    }
    h = v.iter().fold(h, |h, &v| merge(h, v)).wrapping_add(count as u64 * 8);
    while i < count {
        h = (h ^ round(0, word(i))).rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
        i += 1;
    }
    h = (h ^ (h >> 33)).wrapping_mul(P2);
    h = (h ^ (h >> 29)).wrapping_mul(P3);
    h ^ (h >> 32)
}

#[unsafe(no_mangle)]
extern "C" fn run(rounds: u32) -> u32 {
    let mut words = [0u64; 512];
    for (word, i) in words.iter_mut().zip(1..) {
        *word = P5.wrapping_mul(i);
    }
    let sum = (0..rounds).fold(0u64, |sum, round| {
        sum.wrapping_mul(31).wrapping_add(xxh64(&words, 8190 + (round & 3) as usize, sum))
    });
    (sum ^ (sum >> 32)) as u32
}
