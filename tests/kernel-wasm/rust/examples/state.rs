//! A state machine over number literals: `programs/state.c` in Rust.
#![no_std]
use kernel_programs as _;

const INPUT: &[u8; 127] = b"5012,1234,-874,+122,35.54400,.1234500,-110.700,+0.64400,5.500e+3,-.123e-2,-87e+832,\
                            +0.6e-12,T0.3e-1F,-T.T++Tq,1T3.4e4z,34.0e-T^";

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Sign,
    Int,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    Scientific,
    Invalid,
}

use State::*;

fn step(state: State, c: u8) -> State {
    match (state, c) {
        (Start | Sign | Int, b'0'..=b'9') => Int,
        (Start, b'+' | b'-') => Sign,
        (Start | Sign, b'.') => Point,
        (Int, b'.') => Fraction,
        (Point | Fraction, b'0'..=b'9') => Fraction,
        (Point | Fraction, b'e' | b'E') => Exponent,
        (Exponent, b'+' | b'-') => ExponentSign,
        (ExponentSign | Scientific, b'0'..=b'9') => Scientific,
        _ => Invalid,
    }
}

fn scan(input: &[u8], counts: &mut [u32; 9]) -> u32 {
    let (mut state, mut transitions) = (Start, 0);
    for &c in input {
        if c == b',' {
            counts[state as usize] += 1;
            state = Start;
            continue;
        }
        let next = step(state, c);
        transitions += u32::from(next != state);
        state = next;
    }
    transitions
}

#[unsafe(no_mangle)]
extern "C" fn run(rounds: u32) -> u32 {
    let (mut counts, mut sum) = ([0; 9], 0u32);
    for _ in 0..rounds {
        for k in 0..16 {
            sum = sum.wrapping_mul(31).wrapping_add(scan(&INPUT[..INPUT.len() - (k & 7)], &mut counts));
        }
    }
    counts.iter().fold(sum, |sum, &count| sum.wrapping_mul(31).wrapping_add(count))
}
