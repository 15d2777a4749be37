//! `wasm_bpf_map_operate` in both forms: what it does, and pointers at the edge of memory and beyond.

use crate::{
    fake::{CPUS, Fake},
    guest::{run, run_wide},
};

const ENOENT: i64 = -2;
const EFAULT: i64 = -14;
const EINVAL: i64 = -22;
const EPERM: i64 = -1;

/// Opens a map of one object as global `$m`, and does one operation a call of `$do`, whose result is said.
fn narrow(name_at: u32, calls: &str) -> String {
    format!(
        r#"(global $m (mut i32) (i32.const 0))
        (func $do (param i32 i32 i32 i32 i64)
            (call $say (call $operate (global.get $m)
                (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4))))
        (func (export "_start")
            (global.set $m (call $map (call $object) (i32.const {name_at})))
            {calls})"#
    )
}

/// [`narrow`] for the form with pointers of 64 bits.
fn wide(calls: &str) -> String {
    narrow(32, calls).replace("(param i32 i32 i32 i32 i64)", "(param i32 i64 i64 i64 i64)")
}

#[test]
fn the_four_commands_and_their_flags() {
    let calls = r"
        (i32.store (i32.const 1024) (i32.const 7))
        (i64.store (i32.const 1032) (i64.const 41))
        (call $do (i32.const 1) (i32.const 1024) (i32.const 1040) (i32.const 0) (i64.const 0))
        (call $do (i32.const 2) (i32.const 1024) (i32.const 1032) (i32.const 0) (i64.const 1))
        (call $do (i32.const 2) (i32.const 1024) (i32.const 1032) (i32.const 0) (i64.const 1))
        (call $do (i32.const 1) (i32.const 1024) (i32.const 1040) (i32.const 0) (i64.const 0))
        (call $say64 (i64.load (i32.const 1040)))
        (call $do (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 1048) (i64.const 0))
        (call $say (i32.load (i32.const 1048)))
        (call $do (i32.const 3) (i32.const 1024) (i32.const 0) (i32.const 0) (i64.const 0))
        (call $do (i32.const 3) (i32.const 1024) (i32.const 0) (i32.const 0) (i64.const 0))
        (call $do (i32.const 0) (i32.const 1024) (i32.const 0) (i32.const 0) (i64.const 0))
        (call $do (i32.const 5) (i32.const 1024) (i32.const 0) (i32.const 0) (i64.const 0))
        (call $do (i32.const -1) (i32.const 1024) (i32.const 0) (i32.const 0) (i64.const 0))";
    let ran = run(&Fake::default(), &narrow(32, calls));
    ran.says(&[ENOENT, 0, -17, 0, 41, 0, 7, 0, ENOENT, EINVAL, EINVAL, EINVAL]);
    ran.shows(&["5 is no map command", "4 gets the next key"]);
}

#[test]
fn ranges_end_where_memory_ends() {
    // A key of 4 bytes and a value of 8: the last places that fit, and the first that do not.
    let calls = r"
        (call $do (i32.const 2) (i32.const 65532) (i32.const 65528) (i32.const 0) (i64.const 0))
        (call $do (i32.const 2) (i32.const 65533) (i32.const 65528) (i32.const 0) (i64.const 0))
        (call $do (i32.const 2) (i32.const 65532) (i32.const 65529) (i32.const 0) (i64.const 0))
        (call $do (i32.const 1) (i32.const 65532) (i32.const 65528) (i32.const 0) (i64.const 0))
        (call $do (i32.const 1) (i32.const 65532) (i32.const 65529) (i32.const 0) (i64.const 0))
        (call $do (i32.const 1) (i32.const -4) (i32.const 1024) (i32.const 0) (i64.const 0))
        (call $do (i32.const 1) (i32.const -1) (i32.const 1024) (i32.const 0) (i64.const 0))
        (call $do (i32.const 1) (i32.const 65532) (i32.const -8) (i32.const 0) (i64.const 0))
        (call $do (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 65532) (i64.const 0))
        (call $do (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 65533) (i64.const 0))
        (call $do (i32.const 4) (i32.const 65533) (i32.const 0) (i32.const 1024) (i64.const 0))
        (call $do (i32.const 3) (i32.const 65536) (i32.const 0) (i32.const 0) (i64.const 0))
        (call $do (i32.const 3) (i32.const 65532) (i32.const -1) (i32.const -1) (i64.const 0))";
    let ran = run(&Fake::default(), &narrow(32, calls));
    let f = EFAULT;
    ran.says(&[0, f, f, 0, f, f, f, f, 0, f, f, f, 0]);
    ran.shows(&["the key of map hash", "do not lie in the guest's memory"]);
    ran.shows(&["the value of map hash"]);
}

