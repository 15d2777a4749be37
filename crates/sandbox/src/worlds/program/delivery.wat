;; Hands the records of a ring buffer to a guest's callback, without leaving WebAssembly between two of them.
;; delivery.wasm beside this file is what it assembles to; a test compares.
(module
  (type $callback (func (param $ctx i32) (param $data i32) (param $size i32) (result i32)))
  (import "guest" "memory" (memory $guest 0))
  ;; For a callback that is a function of the host's, as those of WASI: it works on the memory of its caller.
  (export "memory" (memory $guest))
  ;; What mmap(2) shows of the ring buffer: a page with the consumer's position, a page with the producer's, and the data
  ;; twice over, so that a record that wraps is in one piece.
  (memory $ring (export "ring") 1)
  (global $callback (export "callback") (mut (ref null $callback)) (ref.null $callback))

  ;; What stays the same while `deliver` runs. A local that lives across the call is stored and loaded in every round of the
  ;; loop, for there are more of them than registers; a global is loaded where it is used, once.
  (global $ctx (mut i32) (i32.const 0))
  (global $data (mut i32) (i32.const 0))
  (global $max (mut i32) (i32.const 0))
  ;; $data less 32: with a length added, where the last 32 bytes of a record go.
  (global $tail (mut i32) (i32.const 0))
  ;; How many lengths, from 32 on, `deliver` copies itself.
  (global $lengths (mut i32) (i32.const 0))
  ;; Where the last record ends, and the position of any place.
  (global $end (mut i32) (i32.const 0))
  (global $position (mut i64) (i64.const 0))

  ;; Overlapping ends spare branches: what lies twice in a range is the same both times.

  ;; Copies $len bytes from the ring to the guest.
  (func $copy (param $to i32) (param $from i32) (param $len i32)
    (local $to_end i32) (local $end i32)
    (local.set $to_end (i32.add (local.get $to) (local.get $len)))
    (local.set $end (i32.add (local.get $from) (local.get $len)))
    (if (i32.ge_u (local.get $len) (i32.const 32)) (then
      (loop $more
        (v128.store $guest align=1 (local.get $to) (v128.load $ring align=1 (local.get $from)))
        (v128.store $guest offset=16 align=1 (local.get $to) (v128.load $ring offset=16 align=1 (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 32)))
        (local.set $from (i32.add (local.get $from) (i32.const 32)))
        (br_if $more (i32.le_u (i32.add (local.get $from) (i32.const 32)) (local.get $end))))
      (v128.store $guest align=1 (i32.sub (local.get $to_end) (i32.const 32))
        (v128.load $ring align=1 (i32.sub (local.get $end) (i32.const 32))))
      (v128.store $guest align=1 (i32.sub (local.get $to_end) (i32.const 16))
        (v128.load $ring align=1 (i32.sub (local.get $end) (i32.const 16))))
      (return)))
    (if (i32.ge_u (local.get $len) (i32.const 16)) (then
      (v128.store $guest align=1 (local.get $to) (v128.load $ring align=1 (local.get $from)))
      (v128.store $guest align=1 (i32.sub (local.get $to_end) (i32.const 16))
        (v128.load $ring align=1 (i32.sub (local.get $end) (i32.const 16))))
      (return)))
    (if (i32.ge_u (local.get $len) (i32.const 8)) (then
      (i64.store $guest align=1 (local.get $to) (i64.load $ring align=1 (local.get $from)))
      (i64.store $guest align=1 (i32.sub (local.get $to_end) (i32.const 8))
        (i64.load $ring align=1 (i32.sub (local.get $end) (i32.const 8))))
      (return)))
    (loop $byte
      (if (i32.lt_u (local.get $to) (local.get $to_end)) (then
        (i32.store8 $guest (local.get $to) (i32.load8_u $ring (local.get $from)))
        (local.set $to (i32.add (local.get $to) (i32.const 1)))
        (local.set $from (i32.add (local.get $from) (i32.const 1)))
        (br $byte)))))

  ;; A record's place is 24 bytes before its header, so that the last 32 bytes of one begin at its place and its length.

  ;; Bytes that a record takes in the ring, with its header.
  (func $room (param $header i32) (result i32)
    (i32.and
      (i32.add (i32.and (local.get $header) (i32.const 0x3fffffff)) (i32.const 15))
      (i32.const -8)))

  ;; Delivers the submitted record at $at, whatever its length. The callback's result; 0 for a discarded one, which nobody
  ;; sees.
  (func $deliver_other (param $at i32) (param $header i32) (param $callback (ref $callback)) (result i32)
    (local $len i32)
    (if (i32.eqz (i32.and (local.get $header) (i32.const 0x40000000))) (then
      (local.set $len
        (select (local.get $header) (global.get $max) (i32.lt_u (local.get $header) (global.get $max))))
      (call $copy (global.get $data) (i32.add (local.get $at) (i32.const 32)) (local.get $len))))
    ;; From here on the kernel may give the space out again.
    (i64.store $ring (i32.const 0) (i64.add (global.get $position)
      (i64.extend_i32_u (i32.add (local.get $at) (call $room (local.get $header))))))
    (if (i32.and (local.get $header) (i32.const 0x40000000)) (then (return (i32.const 0))))
    (call_ref $callback (global.get $ctx) (global.get $data) (local.get $len) (local.get $callback)))

  ;; Delivers the records from position $from to $to, up to the first that is not submitted; `$mask` is the size of the data
  ;; less 1. Each is copied to the guest's $data, at most $max bytes. 0, or the first negative result of the callback, after
  ;; whose record it stops. The consumer's position is past a record before its callback runs.
  (func (export "deliver")
    (param $from i64) (param $to i64) (param $mask i32) (param $ctx i32) (param $data i32) (param $max i32) (result i32)
    (local $at i32) (local $len i32) (local $result i32) (local $callback (ref $callback))
    (global.set $ctx (local.get $ctx))
    (global.set $data (local.get $data))
    (global.set $max (local.get $max))
    (global.set $tail (i32.sub (local.get $data) (i32.const 32)))
    (global.set $lengths (select
      (i32.const 33)
      (select (i32.sub (local.get $max) (i32.const 31)) (i32.const 0) (i32.ge_u (local.get $max) (i32.const 32)))
      (i32.ge_u (local.get $max) (i32.const 64))))
    (local.set $at (i32.add (i32.and (i32.wrap_i64 (local.get $from)) (local.get $mask)) (i32.const 8168)))
    (global.set $position (i64.sub (local.get $from) (i64.extend_i32_u (local.get $at))))
    (global.set $end (i32.add (local.get $at) (i32.wrap_i64 (i64.sub (local.get $to) (local.get $from)))))
    (local.set $callback (ref.as_non_null (global.get $callback)))
    ;; A record of 32 to 64 bytes, as most are, is copied without a call or a loop. Two records a round: each round of a loop
    ;; looks at the epoch, and so does the callback.
    (loop $next
      (if (i32.ge_u (local.get $at) (global.get $end)) (then (return (i32.const 0))))
      (local.set $len (i32.load $ring offset=24 (local.get $at)))
      (if (i32.ge_u (i32.sub (local.get $len) (i32.const 32)) (global.get $lengths)) (then
        ;; Reserved, not submitted yet.
        (if (i32.lt_s (local.get $len) (i32.const 0)) (then (return (i32.const 0))))
        (local.set $result (call $deliver_other (local.get $at) (local.get $len) (local.get $callback)))
        (local.set $at (i32.add (local.get $at) (call $room (local.get $len))))
        (br_if $next (i32.ge_s (local.get $result) (i32.const 0)))
        (return (local.get $result))))
      (v128.store $guest align=1 (global.get $data) (v128.load $ring offset=32 align=1 (local.get $at)))
      (v128.store $guest offset=16 align=1 (global.get $data) (v128.load $ring offset=48 align=1 (local.get $at)))
      (v128.store $guest align=1 (i32.add (global.get $tail) (local.get $len))
        (v128.load $ring align=1 (i32.add (local.get $at) (local.get $len))))
      (v128.store $guest offset=16 align=1 (i32.add (global.get $tail) (local.get $len))
        (v128.load $ring offset=16 align=1 (i32.add (local.get $at) (local.get $len))))
      (local.set $at (i32.add (local.get $at) (i32.and (i32.add (local.get $len) (i32.const 15)) (i32.const -8))))
      (i64.store $ring (i32.const 0) (i64.add (global.get $position) (i64.extend_i32_u (local.get $at))))
      (local.set $result (call_ref $callback
        (global.get $ctx) (global.get $data) (local.get $len) (local.get $callback)))
      (if (i32.lt_s (local.get $result) (i32.const 0)) (then (return (local.get $result))))

      (if (i32.ge_u (local.get $at) (global.get $end)) (then (return (i32.const 0))))
      (local.set $len (i32.load $ring offset=24 (local.get $at)))
      (if (i32.ge_u (i32.sub (local.get $len) (i32.const 32)) (global.get $lengths)) (then
        ;; Reserved, not submitted yet.
        (if (i32.lt_s (local.get $len) (i32.const 0)) (then (return (i32.const 0))))
        (local.set $result (call $deliver_other (local.get $at) (local.get $len) (local.get $callback)))
        (local.set $at (i32.add (local.get $at) (call $room (local.get $len))))
        (br_if $next (i32.ge_s (local.get $result) (i32.const 0)))
        (return (local.get $result))))
      (v128.store $guest align=1 (global.get $data) (v128.load $ring offset=32 align=1 (local.get $at)))
      (v128.store $guest offset=16 align=1 (global.get $data) (v128.load $ring offset=48 align=1 (local.get $at)))
      (v128.store $guest align=1 (i32.add (global.get $tail) (local.get $len))
        (v128.load $ring align=1 (i32.add (local.get $at) (local.get $len))))
      (v128.store $guest offset=16 align=1 (i32.add (global.get $tail) (local.get $len))
        (v128.load $ring offset=16 align=1 (i32.add (local.get $at) (local.get $len))))
      (local.set $at (i32.add (local.get $at) (i32.and (i32.add (local.get $len) (i32.const 15)) (i32.const -8))))
      (i64.store $ring (i32.const 0) (i64.add (global.get $position) (i64.extend_i32_u (local.get $at))))
      (local.set $result (call_ref $callback
        (global.get $ctx) (global.get $data) (local.get $len) (local.get $callback)))
      (br_if $next (i32.ge_s (local.get $result) (i32.const 0))))
    (local.get $result)))
