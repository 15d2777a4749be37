//! Bubble sort and quick sort (with its own stack) of the same numbers: `programs/sort.c` in Rust.
#![no_std]
use kernel_programs as _;

fn fill(a: &mut [u32], seed: u32) {
    let mut x = seed;
    for value in a {
        x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *value = x >> 8;
    }
}

fn bubble(a: &mut [u32]) {
    for end in (1..a.len()).rev() {
        for j in 0..end {
            if a[j] > a[j + 1] {
                a.swap(j, j + 1);
            }
        }
    }
}

fn quick(a: &mut [u32]) {
    let mut stack = [(0usize, 0usize); 64];
    let mut top = 1;
    stack[0] = (0, a.len() - 1);
    while top > 0 {
        top -= 1;
        let (low, high) = stack[top];
        if low >= high {
            continue;
        }
        let pivot = a[(low + high) / 2];
        let (mut i, mut j) = (low, high);
        loop {
            while a[i] < pivot {
                i += 1;
            }
            while a[j] > pivot {
                j -= 1;
            }
            if i >= j {
                break;
            }
            a.swap(i, j);
            i += 1;
            j -= 1;
        }
        stack[top] = (low, i.saturating_sub(1));
        stack[top + 1] = (if a[i] == pivot && i == low { i + 1 } else { i }, high);
        top += 2;
    }
}

fn digest(a: &[u32]) -> u32 {
    a.iter().fold(2_166_136_261, |h: u32, &value| (h ^ value).wrapping_mul(16_777_619))
}

#[unsafe(no_mangle)]
extern "C" fn run(rounds: u32) -> u32 {
    let mut a = [0; 1024];
    let mut sum = 0u32;
    for round in 0..rounds {
        fill(&mut a[..200], round.wrapping_add(1));
        bubble(&mut a[..200]);
        sum = sum.wrapping_mul(31).wrapping_add(digest(&a[..200]));
        fill(&mut a[..1000], round.wrapping_add(7));
        quick(&mut a[..1000]);
        sum = sum.wrapping_mul(31).wrapping_add(digest(&a[..1000]));
    }
    sum
}
