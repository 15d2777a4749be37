//! What people see of an event: names in place of numbers, and only the fields that its kind fills.

use std::collections::BTreeSet;

use skep_error::Result;
use skep_event::{
    Batch, Column, Field, FieldKind, Schema, Value,
    context::{I386, LockKind},
};
use skep_flow::{Operator, Step, operators::Format};

use crate::syscalls;

/// A column that shows another field in a form for people.
struct Form {
    from: &'static str,
    to: &'static str,
    rule: fn(&Value<'_>) -> Option<String>,
}

/// Columns with names, by collector: conditions and orders may speak of them, too.
const NAMES: [(&str, Form); 3] = [
    ("syscall", Form { from: "syscall_id", to: "syscall", rule: syscall_name }),
    ("lock", Form { from: "lock_kind", to: "lock", rule: lock_kind }),
    ("lock", Form { from: "lock_addr", to: "address", rule: hex }),
];

/// What tables show in place of numbers.
const TABLE: [(&str, Form); 6] = [
    ("syscall", Form { from: "duration_ns", to: "duration", rule: duration }),
    ("lock", Form { from: "wait_ns", to: "wait", rule: duration }),
    ("offcpu", Form { from: "wait_ns", to: "wait", rule: duration }),
    ("syscall", Form { from: "unfinished", to: "state", rule: state }),
    ("lock", Form { from: "unfinished", to: "state", rule: state }),
    ("offcpu", Form { from: "unfinished", to: "state", rule: state }),
];

fn column(form: &Form) -> Box<dyn Operator> {
    Box::new(Format::new(form.from, form.to, false, Box::new(form.rule)))
}

/// The operators that add those of the wanted columns with names that are not `added` yet.
pub(super) fn named_columns<'a>(
    collector: &str,
    wanted: impl Iterator<Item = &'a str>,
    added: &mut BTreeSet<&'static str>,
) -> Vec<Box<dyn Operator>> {
    let named = |name| NAMES.iter().find(|(of, form)| *of == collector && form.to == name);
    wanted.filter_map(named).filter(|(_, form)| added.insert(form.to)).map(|(_, form)| column(form)).collect()
}

/// The operators that add the columns of that collector's events, but for those that are `added`, and hide the rest. Those of tables
/// are there `with_tables`; other outputs beside a table do not see them.
pub(super) fn operators(
    collector: &str,
    with_tables: bool,
    arguments: bool,
    fields: Option<&[String]>,
    added: &BTreeSet<&'static str>,
) -> Vec<Box<dyn Operator>> {
    let table: &[_] = if with_tables { &TABLE } else { &[] };
    let forms = NAMES.iter().chain(table).filter(|(of, form)| *of == collector && !added.contains(form.to));
    let mut operators: Vec<_> = forms.map(|(_, form)| column(form)).collect();
    if matches!(collector, "syscall" | "lock") {
        operators.push(Box::new(Returned::default()));
    }
    operators.push(Box::new(match fields {
        Some(fields) => Show { in_rows: fields.to_vec(), in_tables: None, strict: true },
        None => {
            let names = |for_people| shown(collector, for_people, arguments).into_iter().map(str::to_owned).collect();
            Show { in_rows: names(false), in_tables: Some(names(true)), strict: false }
        }
    }));
    operators
}

/// The fields of that collector's events that say something.
fn shown(collector: &str, for_people: bool, arguments: bool) -> Vec<&'static str> {
    let mut shown = vec!["pid", "tid", "comm"];
    if !for_people {
        shown.extend(["timestamp_ns", "cpu_id", "count", "user_stack_id", "kernel_stack_id"]);
    }
    let (of_both, of_tables, of_rows): (&[_], &[_], &[_]) = match collector {
        "syscall" => {
            (&["syscall", "return_value"], &["duration", "state"], &["syscall_id", "duration_ns", "unfinished"])
        }
        "lock" => (&["lock", "address"], &["wait", "state"], &["wait_ns", "return_value", "lock_flags", "unfinished"]),
        "offcpu" => (&[], &["wait", "state"], &["wait_ns", "unfinished"]),
        _ => (&[], &[], &[]),
    };
    shown.extend(of_both);
    shown.extend(if for_people { of_tables } else { of_rows });
    if arguments {
        shown.extend(["arg0", "arg1", "arg2", "arg3", "arg4", "arg5"]);
    }
    shown
}

