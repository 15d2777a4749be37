//! What people see of an event: names in place of numbers, and only the fields that its kind fills.

use skep_error::Result;
use skep_event::{
    Batch, Schema, Value,
    context::{I386, LockKind},
};
use skep_flow::{
    Operator, Step,
    operators::{Format, FormatRule},
};

use crate::syscalls;

/// The operators that add the columns of that collector's events and hide the rest.
pub(super) fn operators(
    collector: &str,
    for_people: bool,
    arguments: bool,
    fields: Option<&[String]>,
) -> Vec<Box<dyn Operator>> {
    let mut operators: Vec<Box<dyn Operator>> = Vec::new();
    let mut add = |from: &str, to: &str, rule: FormatRule| {
        operators.push(Box::new(Format::new(from, to, false, rule)));
    };
    let mut shown = vec!["timestamp_ns", "pid", "tid", "cpu_id", "comm", "count", "user_stack_id", "kernel_stack_id"];
    if for_people {
        shown = vec!["pid", "tid", "comm"];
    }
    match collector {
        "syscall" => {
            add("syscall_id", "syscall", Box::new(syscall_name));
            shown.extend(["syscall", "return_value"]);
            if arguments {
                shown.extend(["arg0", "arg1", "arg2", "arg3", "arg4", "arg5"]);
            }
            if for_people {
                add("duration_ns", "duration", Box::new(duration));
                shown.push("duration");
            } else {
                shown.extend(["syscall_id", "duration_ns"]);
            }
        }
        "lock" => {
            add("lock_kind", "lock", Box::new(lock_kind));
            add("lock_addr", "address", Box::new(hex));
            shown.extend(["lock", "address"]);
            if for_people {
                add("wait_ns", "wait", Box::new(duration));
                shown.push("wait");
            } else {
                shown.extend(["wait_ns", "return_value", "lock_flags"]);
            }
        }
        "offcpu" if for_people => {
            add("wait_ns", "wait", Box::new(duration));
            shown.push("wait");
        }
        "offcpu" => shown.push("wait_ns"),
        _ => {}
    }
    if collector != "cpu" && for_people {
        add("unfinished", "state", Box::new(state));
        shown.push("state");
    } else if collector != "cpu" {
        shown.push("unfinished");
    }
    let shown = match fields {
        Some(fields) => fields.to_vec(),
        None => shown.into_iter().map(str::to_owned).collect(),
    };
    operators.push(Box::new(Show { shown, strict: fields.is_some() }));
    operators
}

fn syscall_name(value: &Value<'_>) -> Option<String> {
    let number = value.as_u64()?;
    if let Some(number) = number.checked_sub(I386.into()) {
        return Some(format!("i386:{number}"));
    }
    Some(syscalls::name(number).map_or_else(|| format!("syscall_{number}"), str::to_owned))
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

/// Hides every field but those.
struct Show {
    shown: Vec<String>,
    /// An unknown name is an error: a person gave it.
    strict: bool,
}

impl Operator for Show {
    fn name(&self) -> &str {
        "fields"
    }

    fn bind(&mut self, schema: &mut Schema) -> Result<()> {
        if self.strict {
            self.shown.iter().try_for_each(|name| schema.require(name).map(drop))?;
        }
        for index in 0..schema.fields().len() {
            if let Some(field) = schema.field_mut(index) {
                field.hidden = !self.shown.contains(&field.name);
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
    }
}
