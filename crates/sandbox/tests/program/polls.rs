//! Polls of a perf-like buffer: every record once, callbacks that break off, close, load, grow and poll again.

use skep_error::Kind;
use skep_sandbox::{Reason, Stop, worlds::program::Losses};

use crate::{
    fake::Fake,
    guest::{run, run_until},
};

const EBADF: i64 = -9;
const EBUSY: i64 = -16;
const EFAULT: i64 = -14;
const EINVAL: i64 = -22;

/// A kernel whose objects have records 100, 101 … in `events`.
fn with_records(count: i32) -> Fake {
    let fake = Fake::default();
    fake.get().events = (0..count).map(|n| (100 + n).to_le_bytes().to_vec()).collect();
    fake
}

/// A guest with an object in `$o`, its map `events` in `$m`, `$poll_all` on them, and that callback and start.
fn guest(callback: &str, start: &str) -> String {
    format!(
        r#"(global $o (mut i64) (i64.const 0))
        (global $m (mut i32) (i32.const 0))
        (global $count (mut i32) (i32.const 0))
        (table (export "__indirect_function_table") 4 funcref)
        (elem (i32.const 1) $callback $no_callback)
        (func $no_callback)
        (func $callback (param $ctx i32) (param $data i32) (param $size i32) (result i32) (local $inner i64)
            (global.set $count (i32.add (global.get $count) (i32.const 1)))
            {callback})
        (func $poll_all (result i32)
            (call $poll (global.get $o) (global.get $m)
                (i32.const 1) (i32.const 42) (i32.const 4096) (i32.const 64) (i32.const 1)))
        (func (export "_start")
            (global.set $o (call $object))
            (global.set $m (call $map (global.get $o) (i32.const 56)))
            {start})"#
    )
}

const SAY_RECORD: &str = "(call $say (i32.load (local.get $data))) (i32.const 0)";

#[test]
fn every_record_comes_once_in_order_and_no_record_is_no_error() {
    let callback = "(call $say (local.get $ctx)) (call $say (local.get $size)) (call $say (local.get $data))
        (call $say (i32.load (local.get $data))) (i32.const 7)";
    let ran = run(&with_records(2), &guest(callback, "(call $say (call $poll_all)) (call $say (call $poll_all))"));
    ran.says(&[42, 4, 4096, 100, 42, 4, 4096, 101, 0, 0]);
    assert_eq!(ran.losses, Losses::default());
}

#[test]
fn a_negative_result_breaks_off_and_the_next_poll_goes_on() {
    let callback = "(call $say (i32.load (local.get $data)))
        (select (i32.const -77) (i32.const 0) (i32.eq (i32.rem_u (global.get $count) (i32.const 2)) (i32.const 0)))";
    let polls = "(call $say (call $poll_all)) (call $say (call $poll_all)) (call $say (call $poll_all))";
    run(&with_records(5), &guest(callback, polls)).says(&[100, 101, -77, 102, 103, -77, 104, 0]);
}

#[test]
fn a_record_longer_than_the_guests_room_is_cut() {
    let fake = Fake::default();
    fake.get().events = vec![vec![0xaa; 200], vec![0xbb; 3], vec![]];
    let callback = "(call $say (local.get $size)) (call $bytes (local.get $data) (i32.const 8)) (i32.const 0)";
    let start = "(i32.store (i32.const 4096) (i32.const -1)) (i32.store (i32.const 4100) (i32.const -1))
        (call $say (call $poll (global.get $o) (global.get $m)
            (i32.const 1) (i32.const 0) (i32.const 4096) (i32.const 6) (i32.const 1)))";
    let after = |bytes: [u8; 8]| i64::from_le_bytes(bytes);
    run(&fake, &guest(callback, start)).says(&[
        6,
        after([0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xff, 0xff]),
        3,
        after([0xbb, 0xbb, 0xbb, 0xaa, 0xaa, 0xaa, 0xff, 0xff]),
        0,
        after([0xbb, 0xbb, 0xbb, 0xaa, 0xaa, 0xaa, 0xff, 0xff]),
        0,
    ]);
}

#[test]
fn a_poll_of_the_same_buffer_inside_its_callback_is_refused() {
    let callback = "(call $say (i32.load (local.get $data))) (call $say (call $poll_all)) (i32.const 0)";
    let ran = run(&with_records(2), &guest(callback, "(call $say (call $poll_all)) (call $say (call $poll_all))"));
    ran.says(&[100, EBUSY, 101, EBUSY, 0, 0]);
    ran.shows(&["its callback polls it again"]);
}