#[test]
fn pointers_of_64_bits_above_4_gib_do_not_wrap_around() {
    // 0x1_0000_0400 would be 1024 if its upper half were lost.
    let calls = r"
        (i32.store (i32.const 1024) (i32.const 7))
        (i64.store (i32.const 1032) (i64.const 41))
        (call $do (i32.const 2) (i64.const 1024) (i64.const 1032) (i64.const 0) (i64.const 0))
        (call $do (i32.const 2) (i64.const 0x100000400) (i64.const 1032) (i64.const 0) (i64.const 0))
        (call $do (i32.const 2) (i64.const 1024) (i64.const 0x100000408) (i64.const 0) (i64.const 0))
        (call $do (i32.const 1) (i64.const 1024) (i64.const 0x100000410) (i64.const 0) (i64.const 0))
        (call $do (i32.const 1) (i64.const 1024) (i64.const -8) (i64.const 0) (i64.const 0))
        (call $do (i32.const 1) (i64.const 0xffffffff00000400) (i64.const 1040) (i64.const 0) (i64.const 0))
        (call $do (i32.const 4) (i64.const 0x100000000) (i64.const 0) (i64.const 1048) (i64.const 0))
        (call $do (i32.const 4) (i64.const 0) (i64.const 0) (i64.const 0x100000418) (i64.const 0))
        (call $do (i32.const 3) (i64.const 0x100000400) (i64.const 0) (i64.const 0) (i64.const 0))
        (call $do (i32.const 1) (i64.const 1024) (i64.const 1040) (i64.const 0) (i64.const 0))
        (call $say64 (i64.load (i32.const 1040)))
        (call $do (i32.const 4) (i64.const 0) (i64.const 0) (i64.const 1048) (i64.const 0))
        (call $say (i32.load (i32.const 1048)))";
    let ran = run_wide(&Fake::default(), &wide(calls));
    let f = EFAULT;
    ran.says(&[0, f, f, f, f, f, f, f, f, 0, 41, 0, 7]);
}

#[test]
fn a_walk_visits_every_key_once_also_in_place() {
    // 300 keys; each walk counts them and adds them up. The second gives one place for the key and for the next.
    let body = r#"(func $walk (param $m i32) (param $next i32) (local $at i32) (local $n i32) (local $sum i32)
            (block $end (loop $again
                (br_if $end (call $operate (local.get $m) (i32.const 4)
                    (local.get $at) (i32.const 0) (local.get $next) (i64.const 0)))
                (i32.store (i32.const 1024) (i32.load (local.get $next)))
                (local.set $at (i32.const 1024))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 1024))))
                (br_if $again (i32.lt_u (local.get $n) (i32.const 1000)))))
            (call $say (local.get $n))
            (call $say (local.get $sum)))
        (func (export "_start") (local $m i32) (local $i i32)
            (local.set $m (call $map (call $object) (i32.const 32)))
            (loop $fill
                (i32.store (i32.const 1024) (i32.mul (local.get $i) (i32.const 3)))
                (drop (call $operate (local.get $m) (i32.const 2)
                    (i32.const 1024) (i32.const 1032) (i32.const 0) (i64.const 0)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $fill (i32.lt_u (local.get $i) (i32.const 300))))
            (call $walk (local.get $m) (i32.const 2048))
            (call $walk (local.get $m) (i32.const 1024)))"#;
    let sum = 3 * (0..300).sum::<i64>();
    run(&Fake::default(), body).says(&[300, sum, 300, sum]);
}

#[test]
fn a_per_cpu_value_is_as_long_as_all_processors_need() {
    let size = 8 * CPUS as u32;
    let fits = 65536 - size;
    let calls = format!(
        r"
        (i32.store (i32.const 1024) (i32.const 7))
        (i64.store (i32.const {last}) (i64.const 33))
        (call $do (i32.const 2) (i32.const 1024) (i32.const {fits}) (i32.const 0) (i64.const 0))
        (call $do (i32.const 2) (i32.const 1024) (i32.const {too_far}) (i32.const 0) (i64.const 0))
        (call $do (i32.const 1) (i32.const 1024) (i32.const {too_far}) (i32.const 0) (i64.const 0))
        (i64.store (i32.const {after}) (i64.const 55))
        (call $do (i32.const 1) (i32.const 1024) (i32.const 2048) (i32.const 0) (i64.const 0))
        (call $say64 (i64.load (i32.const 2048)))
        (call $say64 (i64.load (i32.const {third})))
        (call $say64 (i64.load (i32.const {after})))",
        last = 65536 - 8,
        too_far = fits + 1,
        after = 2048 + size,
        third = 2048 + size - 8,
    );
    run(&Fake::default(), &narrow(48, &calls)).says(&[0, EFAULT, EFAULT, 0, 0, 33, 55]);
}

#[test]
fn a_key_longer_than_a_programs_stack() {
    let calls = r"
        (i32.store (i32.const 1024) (i32.const 1))
        (i32.store (i32.const 1620) (i32.const 2))
        (i64.store (i32.const 4096) (i64.const 9))
        (call $do (i32.const 2) (i32.const 1024) (i32.const 4096) (i32.const 0) (i64.const 0))
        (call $do (i32.const 1) (i32.const 1024) (i32.const 1024) (i32.const 0) (i64.const 0))
        (call $say64 (i64.load (i32.const 1024)))
        (call $do (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 8192) (i64.const 0))
        (call $say (i32.load (i32.const 8788)))
        (call $do (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 64937) (i64.const 0))
        (call $do (i32.const 1) (i32.const 64937) (i32.const 1024) (i32.const 0) (i64.const 0))";
    run(&Fake::default(), &narrow(40, calls)).says(&[0, 0, 9, 0, 2, EFAULT, EFAULT]);
}

#[test]
fn no_descriptor_of_the_hosts_gets_into_a_map() {
    let calls = r"(call $do (i32.const 2) (i32.const 1024) (i32.const 1032) (i32.const 0) (i64.const 0))";
    let ran = run(&Fake::default(), &narrow(56, calls));
    ran.says(&[EPERM]);
    ran.shows(&["map events", "descriptors of the host's"]);
}
