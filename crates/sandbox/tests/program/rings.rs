//! Delivery of a ring buffer, byte by byte: records of many sizes, wrapping, discarded, busy; callbacks that break off.

use std::sync::Arc;

use skep_error::Kind;
use skep_sandbox::{Reason, Stop, worlds::program::Losses};

use crate::{
    fake::Fake,
    guest::{Ran, run, run_until},
    ring::{FakeRing, Fate},
};

const SIZE: u32 = 4096;

fn with_ring(ring: FakeRing) -> (Fake, Arc<FakeRing>) {
    let (fake, ring) = (Fake::default(), Arc::new(ring));
    fake.get().ring = Some(ring.clone());
    (fake, ring)
}

/// A guest that says each record, its length before its bytes, breaks off when that is `every` times something (or never,
/// with 0), and polls until no record comes. What polls return is added up and said last; `max` bytes are its room.
fn guest(every: u32, max: u32) -> String {
    format!(
        r#"(global $count (mut i32) (i32.const 0))
        (table (export "__indirect_function_table") 2 funcref)
        (elem (i32.const 1) $callback)
        (func $callback (param $ctx i32) (param $data i32) (param $size i32) (result i32)
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            (call $say (local.get $size))
            (call $bytes (local.get $data) (local.get $size))
            (if (i32.const {every}) (then
                (if (i32.eqz (i32.rem_u (global.get $count) (i32.const {divisor}))) (then
                    (return (i32.const -100))))))
            (i32.const 1))
        (func (export "_start") (local $o i64) (local $m i32) (local $before i32) (local $result i32)
            (local.set $o (call $object))
            (local.set $m (call $map (local.get $o) (i32.const 64)))
            (loop $again
                (local.set $before (global.get $count))
                (local.set $result (i32.add (local.get $result)
                    (call $poll (local.get $o) (local.get $m)
                        (i32.const 1) (i32.const 5) (i32.const 4096) (i32.const {max}) (i32.const 1))))
                (br_if $again (i32.ne (local.get $before) (global.get $count))))
            (call $say (i32.const -1))
            (call $say (local.get $result)))"#,
        divisor = every.max(1),
    )
}

/// The records that the guest has said, and the sum of what its polls returned.
#[track_caller]
fn records(ran: &Ran) -> (Vec<Vec<u8>>, i64) {
    assert!(matches!(ran.result, Ok(0)), "{:?}; {:?}", ran.result, ran.reports);
    let (mut rest, mut records) = (ran.said.as_slice(), Vec::new());
    loop {
        let (len, after) = rest.split_first_chunk().unwrap();
        match i64::from_le_bytes(*len) {
            -1 => return (records, i64::from_le_bytes(after.try_into().unwrap())),
            len => {
                let (record, after) = after.split_at(len as usize);
                records.push(record.to_vec());
                rest = after;
            }
        }
    }
}

/// Bytes that differ from place to place and from record to record.
fn record(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|at| (n * 37 + at * 11 + 1) as u8).collect()
}

#[test]
fn records_of_every_length_from_0_to_200() {
    for start in [0, 8, 4096 - 8, 4096 * 1000 - 16, (1 << 32) - 24] {
        // All that fit, from each length on: so each length is somewhere, and many wrap.
        for from in (0..=200).step_by(20) {
            let (fake, ring) = with_ring(FakeRing::starting(SIZE, start));
            let lens = (from..=200).chain(0..from).take_while(|&len| {
                let room = ring.has_room(len);
                if room {
                    ring.put(&record(len, len), Fate::Submitted);
                }
                room
            });
            let expected: Vec<_> = lens.map(|len| record(len, len)).collect();
            let ran = run(&fake, &guest(0, 256));
            assert_eq!(records(&ran), (expected, 0), "from {start}, {from} on");
            assert_eq!(ring.consumed(), ring.produced());
            assert_eq!(ran.losses, Losses::default());
        }
    }
}

