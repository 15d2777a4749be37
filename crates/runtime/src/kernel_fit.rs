//! Whether a module can be placed in the kernel: the verdict of the compiler to eBPF, as data of the inspection.

use std::collections::BTreeMap;

use skep_admit::{Feature, Inspection, Obstacle};
use wasm2bpf::{Options, Reason, Refusal};

/// Bytes of function bodies that the compiler is asked about. The kernel takes a million instructions of a program at most,
/// which is less; and there are modules on which a compiler spends a thousand times their size.
const MOST_CODE: u64 = 1 << 20;

/// Asks the compiler about every function of the module and puts what it says into `module.kernel`, in place of the first
/// look that inspection has taken. Nothing is loaded, and no import is bound to anything. A module that could not be read
/// stays as it is, and one with more than 1 MiB of code has that against it, beside what a first look has shown.
pub fn judge(module: &mut Inspection, bytes: &[u8]) {
    if module.unreadable() {
        return;
    }
    if module.code_size > MOST_CODE {
        let text = format!("{} bytes of code, {MOST_CODE} are looked at: the kernel takes less", module.code_size);
        let limit = Obstacle { kind: "limit".to_owned(), item: String::new(), text };
        return module.kernel.obstacles.insert(0, limit);
    }
    let options = Options { partial: true, ..Options::default() };
    let refused = match wasm2bpf::compile(bytes, &options) {
        Ok(object) => object.report.refused,
        Err(refusal) => vec![refusal],
    };
    let mut found = obstacles(&refused);
    // What the compiler has switched off reads to it as a broken module: the feature says more.
    let off = |obstacle: &Obstacle| Feature::from_name(&obstacle.kind).is_some_and(|feature| !feature.runs());
    let features: Vec<Obstacle> = module.kernel.obstacles.iter().filter(|obstacle| off(obstacle)).cloned().collect();
    if !features.is_empty() && matches!(refused.as_slice(), [Refusal { reason: Reason::Invalid(_), .. }]) {
        found = features;
    }
    module.set_kernel_obstacles(found);
}

/// One obstacle for each thing that stands in the way, however many functions it stands in.
fn obstacles(refused: &[Refusal]) -> Vec<Obstacle> {
    let mut by_reason: BTreeMap<(&'static str, String), Vec<&Refusal>> = BTreeMap::new();
    for refusal in refused {
        if let Some(reason) = reason(refusal) {
            by_reason.entry(reason).or_default().push(refusal);
        }
    }
    by_reason
        .into_iter()
        .map(|((kind, item), refusals)| {
            let more = match refusals.len() - 1 {
                0 => String::new(),
                1 => " (and in one more function)".to_owned(),
                more => format!(" (and in {more} more functions)"),
            };
            Obstacle { kind: kind.to_owned(), item, text: format!("{}{more}", refusals[0]) }
        })
        .collect()
}

/// The obstacle's kind and what it is about. A function that only calls a refused one is no obstacle of its own.
fn reason(refusal: &Refusal) -> Option<(&'static str, String)> {
    let function = || match (&refusal.name, refusal.function) {
        (Some(name), _) => name.clone(),
        (None, Some(index)) => format!("function {index}"),
        (None, None) => String::new(),
    };
    Some(match &refusal.reason {
        Reason::Callee(_) => return None,
        Reason::Invalid(_) => ("invalid", String::new()),
        Reason::Float(_) => ("float", String::new()),
        Reason::Feature(what) => ("feature", what.clone()),
        Reason::UnboundImport(module, name) => ("import", format!("{module}.{name}")),
        Reason::Limit(_) => ("limit", function()),
        _ => ("other", function()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_admit::inspect;
    use std::path::Path;

    fn judged(bytes: &[u8]) -> Vec<(String, String, String)> {
        let mut module = inspect(bytes);
        judge(&mut module, bytes);
        assert!(module.kernel.judged);
        module.kernel.obstacles.into_iter().map(|o| (o.kind, o.item, o.text)).collect()
    }

    fn text(module: &str) -> Vec<(String, String, String)> {
        judged(&wat::parse_str(module).unwrap())
    }

    fn sample(path: &str) -> Vec<u8> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(path)).unwrap()
    }

    #[test]
    fn what_can_be_placed_has_nothing_against_it() {
        for path in ["filters/slow.wasm", "slow-syscalls-c/slow-syscalls-c.wasm"] {
            assert_eq!(judged(&sample(path)), [], "{path}");
        }
    }

    #[test]
    fn a_recursive_function_can_be_placed() {
        // The compiler gives it a stack of its own in the arena.
        let recursive = "(module (func $f (export \"f\") (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1))
                (else (i32.mul (local.get 0) (call $f (i32.sub (local.get 0) (i32.const 1))))))))";
        assert_eq!(text(recursive), []);
    }

    #[test]
    fn floats_are_named_with_the_function_and_counted_over_the_rest() {
        let found = text(
            "(module
                (func (export \"scale\") (param f64) (result f64) (f64.mul (local.get 0) (f64.const 2)))
                (func (export \"half\") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
                (func (export \"same\") (param i32) (result i32) (local.get 0)))",
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("float", ""));
        assert!(found[0].2.contains("one more function"), "{found:?}");
    }

    #[test]
    fn an_import_that_is_called_is_named_and_one_that_is_not_is_none() {
        let found = text(
            "(module (import \"env\" \"log\" (func $log (param i32 i32))) (import \"env\" \"other\" (func))
                (func $say (call $log (i32.const 0) (i32.const 0)))
                (func (export \"filter\") (param i32 i32) (result i32) (call $say) (i32.const 1)))",
        );
        let named: Vec<_> = found.iter().map(|(kind, item, _)| (kind.as_str(), item.as_str())).collect();
        assert_eq!(named, [("import", "env.log")], "{found:?}");
    }

    #[test]
    fn a_program_is_kept_out_by_what_it_calls() {
        let found = judged(&sample("bootstrap/bootstrap.wasm"));
        assert!(found.iter().any(|(kind, item, _)| kind == "import" && item.starts_with("wasm_bpf.")), "{found:?}");
    }

    #[test]
    fn a_feature_that_is_off_is_named_and_does_not_make_the_module_invalid() {
        let found =
            text("(module (memory 1 2 shared) (func (export \"f\") (result i32) (i32.atomic.load (i32.const 0))))");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0.as_str(), found[0].1.as_str()), ("threads", ""));
    }

    #[test]
    fn of_more_code_than_the_kernel_takes_a_first_look_stands() {
        let function = |count: usize| format!("(func (param f32) {})", "nop ".repeat(count));
        let text = |count: usize| wat::parse_str(format!("(module {0} {0})", function(count))).unwrap();
        let mut module = inspect(&text(1 << 19));
        judge(&mut module, &text(1 << 19));
        assert!(!module.kernel.judged);
        let kinds: Vec<&str> = module.kernel.obstacles.iter().map(|obstacle| obstacle.kind.as_str()).collect();
        assert_eq!(kinds, ["limit", "float"]);
        assert!(judged(&text(1 << 18)).iter().all(|(kind, ..)| kind == "float"));
    }

    #[test]
    fn a_body_that_does_not_validate_is_told() {
        // (func (result i32)) with an empty body: inspection reads it, a compiler cannot.
        let bytes = [
            b"\0asm\x01\0\0\0".as_slice(),
            b"\x01\x05\x01\x60\0\x01\x7f",
            b"\x03\x02\x01\0",
            b"\x0a\x04\x01\x02\0\x0b",
        ];
        let found = judged(&bytes.concat());
        assert_eq!(found[0].0, "invalid", "{found:?}");
    }
}
