(module
  (func (export "divide") (param i32 i32) (result i32)
    (i32.rem_s (i32.div_s (local.get 0) (local.get 1)) (i32.const 7)))
  (func (export "bits") (param i64) (result i64)
    (i64.add (i64.clz (local.get 0)) (i64.extend8_s (i64.rotl (local.get 0) (i64.const 9))))))