#[test]
fn a_record_that_wraps_is_in_one_piece() {
    for before in (8..200).step_by(8) {
        let (fake, ring) = with_ring(FakeRing::starting(SIZE, u64::from(SIZE) * 3 - before));
        let expected: Vec<_> = [200, 0, 199, 1].into_iter().enumerate().map(|(n, len)| record(n, len)).collect();
        ring.put_all(&expected);
        assert_eq!(records(&run(&fake, &guest(0, 256))), (expected, 0), "{before} bytes before the end");
    }
}

#[test]
fn discarded_records_are_passed_over_also_the_last() {
    let (fake, ring) = with_ring(FakeRing::starting(SIZE, 4000));
    let mut expected = Vec::new();
    for n in 0..60 {
        let discarded = n % 3 == 0 || n == 59;
        ring.put(&record(n, n), if discarded { Fate::Discarded } else { Fate::Submitted });
        if !discarded {
            expected.push(record(n, n));
        }
    }
    let ran = run(&fake, &guest(0, 256));
    assert_eq!(records(&ran), (expected, 0));
    assert_eq!(ring.consumed(), ring.produced());
    assert_eq!(ran.losses, Losses::default());
}

#[test]
fn nothing_behind_a_busy_record_is_seen_before_it_is_submitted() {
    let (fake, ring) = with_ring(FakeRing::starting(SIZE, 0));
    ring.put(&record(1, 9), Fate::Submitted);
    let busy = ring.put(&record(2, 17), Fate::Busy);
    ring.put(&record(3, 3), Fate::Submitted);
    assert_eq!(records(&run(&fake, &guest(0, 256))), (vec![record(1, 9)], 0));
    assert_eq!(ring.consumed(), busy);
    ring.submit(busy);
    // Another object over the same ring goes on where the first has ended.
    assert_eq!(records(&run(&fake, &guest(0, 256))), (vec![record(2, 17), record(3, 3)], 0));
}

#[test]
fn delivery_stops_at_the_first_busy_record_whatever_its_length() {
    for len in 0..=70 {
        for before in 0..3 {
            let (fake, ring) = with_ring(FakeRing::starting(SIZE, 4000));
            let expected: Vec<_> = (0..before).map(|n| record(n, 40)).collect();
            ring.put_all(&expected);
            let busy = ring.put(&record(9, len), Fate::Busy);
            ring.put(&record(3, 40), Fate::Submitted);
            assert_eq!(records(&run(&fake, &guest(0, 256))), (expected, 0), "{before} before one of {len} bytes");
            assert_eq!(ring.consumed(), busy);
        }
    }
}

/// While a record is copied the kernel may not give its space out again: where the copy cannot be done, the record is one that
/// nobody has read.
#[test]
fn a_record_is_consumed_only_after_its_copy() {
    let (fake, ring) = with_ring(FakeRing::starting(SIZE, 8));
    ring.put_all(&[record(1, 40), record(2, 8)]);
    let forged = ring.put(&record(3, 200), Fate::Submitted);
    ring.forge_length(forged, 61_000);
    let ran = run(&fake, &guest(0, 61_000));
    assert!(ran.result.is_err_and(|error| error.kind() == Kind::Trap));
    assert_eq!(ran.losses.unread, 1, "it lies there still");
}

/// No loop and no call comes after it in which the guest would trap.
#[test]
fn the_last_store_of_a_guest_may_not_be_to_a_mapping_for_reading_either() {
    let (fake, _ring) = with_ring(FakeRing::starting(SIZE, 0));
    let stores = |flags: i32| {
        format!(
            r#"(func (export "_start")
                (call $say (call $mmap (call $map (call $object) (i32.const 64))
                    (i32.const 4096) (i32.const 4096) (i64.const 0) (i32.const {flags})))
                (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 4104))))"#
        )
    };
    run(&fake, &stores(1)).says(&[0]);
    let ran = run(&fake, &stores(0));
    assert!(ran.result.is_err_and(|error| error.kind() == Kind::Trap));
    let ran = run(&fake, &stores(6));
    ran.shows(&["map_mmap", "flags 0x6 are not known"]);
}

