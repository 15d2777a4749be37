//! What admission says that the engine runs is what the engine runs.

use skep_admit::{Feature, inspect};
use skep_sandbox::{Engine, Metering, Module};

/// A module that uses nothing but that feature, beside what it cannot be used without.
fn sample(feature: Feature) -> &'static str {
    match feature {
        Feature::Float => "(module (func (param f64)))",
        Feature::SignExtension => "(module (func (drop (i32.extend8_s (i32.const 1)))))",
        Feature::BulkMemory => "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))))",
        Feature::ReferenceTypes => "(module (table 1 funcref) (func (drop (table.size 0))))",
        Feature::MultiValue => "(module (func (result i32 i32) i32.const 1 i32.const 2))",
        Feature::Simd => "(module (func (drop (i32x4.splat (i32.const 1)))))",
        Feature::RelaxedSimd => {
            "(module (func (param v128) (drop (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))))"
        }
        Feature::TailCall => "(module (func $f (return_call $f)))",
        Feature::Threads => "(module (memory 1 1 shared))",
        Feature::Memory64 => "(module (memory i64 1))",
        Feature::MultiMemory => "(module (memory 1) (memory 1))",
        Feature::CustomPageSizes => "(module (memory 1 (pagesize 1)))",
        Feature::Exceptions => "(module (tag $t) (func (throw $t)))",
        Feature::Gc => "(module (type $s (struct)) (func (drop (struct.new $s))))",
        Feature::StackSwitching => {
            "(module (type $f (func)) (type $c (cont $f)) (func $g) (elem declare func $g)
                (func (drop (cont.new $c (ref.func $g)))))"
        }
        Feature::WideArithmetic => {
            "(module (func (param i64 i64) (result i64 i64) (i64.mul_wide_u (local.get 0) (local.get 1))))"
        }
        Feature::MemoryControl => "(module (memory 1) (func (memory.discard (i32.const 0) (i32.const 0))))",
        Feature::CompactImports => r#"(module (import "m" (item "a" (func)) (item "b" (func))))"#,
        Feature::MemoryGrow => "(module (memory 1) (func (drop (memory.grow (i32.const 1)))))",
        Feature::IndirectCall => {
            "(module (table 1 funcref) (type $t (func)) (func (call_indirect (type $t) (i32.const 0))))"
        }
    }
}

#[test]
fn the_engine_runs_what_admission_says_it_does() {
    for metering in [Metering::Epoch, Metering::Fuel, Metering::FuelAlone] {
        let engine = Engine::new(metering).unwrap();
        for feature in Feature::ALL {
            let wasm = wat::parse_str(sample(*feature)).unwrap_or_else(|error| panic!("{feature}: {error}"));
            assert!(inspect(&wasm).features.contains(feature), "{feature}: {:?}", inspect(&wasm));
            let loaded = Module::load(&engine, &wasm, None, |_| Ok(()));
            assert_eq!(loaded.is_ok(), feature.runs(), "{feature}: {:?}", loaded.err());
        }
    }
}
