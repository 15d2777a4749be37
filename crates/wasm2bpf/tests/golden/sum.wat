(module
  (memory 1)
  (func (export "sum") (param $at i32) (param $count i32) (result i32) (local $sum i32)
    (block $done
      (br_if $done (i32.eqz (local.get $count)))
      (loop $next
        (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
        (i32.store offset=4 (local.get $at) (local.get $sum))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
    (local.get $sum)))
