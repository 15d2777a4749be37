//! CRC-32 (IEEE), by the bit and by a table, over the same bytes: `programs/crc32.c` in Rust.
#![no_std]
use kernel_programs as _;

fn fill(buffer: &mut [u8]) {
    let mut x = 12345u32;
    for byte in buffer {
        x = x.wrapping_mul(1_103_515_245).wrapping_add(12345);
        *byte = (x >> 16) as u8;
    }
}

fn step(crc: u32) -> u32 {
    (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
}

fn bitwise(buffer: &[u8], length: usize) -> u32 {
    let bytes = buffer.iter().cycle().take(length);
    !bytes.fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

fn by_table(buffer: &[u8], length: usize, table: &mut [u32; 256]) -> u32 {
    for (n, entry) in table.iter_mut().enumerate() {
        *entry = (0..8).fold(n as u32, |crc, _| step(crc));
    }
    let bytes = buffer.iter().cycle().take(length);
    !bytes.fold(!0, |crc: u32, &byte| table[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8))
}

#[unsafe(no_mangle)]
extern "C" fn run(rounds: u32) -> u32 {
    let (mut buffer, mut table) = ([0; 4096], [0; 256]);
    fill(&mut buffer);
    (0..rounds).fold(0u32, |sum, _| {
        let sum = sum.wrapping_mul(31).wrapping_add(by_table(&buffer, 16384, &mut table));
        sum.wrapping_add(bitwise(&buffer, 2048))
    })
}