#[test]
fn a_callback_may_be_a_function_of_the_hosts() {
    let (fake, ring) = with_ring(FakeRing::starting(SIZE, 0));
    ring.put_all(&[record(1, 40), record(2, 8)]);
    let guest = r#"(table (export "__indirect_function_table") 2 funcref)
        (elem (i32.const 1) $unlink)
        (func (export "_start") (local $o i64)
            (local.set $o (call $object))
            (call $say (call $poll (local.get $o) (call $map (local.get $o) (i32.const 64))
                (i32.const 1) (i32.const 5) (i32.const 4096) (i32.const 256) (i32.const 1))))"#;
    let ran = run(&fake, guest);
    assert!(matches!(ran.result, Ok(0)), "{:?}", ran.result);
    assert_eq!(ran.said, 0i64.to_le_bytes(), "WASI's EBADF is positive: it breaks nothing off");
    assert_eq!(ring.consumed(), ring.produced());
}

#[test]
fn a_callback_that_breaks_off_loses_nothing() {
    for every in 1..8 {
        let (fake, ring) = with_ring(FakeRing::starting(SIZE, 3000));
        let expected: Vec<_> = (0..50).map(|n| record(n, n)).collect();
        for (n, record) in expected.iter().enumerate() {
            ring.put(record, Fate::Submitted);
            if n % 7 == 0 {
                ring.put(record, Fate::Discarded);
            }
        }
        let broken_off = expected.len() / every as usize;
        assert_eq!(records(&run(&fake, &guest(every, 256))), (expected, -100 * broken_off as i64), "every {every}");
    }
}

#[test]
fn a_record_longer_than_the_guests_room_is_cut_and_the_next_begins_where_it_should() {
    for max in [0, 1, 7, 8, 31, 32, 33, 47, 63, 64, 65, 100, 199] {
        let (fake, ring) = with_ring(FakeRing::starting(SIZE, 0));
        let lens = [200, 5, 101, 0, 33, 32, 48, 47, 49, 63, 64, 65];
        let whole: Vec<_> = lens.into_iter().enumerate().map(|(n, len)| record(n, len)).collect();
        ring.put_all(&whole);
        let cut: Vec<_> = whole.iter().map(|record| record[..record.len().min(max)].to_vec()).collect();
        assert_eq!(records(&run(&fake, &guest(0, max as u32))), (cut, 0), "at most {max}");
    }
}

#[test]
fn more_than_is_looked_at_at_once() {
    let (fake, ring) = with_ring(FakeRing::starting(1 << 18, (1 << 18) - 64));
    let mut expected = Vec::new();
    for n in 0.. {
        let record = record(n, n % 201);
        if !ring.has_room(record.len()) {
            break;
        }
        ring.put(&record, Fate::Submitted);
        expected.push(record);
    }
    assert!(expected.len() > 2000, "{}", expected.len());
    assert_eq!(records(&run(&fake, &guest(0, 256))), (expected, 0));
}

#[test]
fn a_ring_that_cannot_be_mapped_is_delivered_all_the_same() {
    for every in [0, 3] {
        let (fake, ring) = with_ring(FakeRing::starting(SIZE, 4000));
        fake.get().unmappable = true;
        let expected: Vec<_> = (0..30).map(|n| record(n, n)).collect();
        for record in &expected {
            ring.put(record, Fate::Submitted);
            ring.put(record, Fate::Discarded);
        }
        let broken_off = 30i64.checked_div(every.into()).unwrap_or(0);
        assert_eq!(records(&run(&fake, &guest(every, 256))), (expected, -100 * broken_off), "every {every}");
    }
}