#[test]
fn a_callback_may_poll_another_buffer() {
    let fake = with_records(2);
    fake.get().other = vec![500i32.to_le_bytes().to_vec(), 501i32.to_le_bytes().to_vec()];
    let callback = "(call $say (i32.load (local.get $data)))
        (if (i32.eq (global.get $count) (i32.const 1)) (then
            (call $say (call $poll (global.get $o) (call $map (global.get $o) (i32.const 72))
                (i32.const 1) (i32.const 42) (i32.const 8192) (i32.const 64) (i32.const 1)))))
        (i32.const 0)";
    run(&fake, &guest(callback, "(call $say (call $poll_all))")).says(&[100, 500, 501, 0, 101, 0]);
}

#[test]
fn a_callback_may_close_its_own_object() {
    let callback = "(call $say (i32.load (local.get $data))) (call $say (call $close (global.get $o))) (i32.const -5)";
    let fake = with_records(3);
    fake.get().lost = 4;
    let ran = run(&fake, &guest(callback, "(call $say (call $poll_all)) (call $say (call $poll_all))"));
    ran.says(&[100, 0, -5, EBADF]);
    // Two that were there, and what the buffer had lost by itself.
    assert_eq!(ran.losses, Losses { ring: 0, perf: 4, unread: 2 });
}

#[test]
fn a_callback_may_load_another_object_and_poll_that() {
    let callback = "(call $say (i32.load (local.get $data)))
        (if (i32.eq (global.get $count) (i32.const 1)) (then
            (local.set $inner (call $object))
            (call $say (call $poll (local.get $inner) (call $map (local.get $inner) (i32.const 56))
                (i32.const 1) (i32.const 42) (i32.const 8192) (i32.const 64) (i32.const 1)))
            (call $say (call $close (local.get $inner)))))
        (i32.const 0)";
    let ran = run(&with_records(2), &guest(callback, "(call $say (call $poll_all))"));
    ran.says(&[100, 100, 101, 0, 0, 101, 0]);
}

#[test]
fn a_callback_may_grow_memory() {
    let callback = "(drop (memory.grow (i32.const 40))) (call $say (i32.load (local.get $data))) (i32.const 0)";
    let start = "(call $say (call $poll_all)) (call $say (memory.size))";
    run(&with_records(3), &guest(callback, start)).says(&[100, 101, 102, 0, 121]);
}

#[test]
fn what_nobody_has_read_is_counted_when_an_object_is_closed_and_at_the_end() {
    let callback = "(i32.const -1)";
    let start = "(drop (call $poll_all)) (drop (call $close (global.get $o)))
        (global.set $o (call $object))
        (global.set $m (call $map (global.get $o) (i32.const 56)))
        (drop (call $poll_all)) (drop (call $poll_all))";
    let fake = with_records(10);
    fake.get().dropped = 3;
    let ran = run(&fake, &guest(callback, start));
    assert_eq!(ran.losses, Losses { ring: 6, perf: 0, unread: 9 + 8 }, "{:?}", ran.result);
}

#[test]
fn a_map_of_another_object_is_not_polled() {
    let start = "(call $say (call $poll (call $object) (global.get $m)
            (i32.const 1) (i32.const 42) (i32.const 4096) (i32.const 64) (i32.const 1)))
        (call $say (call $poll (i64.const 99) (global.get $m)
            (i32.const 1) (i32.const 42) (i32.const 4096) (i32.const 64) (i32.const 1)))
        (call $say (call $poll (global.get $o) (i32.const 77)
            (i32.const 1) (i32.const 42) (i32.const 4096) (i32.const 64) (i32.const 1)))
        (call $say (call $poll_all))";
    let ran = run(&with_records(1), &guest(SAY_RECORD, start));
    ran.says(&[EBADF, EBADF, EBADF, 100, 0]);
    ran.shows(&["map events belongs to another object"]);
}

#[test]
fn a_poll_that_is_the_first_call_is_told_what_is_wrong_with_it() {
    let guest = r#"(table (export "__indirect_function_table") 2 funcref)
        (elem (i32.const 1) $callback)
        (func $callback (param i32 i32 i32) (result i32) (i32.const 0))
        (func (export "_start")
            (call $say (call $poll (i64.const 7) (i32.const 3)
                (i32.const 1) (i32.const 5) (i32.const 4096) (i32.const 256) (i32.const 1))))"#;
    let ran = run(&Fake::default(), guest);
    ran.says(&[i64::from(-libc::EBADF)]);
    ran.shows(&["7 is no object of this guest's"]);
}