/// Numbers of i386 are far below.
const I386_MOST: u64 = 0xffff;

fn syscall_name(value: &Value<'_>) -> Option<String> {
    let number = value.as_u64()?;
    match number.checked_sub(I386.into()) {
        None => Some(syscalls::name(number).map_or_else(|| format!("syscall_{number}"), str::to_owned)),
        Some(number) if number <= I386_MOST => Some(format!("i386:{number}")),
        // The same bit is the sign of a number that no architecture has, such as -1.
        Some(_) => Some(format!("syscall_{}", number as u32 as i32)),
    }
}

/// What has ended needs no word.
fn state(value: &Value<'_>) -> Option<String> {
    (value.as_u64()? != 0).then(|| "unfinished".to_owned())
}

fn lock_kind(value: &Value<'_>) -> Option<String> {
    Some(LockKind::from_raw(value.as_u64()?)?.name().to_owned())
}

fn hex(value: &Value<'_>) -> Option<String> {
    Some(format!("{:#x}", value.as_u64()?))
}

fn duration(value: &Value<'_>) -> Option<String> {
    Some(skep_sinks::duration_text(value.as_u64()?))
}

/// Takes away the result of what has not returned: none is not 0.
#[derive(Default)]
struct Returned {
    bound: Option<(Field, Field, usize)>,
}

impl Operator for Returned {
    fn name(&self) -> &str {
        "returned"
    }

    fn bind(&mut self, schema: &mut Schema) -> Result<()> {
        let field = |name: &str| schema.find(name).map(|index| schema.fields()[index].clone());
        if let (Some(result), Some(unfinished)) = (field("return_value"), field("unfinished")) {
            self.bound = Some((result, unfinished, schema.columns()));
            schema.add_column("return_value", FieldKind::Int64);
        }
        Ok(())
    }

    fn process(&mut self, _: &Schema, batch: &mut Batch<'_>) -> Result<Step> {
        let Some((result, unfinished, column)) = &self.bound else { return Ok(Step::Next) };
        let is_over = |index: &usize| batch.value(*index, unfinished) == Value::Bool(false);
        let results = (0..batch.len())
            .map(|index| Some(index).filter(is_over).and_then(|index| batch.value(index, result).as_i64()));
        let results = results.collect();
        batch.set_column(*column, Column::SomeInt(results))?;
        Ok(Step::Next)
    }
}

/// Hides every field but those.
struct Show {
    in_rows: Vec<String>,
    /// Where tables show others.
    in_tables: Option<Vec<String>>,
    /// An unknown name is an error: a person gave it.
    strict: bool,
}

impl Operator for Show {
    fn name(&self) -> &str {
        "fields"
    }

    fn bind(&mut self, schema: &mut Schema) -> Result<()> {
        if self.strict {
            self.in_rows.iter().try_for_each(|name| schema.require(name).map(drop))?;
        }
        for index in 0..schema.fields().len() {
            if let Some(field) = schema.field_mut(index) {
                field.hidden = !self.in_rows.contains(&field.name);
                field.in_tables = self.in_tables.as_ref().map(|shown| shown.contains(&field.name));
            }
        }
        Ok(())
    }

    fn process(&mut self, _: &Schema, _: &mut Batch<'_>) -> Result<Step> {
        Ok(Step::Next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_call_of_i386_has_no_name_of_this_architecture() {
        let name = |number: u32| syscall_name(&Value::Uint(number.into()));
        assert_eq!(name(I386 | 20).as_deref(), Some("i386:20"));
        assert_ne!(name(20).as_deref(), Some("i386:20"));
        assert_eq!(name(4000).as_deref(), Some("syscall_4000"));
        assert_eq!(name(-5i32 as u32).as_deref(), Some("syscall_-5"));
    }
}
