(module
  (type $unary (func (param i32) (result i32)))
  (table 3 funcref)
  (elem (i32.const 0) $double $negate)
  (global $calls (mut i64) (i64.const 0))
  (func $double (type $unary) (i32.shl (local.get 0) (i32.const 1)))
  (func $negate (type $unary) (i32.sub (i32.const 0) (local.get 0)))
  (func (export "apply") (param $which i32) (param $x i32) (result i32)
    (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
    (i32.div_s
      (call_indirect (type $unary) (local.get $x) (local.get $which))
      (local.get $x))))