#[test]
fn a_hash_map_is_not_polled_however_often() {
    let start = "(global.set $m (call $map (global.get $o) (i32.const 32)))
        (call $say (call $poll_all)) (call $say (call $poll_all))";
    let ran = run(&with_records(1), &guest(SAY_RECORD, start));
    ran.says(&[EINVAL, EINVAL]);
    ran.shows(&["it is no buffer"]);
}

#[test]
fn what_a_callback_must_be_and_where_records_go() {
    let poll = |function: &str, data: &str, max: &str| {
        format!(
            "(call $say (call $poll (global.get $o) (global.get $m) (i32.const {function}) (i32.const 0)
                (i32.const {data}) (i32.const {max}) (i32.const 1)))"
        )
    };
    let start: String = [
        ("0", "4096", "64"),
        ("2", "4096", "64"),
        ("3", "4096", "64"),
        ("4", "4096", "64"),
        ("-1", "4096", "64"),
        ("1", "65530", "7"),
        ("1", "-1", "64"),
        ("1", "4096", "-1"),
        ("1", "65532", "4"),
    ]
    .map(|(function, data, max)| poll(function, data, max))
    .concat();
    let ran = run(&with_records(1), &guest(SAY_RECORD, &start));
    // Nothing was taken from the kernel by what failed.
    ran.says(&[EINVAL, EINVAL, EINVAL, EINVAL, EINVAL, EFAULT, EFAULT, EFAULT, 100, 0]);
    ran.shows(&["the callback has the type", "not (i32, i32, i32) -> (i32)"]);
    ran.shows(&["the guest's table has no function at 3"]);
    ran.shows(&["the guest's table has no function at 4294967295"]);
    ran.shows(&["the data buffer"]);
}

#[test]
fn a_guest_that_exports_no_table_is_told_how_to() {
    let body = guest(SAY_RECORD, "(call $say (call $poll_all))").replace(r#"(export "__indirect_function_table")"#, "");
    let ran = run(&with_records(1), &body);
    ran.says(&[EINVAL]);
    ran.shows(&["__indirect_function_table", "-Wl,--export-table"]);
}

#[test]
fn a_trap_in_a_callback_ends_the_run() {
    let callback = "(if (i32.eq (global.get $count) (i32.const 2)) (then unreachable)) (i32.const 0)";
    let ran = run(&with_records(5), &guest(callback, "(drop (call $poll_all))"));
    assert_eq!(ran.result.unwrap_err().kind(), Kind::Trap);
    assert_eq!(ran.losses.unread, 3);
}

#[test]
fn an_end_that_is_asked_for_while_it_polls_is_told_three_times_and_then_comes() {
    for (reason, kind) in [(Reason::Interrupted, Kind::Interrupted), (Reason::TimedOut, Kind::TimedOut)] {
        let (fake, stop) = (with_records(1), Stop::new().unwrap());
        fake.get().stop_at_wait = Some((stop.clone(), reason));
        let start = "(loop $again (call $say (call $poll_all)) (br $again))";
        let ran = run_until(&fake, &guest(SAY_RECORD, start), &stop);
        assert_eq!(ran.numbers(), [100, 0, -27, -27, -27]);
        assert_eq!(ran.result.unwrap_err().kind(), kind);
    }
}

#[test]
fn a_guest_that_heeds_the_end_has_its_own_exit_status() {
    let (fake, stop) = (with_records(1), Stop::new().unwrap());
    fake.get().stop_at_wait = Some((stop.clone(), Reason::Interrupted));
    let start = "(loop $again (br_if $again (i32.ge_s (call $poll_all) (i32.const 0)))) (call $exit (i32.const 9))";
    let ran = run_until(&fake, &guest(SAY_RECORD, start), &stop);
    assert!(matches!(ran.result, Ok(9)), "{:?}", ran.result);
}

#[test]
fn records_that_are_there_are_delivered_after_the_end_was_asked_for() {
    let stop = Stop::new().unwrap();
    stop.request(Reason::Interrupted);
    let ran = run_until(&with_records(3), &guest(SAY_RECORD, "(call $say (call $poll_all))"), &stop);
    ran.says(&[100, 101, 102, -27]);
}
