//! The text-format name of the WebAssembly instruction at an offset, with its immediate.

use wasmparser::{BinaryReader, BrTable, MemArg, Operator, OperatorsReader};

macro_rules! visit_names {
    ($( @$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*) )*) => {
        fn visit_name(op: &Operator<'_>) -> &'static str {
            match op {
                $( Operator::$op { .. } => stringify!($visit), )*
                _ => "visit_unknown",
            }
        }
    };
}
wasmparser::for_each_operator!(visit_names);

/// Prefixes after which the text format has a dot.
const NAMESPACES: [&str; 13] = [
    "i32_", "i64_", "f32_", "f64_", "v128_", "memory_", "table_", "local_", "global_", "ref_", "data_", "elem_",
    "atomic_",
];

/// `i32.load offset=4`; empty where no instruction can be read.
pub(crate) fn at(wasm: &[u8], offset: u32) -> String {
    let Some(bytes) = wasm.get(offset as usize..).filter(|_| offset != 0) else { return String::new() };
    let mut reader = OperatorsReader::new(BinaryReader::new(bytes, u64::from(offset)));
    reader.read().map(|op| text(&op)).unwrap_or_default()
}

fn text(op: &Operator<'_>) -> String {
    let name = visit_name(op).trim_start_matches("visit_");
    let name = match NAMESPACES.iter().find_map(|space| Some((space, name.strip_prefix(space)?))) {
        Some((space, rest)) => format!("{}.{rest}", space.trim_end_matches('_')),
        None => name.replace("typed_select", "select"),
    };
    let immediate = immediate(op);
    if immediate.is_empty() { name } else { format!("{name} {immediate}") }
}

fn immediate(op: &Operator<'_>) -> String {
    use Operator as O;
    match op {
        O::LocalGet { local_index: n } | O::LocalSet { local_index: n } | O::LocalTee { local_index: n } => {
            n.to_string()
        }
        O::GlobalGet { global_index: n } | O::GlobalSet { global_index: n } => n.to_string(),
        O::Br { relative_depth: n } | O::BrIf { relative_depth: n } => n.to_string(),
        O::Call { function_index: n } | O::RefFunc { function_index: n } => n.to_string(),
        O::CallIndirect { type_index, .. } => format!("(type {type_index})"),
        O::BrTable { targets } => table(targets),
        O::I32Const { value } => value.to_string(),
        O::I64Const { value } => value.to_string(),
        O::I32Load { memarg }
        | O::I64Load { memarg }
        | O::I32Load8S { memarg }
        | O::I32Load8U { memarg }
        | O::I32Load16S { memarg }
        | O::I32Load16U { memarg }
        | O::I64Load8S { memarg }
        | O::I64Load8U { memarg }
        | O::I64Load16S { memarg }
        | O::I64Load16U { memarg }
        | O::I64Load32S { memarg }
        | O::I64Load32U { memarg }
        | O::I32Store { memarg }
        | O::I64Store { memarg }
        | O::I32Store8 { memarg }
        | O::I32Store16 { memarg }
        | O::I64Store8 { memarg }
        | O::I64Store16 { memarg }
        | O::I64Store32 { memarg } => offset(memarg),
        _ => String::new(),
    }
}

fn offset(memarg: &MemArg) -> String {
    if memarg.offset == 0 { String::new() } else { format!("offset={}", memarg.offset) }
}

/// The first few targets: a table may have thousands.
fn table(targets: &BrTable<'_>) -> String {
    let mut depths: Vec<String> = targets.targets().take(8).map_while(Result::ok).map(|n| n.to_string()).collect();
    if targets.len() > 8 {
        depths.push("…".to_owned());
    }
    depths.push(targets.default().to_string());
    depths.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_text_format() {
        // A byte comes first: offset 0 is no instruction's.
        assert_eq!(at(&[0, 0x2d, 0, 12], 1), "i32.load8_u offset=12");
        assert_eq!(at(&[0, 0x22, 3], 1), "local.tee 3");
        assert_eq!(at(&[0, 0xad], 1), "i64.extend_i32_u");
        assert_eq!(at(&[0, 0x0d, 1], 1), "br_if 1");
        assert_eq!(at(&[0, 0x0e, 2, 5, 0, 1], 1), "br_table 5 0 1");
        assert_eq!(at(&[0, 0xfc, 0x0a, 0, 0], 1), "memory.copy");
        assert_eq!(at(&[], 0), "");
        assert_eq!(at(&[0x6a], 9), "");
        assert_eq!(at(&[0, 0x22], 1), "");
    }
}