/// A guest that polls once, with that callback.
fn polls_once(callback: &str, more: &str) -> String {
    format!(
        r#"(global $o (mut i64) (i64.const 0))
        (table (export "__indirect_function_table") 2 funcref)
        (elem (i32.const 1) $callback)
        (func $poll_it (result i32)
            (call $poll (global.get $o) (call $map (global.get $o) (i32.const 64))
                (i32.const 1) (i32.const 5) (i32.const 4096) (i32.const 256) (i32.const 1)))
        (func $callback (param $ctx i32) (param $data i32) (param $size i32) (result i32) {callback})
        (func (export "_start")
            (global.set $o (call $object))
            (call $say (call $poll_it))
            {more})"#
    )
}

fn with_four() -> (Fake, Arc<FakeRing>) {
    let (fake, ring) = with_ring(FakeRing::starting(SIZE, 0));
    ring.put_all(&[1, 2, 3, 4].map(|n| record(n, n)));
    (fake, ring)
}

#[test]
fn a_poll_of_the_same_ring_inside_its_callback_is_refused() {
    let (fake, ring) = with_four();
    let callback = "(call $say (local.get $size)) (call $say (call $poll_it)) (i32.const 0)";
    let ran = run(&fake, &polls_once(callback, ""));
    ran.says(&[1, -16, 2, -16, 3, -16, 4, -16, 0]);
    assert_eq!(ring.consumed(), ring.produced());
}

#[test]
fn a_callback_that_closes_its_object_leaves_the_rest_unread() {
    let (fake, _ring) = with_four();
    let callback = "(call $say (local.get $size)) (call $say (call $close (global.get $o))) (i32.const -3)";
    let ran = run(&fake, &polls_once(callback, "(call $say (call $poll_it))"));
    ran.says(&[1, 0, -3, -9]);
    assert_eq!(ran.losses, Losses { ring: 0, perf: 0, unread: 3 });
}

#[test]
fn an_instance_serves_the_next_ring_after_a_close() {
    let (fake, ring) = with_four();
    let callback = "(call $say (local.get $size)) (select (i32.const -3) (i32.const 0)
        (i32.eq (local.get $size) (i32.const 2)))";
    // Each object shows the same ring; closing one counts, and takes, what is left.
    let more = "(drop (call $close (global.get $o))) (global.set $o (call $object)) (call $say (call $poll_it))";
    let ran = run(&fake, &polls_once(callback, more));
    ran.says(&[1, 2, -3, 0]);
    assert_eq!(ran.losses.unread, 2);
    assert_eq!(ring.consumed(), ring.produced());
}

#[test]
fn a_callback_may_grow_memory_and_trap_later() {
    let (fake, ring) = with_four();
    let callback = "(drop (memory.grow (i32.const 30))) (call $bytes (local.get $data) (local.get $size))
        (if (i32.eq (local.get $size) (i32.const 3)) (then unreachable)) (i32.const 0)";
    let ran = run(&fake, &polls_once(callback, ""));
    assert_eq!(ran.said, [record(1, 1), record(2, 2), record(3, 3)].concat());
    assert_eq!(ran.result.unwrap_err().kind(), Kind::Trap);
    assert_eq!(ran.losses.unread, 1);
    assert_eq!(ring.consumed(), ring.produced());
}

#[test]
fn an_end_that_is_asked_for_while_it_waits_for_a_ring() {
    let (fake, _ring) = with_four();
    let stop = Stop::new().unwrap();
    fake.get().stop_at_wait = Some((stop.clone(), Reason::Interrupted));
    let more = "(loop $again (call $say (call $poll_it)) (br $again))";
    let ran = run_until(&fake, &polls_once("(call $say (local.get $size)) (i32.const 0)", more), &stop);
    assert_eq!(ran.numbers(), [1, 2, 3, 4, 0, -27, -27, -27]);
    assert_eq!(ran.result.unwrap_err().kind(), Kind::Interrupted);
}
