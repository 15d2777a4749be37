//! Objects and maps by their handles: loaded, attached, closed; foreign, stale and too many.

use crate::{fake::Fake, guest::run};

const EBADF: i64 = -9;
const ENOENT: i64 = -2;
const EFAULT: i64 = -14;

#[test]
fn objects_are_loaded_attached_and_closed() {
    let fake = Fake::default();
    let ran = run(
        &fake,
        r#"(func (export "_start") (local $o i64)
            (local.set $o (call $object))
            (call $say64 (local.get $o))
            (call $say (call $attach (local.get $o) (i32.const 80) (i32.const 0)))
            (call $say (call $attach (local.get $o) (i32.const 80) (i32.const 88)))
            ;; An empty target is none.
            (call $say (call $attach (local.get $o) (i32.const 80) (i32.const 15)))
            (call $say (call $attach_fd (local.get $o) (i32.const 80) (i32.const -1)))
            (call $say (call $attach (local.get $o) (i32.const 32) (i32.const 0)))
            (call $say (call $attach_fd (local.get $o) (i32.const 80) (i32.const 3)))
            (call $say (call $close (local.get $o)))
            (call $say (call $close (local.get $o)))
            (call $say (call $attach (local.get $o) (i32.const 80) (i32.const 0)))
            (call $say64 (call $object)))"#,
    );
    ran.says(&[1, 0, 0, 0, 0, ENOENT, EBADF, 0, -1, EBADF, 2]);
    assert_eq!(fake.get().attached, ["run", "run@here", "run", "run"]);
    ran.shows(&["no program hash"]);
    ran.shows(&["descriptor 3 is no preopened directory", "--dir"]);
    ran.shows(&["wasm_close_bpf_object", "1 is no object of this guest's"]);
}

#[test]
fn what_is_no_object_and_what_lies_outside_memory_is_not_loaded() {
    let fake = Fake::default();
    let ran = run(
        &fake,
        r#"(func $try (param i32 i32) (call $say64 (call $load (local.get 0) (local.get 1))))
        (func (export "_start")
            (call $try (i32.const 32) (i32.const 4))
            (call $try (i32.const 0) (i32.const 0))
            (call $try (i32.const 65536) (i32.const 0))
            (call $try (i32.const 65530) (i32.const 7))
            (call $try (i32.const -1) (i32.const 6))
            (call $try (i32.const 16) (i32.const -1))
            (call $say (call $attach (call $object) (i32.const 65536) (i32.const 0)))
            (call $say (call $attach (call $object) (i32.const -1) (i32.const 0)))
            (call $say (call $attach (call $object) (i32.const 80) (i32.const -4)))
            (call $say (call $map (call $object) (i32.const 65536))))"#,
    );
    ran.says(&[0, 0, 0, 0, 0, 0, EFAULT, EFAULT, EFAULT, EFAULT]);
    ran.shows(&["no object of the fake kernel's"]);
    ran.shows(&["7 bytes at", "do not lie in the guest's memory"]);
    assert_eq!(fake.get().loaded, 4);
}

#[test]
fn a_map_has_one_handle_and_it_ends_with_its_object() {
    let ran = run(
        &Fake::default(),
        r#"(func $lookup (param i32) (call $say (call $operate
                (local.get 0) (i32.const 1) (i32.const 1024) (i32.const 1032) (i32.const 0) (i64.const 0))))
        (func (export "_start") (local $a i64) (local $b i64) (local $m i32)
            (local.set $a (call $object))
            (local.set $b (call $object))
            (local.set $m (call $map (local.get $a) (i32.const 32)))
            (call $say (local.get $m))
            (call $say (call $map (local.get $a) (i32.const 32)))
            (call $say (call $map (local.get $b) (i32.const 32)))
            (call $say (call $map (local.get $a) (i32.const 80)))
            (call $say (call $map (i64.const 99) (i32.const 32)))
            (call $say (call $map (i64.const -1) (i32.const 32)))
            (call $lookup (local.get $m))
            (call $lookup (i32.const 0))
            (call $lookup (i32.const 2))
            (call $lookup (i32.const -1))
            (call $lookup (i32.const 0x7fffffff))
            (drop (call $close (local.get $a)))
            (call $lookup (local.get $m))
            ;; Never the number of an old one.
            (call $say (call $map (local.get $b) (i32.const 40))))"#,
    );
    ran.says(&[3, 3, 4, ENOENT, EBADF, EBADF, ENOENT, EBADF, EBADF, EBADF, EBADF, EBADF, 5]);
    ran.shows(&["3 is no map of this guest's", "end with their object"]);
}

