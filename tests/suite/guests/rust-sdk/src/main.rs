// SPDX-License-Identifier: MIT OR Apache-2.0
//! The Rust SDK against the live host: maps, walks, a ring buffer by callback and the same ring in place.
#![forbid(unsafe_op_in_unsafe_fn)]

use std::{process::ExitCode, time::Duration};

use skep_guest::program::{
    Errno, Object, Pages, Update,
    shared::{Array, Ring},
};

skep_guest::record! {
    /// `struct record` of trigger.h.
    struct Record {
        seq: u32,
        call: u32,
        buffer: u32,
        pid: u32,
    }
}

const BURST: usize = 100;
const WAIT: Duration = Duration::from_millis(100);

fn maps(object: &Object) -> Result<(), Errno> {
    let hash = object.map(c"hash")?;
    for key in 0..20u32 {
        hash.update(&key, &u64::from(key * 7), Update::Create)?;
    }
    println!("created twice: {:?}", hash.update(&3u32, &0u64, Update::Create));
    println!("lookup: {:?} {:?}", hash.lookup::<u32, u64>(&3)?, hash.lookup::<u32, u64>(&99)?);
    println!("delete: {} {}", hash.delete(&3u32)?, hash.delete(&3u32)?);
    let mut keys = hash.keys::<u32>().collect::<Result<Vec<_>, _>>()?;
    keys.sort_unstable();
    println!("{} keys, sum {}", keys.len(), keys.iter().sum::<u32>());
    println!("no such map: {:?}", object.map(c"nothing").err());
    println!("no such program: {:?}", object.attach(c"nothing").err());
    println!("not an object: {:?}", Object::load(b"no ELF at all").err());
    Ok(())
}

fn run() -> Result<(), Errno> {
    let object = Object::load(include_bytes!(env!("SKEP_BPF_OBJECT")))?;
    maps(&object)?;

    let counts = object.map(c"counts")?;
    let mut writable = Array::<u64>::open(&counts, true)?;
    let readable = Array::<u64>::open(&counts, false)?;
    counts.update(&5u32, &55u64, Update::Any)?;
    println!("read in place: {:?} of {}", readable.get(5), readable.len());
    println!("written in place: {}, looked up: {:?}", writable.set(6, 66), counts.lookup::<u32, u64>(&6)?);
    println!("beyond the last: {:?} {}", readable.get(16), writable.set(16, 1));
    println!("of another size: {:?}", Array::<u32>::open(&counts, false).err());
    println!("a hash: {:?}", Array::<u64>::open(&object.map(c"hash")?, false).is_err());
    drop(writable);
    let again = Pages::new(4096)?;
    println!("unmapped pages read zero: {:?}", again.read::<u64>(6 * 8));

    object.attach(c"on_getpgid")?;
    println!("ready");
    let ring = object.map(c"ring")?;
    let (mut record, mut taken, mut wrong) = ([0; 64], 0, 0);
    while taken < BURST {
        ring.poll(&mut record, WAIT, |record| {
            wrong += usize::from(Record::read(record).is_none_or(|record| record.seq as usize != taken));
            taken += 1;
        })?;
    }
    println!("{taken} records by callback, {wrong} wrong");

    // A hundred records of 24 bytes: the 16 KiB of data wrap within ten bursts.
    let mut ring = Ring::open(&ring)?;
    println!("ready for more");
    (taken, wrong) = (0, 0);
    while taken < 10 * BURST {
        ring.poll(WAIT, |record| {
            wrong += usize::from(Record::read(record).is_none_or(|record| record.seq as usize != taken % BURST));
            taken += 1;
            if taken.is_multiple_of(BURST) {
                println!("burst {}", taken / BURST);
            }
        })?;
    }
    println!("{taken} records in place, {wrong} wrong");
    println!("calls counted in place: {:?} {:?}", readable.get(0), readable.get(1));
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error:?}");
            ExitCode::FAILURE
        }
    }
}
