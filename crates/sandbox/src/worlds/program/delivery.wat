;; Hands the records of a ring buffer to a guest's callback, without leaving WebAssembly between two of them.
;; delivery.wasm beside this file is what it assembles to; a test compares.
(module
  (type $callback (func (param $ctx i32) (param $data i32) (param $size i32) (result i32)))
  (import "guest" "memory" (memory $guest 0))
  ;; What mmap(2) shows of the ring buffer: a page with the consumer's position, a page with the producer's, and the data
  ;; twice over, so that a record that wraps is in one piece.
  (memory $ring (export "ring") 1)
  (table $callback (export "callback") 1 1 funcref)

  ;; Delivers the records from position $at to $end, all of them submitted; `$mask` is the size of the data less 1. Each is
  ;; copied to the guest's $data, at most $max bytes. 0, or the first negative result of the callback, after whose record it
  ;; stops. The consumer's position is past a record before its callback runs.
  (func (export "deliver")
    (param $at i64) (param $end i64) (param $mask i32) (param $ctx i32) (param $data i32) (param $max i32) (result i32)
    (local $from i32) (local $to i32) (local $len i32) (local $left i32) (local $header i32) (local $result i32)
    (loop $next
      (if (i64.ge_u (local.get $at) (local.get $end)) (then (return (i32.const 0))))
      (local.set $from (i32.add (i32.and (i32.wrap_i64 (local.get $at)) (local.get $mask)) (i32.const 8200)))
      (local.set $header (i32.load $ring offset=0 (i32.sub (local.get $from) (i32.const 8))))
      (local.set $len (i32.and (local.get $header) (i32.const 0x3fffffff)))
      (local.set $at (i64.add (local.get $at)
        (i64.extend_i32_u (i32.and (i32.add (local.get $len) (i32.const 15)) (i32.const -8)))))
      ;; Discarded: nobody sees it.
      (if (i32.and (local.get $header) (i32.const 0x40000000)) (then
        (i64.store $ring (i32.const 0) (local.get $at))
        (br $next)))
      (if (i32.gt_u (local.get $len) (local.get $max)) (then (local.set $len (local.get $max))))
      (local.set $to (local.get $data))
      (local.set $left (local.get $len))
      (local.set $left (i32.shr_u (local.get $len) (i32.const 5)))
      (if (local.get $left) (then
        (loop $copy
          (v128.store $guest align=1 (local.get $to) (v128.load $ring align=1 (local.get $from)))
          (v128.store $guest offset=16 align=1 (local.get $to) (v128.load $ring offset=16 align=1 (local.get $from)))
          (local.set $to (i32.add (local.get $to) (i32.const 32)))
          (local.set $from (i32.add (local.get $from) (i32.const 32)))
          (br_if $copy (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))))
      (if (i32.and (local.get $len) (i32.const 16)) (then
        (v128.store $guest align=1 (local.get $to) (v128.load $ring align=1 (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 16)))
        (local.set $from (i32.add (local.get $from) (i32.const 16)))))
      (if (i32.and (local.get $len) (i32.const 8)) (then
        (i64.store $guest align=1 (local.get $to) (i64.load $ring align=1 (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 8)))
        (local.set $from (i32.add (local.get $from) (i32.const 8)))))
      (if (i32.and (local.get $len) (i32.const 4)) (then
        (i32.store $guest align=1 (local.get $to) (i32.load $ring align=1 (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 4)))
        (local.set $from (i32.add (local.get $from) (i32.const 4)))))
      (if (i32.and (local.get $len) (i32.const 2)) (then
        (i32.store16 $guest align=1 (local.get $to) (i32.load16_u $ring align=1 (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 2)))
        (local.set $from (i32.add (local.get $from) (i32.const 2)))))
      (if (i32.and (local.get $len) (i32.const 1)) (then
        (i32.store8 $guest align=1 (local.get $to) (i32.load8_u $ring align=1 (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))))
      (i64.store $ring (i32.const 0) (local.get $at))
      (local.set $result (call_indirect $callback (type $callback)
        (local.get $ctx) (local.get $data) (local.get $len) (i32.const 0)))
      (br_if $next (i32.ge_s (local.get $result) (i32.const 0))))
    (local.get $result)))