#[test]
fn ten_thousand_objects_are_opened_and_closed_in_turn() {
    let fake = Fake::default();
    let ran = run(
        &fake,
        r#"(func (export "_start") (local $i i32) (local $o i64) (local $m i32) (local $wrong i32)
            (loop $again
                (local.set $o (call $object))
                (local.set $m (call $map (local.get $o) (i32.const 32)))
                (i32.store (i32.const 1024) (local.get $i))
                ;; A map of its own: no key of another's is there.
                (local.set $wrong (i32.add (local.get $wrong) (i32.or
                    (i32.ne (i32.const -2) (call $operate (local.get $m) (i32.const 4)
                        (i32.const 0) (i32.const 0) (i32.const 1040) (i64.const 0)))
                    (i32.or
                        (call $operate (local.get $m) (i32.const 2)
                            (i32.const 1024) (i32.const 1032) (i32.const 0) (i64.const 1))
                        (call $close (local.get $o))))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const 10000))))
            (call $say (local.get $wrong))
            (call $say64 (local.get $o)))"#,
    );
    ran.says(&[0, 10_000]);
    assert!(ran.reports.is_empty(), "{:?}", ran.reports);
    assert_eq!(fake.get().loaded, 10_000);
}

#[test]
fn there_is_an_end_to_objects_that_are_open_at_once() {
    let fake = Fake::default();
    let ran = run(
        &fake,
        r#"(func (export "_start") (local $count i32)
            (block $full (loop $again
                (br_if $full (i64.eqz (call $object)))
                (local.set $count (i32.add (local.get $count) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $count) (i32.const 100000)))))
            (call $say (local.get $count))
            (call $say (call $close (i64.const 7)))
            (call $say (i64.ne (call $object) (i64.const 0)))
            (call $say (i64.ne (call $object) (i64.const 0))))"#,
    );
    ran.says(&[256, 0, 1, 0]);
    ran.shows(&["too many objects open"]);
}

#[test]
fn an_error_that_comes_again_and_again_is_shown_a_few_times() {
    let ran = run(
        &Fake::default(),
        r#"(func (export "_start") (local $i i32)
            (loop $again
                (drop (call $close (i64.const 5)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (i32.const 1000)))))"#,
    );
    assert_eq!(ran.reports.len(), 9, "{:#?}", ran.reports);
    assert!(ran.reports[8].contains("not shown any more"), "{:#?}", ran.reports);
}

#[test]
fn an_iterator_is_read_on_to_its_end_and_then_anew() {
    let ran = run(
        &Fake::default(),
        r#"(func (export "_start") (local $o i64) (local $n i32)
            (local.set $o (call $object))
            (loop $again
                (local.set $n (call $iter_read (local.get $o) (i32.const 80) (i32.const 1024) (i32.const 5)))
                (call $bytes (i32.const 1024) (local.get $n))
                (br_if $again (i32.gt_s (local.get $n) (i32.const 0))))
            (local.set $n (call $iter_read (local.get $o) (i32.const 80) (i32.const 1024) (i32.const 5)))
            (call $bytes (i32.const 1024) (local.get $n))
            ;; One that names no place, or has no room, loses nothing.
            (call $say (call $iter_read (local.get $o) (i32.const 80) (i32.const 65535) (i32.const 2)))
            (call $say (call $iter_read (local.get $o) (i32.const 80) (i32.const 1024) (i32.const 0)))
            (local.set $n (call $iter_read (local.get $o) (i32.const 80) (i32.const 1024) (i32.const 5)))
            (call $bytes (i32.const 1024) (local.get $n))
            (call $say (call $iter_read (local.get $o) (i32.const 32) (i32.const 1024) (i32.const 5))))"#,
    );
    let mut expected = b"first line\nsecond line\nfirst".to_vec();
    expected.extend(EFAULT.to_le_bytes());
    expected.extend((-22i64).to_le_bytes());
    expected.extend(b" line");
    expected.extend(ENOENT.to_le_bytes());
    assert_eq!(ran.said, expected, "{}", String::from_utf8_lossy(&ran.said));
}
