//! A guest's arguments and environment: bytes, as they are on the host. wasmtime-wasi has them as UTF-8 alone.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
};

use wasmtime::{Caller, Extern, Linker};

use crate::wasi::{ERRNO_FAULT, MODULE, WasiView};

/// Strings one after the other, each with a NUL at its end.
#[derive(Default)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    starts: Vec<u32>,
}

impl Strings {
    /// The arguments.
    pub(crate) fn arguments(args: &[OsString]) -> Self {
        let mut strings = Self::default();
        args.iter().for_each(|arg| strings.push(&[arg]));
        strings
    }

    /// The environment. The last value of a name is the one that counts.
    pub(crate) fn environment(variables: &[(OsString, OsString)]) -> Self {
        let mut strings = Self::default();
        let is_last = |at: usize, name: &OsStr| variables[at + 1..].iter().all(|(later, _)| later != name);
        for (at, (name, value)) in variables.iter().enumerate() {
            if is_last(at, name) {
                strings.push(&[name, OsStr::new("="), value]);
            }
        }
        strings
    }

    /// Takes one string, in parts.
    fn push(&mut self, parts: &[&OsStr]) {
        // A command line is far shorter than 4 GiB.
        self.starts.push(self.bytes.len() as u32);
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part.as_bytes()));
        self.bytes.push(0);
    }

    /// Writes how many there are and how many bytes they take.
    fn write_sizes(&self, memory: &mut [u8], count: u32, size: u32) -> Option<()> {
        put(memory, count, &(self.starts.len() as u32).to_le_bytes())?;
        put(memory, size, &(self.bytes.len() as u32).to_le_bytes())
    }

    /// Writes the strings, and where each of them starts.
    fn write(&self, memory: &mut [u8], pointers: u32, buffer: u32) -> Option<()> {
        put(memory, buffer, &self.bytes)?;
        let addresses = self.starts.iter().flat_map(|start| buffer.wrapping_add(*start).to_le_bytes());
        put(memory, pointers, &addresses.collect::<Vec<u8>>())
    }
}

fn put(memory: &mut [u8], address: u32, bytes: &[u8]) -> Option<()> {
    let start = address as usize;
    memory.get_mut(start..start.checked_add(bytes.len())?)?.copy_from_slice(bytes);
    Some(())
}

/// Defines the four functions in the place of wasmtime-wasi's; the linker allows that.
pub(crate) fn add_to_linker<T: WasiView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    type Write = fn(&Strings, &mut [u8], u32, u32) -> Option<()>;
    type Which = fn(&crate::Wasi) -> &Strings;
    let functions: [(&str, Which, Write); 4] = [
        ("args_sizes_get", |wasi| &wasi.args, Strings::write_sizes),
        ("args_get", |wasi| &wasi.args, Strings::write),
        ("environ_sizes_get", |wasi| &wasi.env, Strings::write_sizes),
        ("environ_get", |wasi| &wasi.env, Strings::write),
    ];
    for (name, which, write) in functions {
        linker.func_wrap(
            MODULE,
            name,
            move |mut caller: Caller<'_, T>, first: i32, second: i32| -> wasmtime::Result<i32> {
                let memory = caller.get_export("memory").and_then(Extern::into_memory);
                let memory =
                    memory.ok_or_else(|| wasmtime::Error::msg("the guest exports no memory called \"memory\""))?;
                let (memory, state) = memory.data_and_store_mut(&mut caller);
                let written = write(which(state.wasi()), memory, first as u32, second as u32);
                Ok(if written.is_some() { 0 } else { ERRNO_FAULT })
            },
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_value_of_a_variable_takes_the_place_of_an_earlier_one() {
        let pair = |name: &str, value: &str| (name.into(), value.into());
        let strings = Strings::environment(&[pair("A", "1"), pair("B", "2"), pair("A", "3")]);
        assert_eq!(strings.bytes, b"B=2\0A=3\0");
        assert_eq!(strings.starts, [0, 4]);
    }

    #[test]
    fn what_lies_outside_memory_is_not_written() {
        let strings = Strings::arguments(&["name".into(), "".into()]);
        let mut memory = [0xff; 16];
        assert_eq!(strings.write(&mut memory, 8, 1), Some(()));
        assert_eq!(&memory[1..7], b"name\0\0");
        assert_eq!(&memory[8..], [1, 0, 0, 0, 6, 0, 0, 0]);
        for (pointers, buffer) in [(9, 0), (0, 11), (u32::MAX, 0), (0, u32::MAX)] {
            assert_eq!(strings.write(&mut memory, pointers, buffer), None);
        }
        assert_eq!(strings.write_sizes(&mut memory, 13, 0), None);
    }
}
