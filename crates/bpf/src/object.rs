//! Objects: open → prepare → load → attach; dropping one detaches and closes everything of its own.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    sync::{Arc, Once},
};

use libbpf_rs::{Iter, MapCore as _, ObjectBuilder, OpenObject, ProgramType};
use skep_error::{Error, Kind, Result, ResultExt as _, did_you_mean};

use crate::{
    arena::{self, Globals},
    attach::{self, Attachment, Target},
    buffer::Buffer,
    diagnostics,
    drops::{self, Counter},
    explain,
    map::Map,
    privilege::Lacking,
    sys,
};

/// How an object is loaded.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// Leaves out programs that the kernel refuses, and says which in [`Object::left_out`].
    pub best_effort: bool,
    /// The address in this process at which the caller will map the object's arena; page-aligned. Without one the arena
    /// is mapped at an address that the kernel chooses.
    pub arena_at: Option<u64>,
}

/// A loaded object: its programs, its maps, and what it has attached.
///
/// ```text
/// bytes ──open──▶ OpenObject ──prepare──▶ maps exist ──count drops──▶ ──load──▶ Object ──attach──▶ links
///                                                                                 │ drop: detach, close
/// ```
pub struct Object {
    // Dropped first: what is attached leaves before the programs and maps do.
    attachments: Vec<(String, Attachment)>,
    inner: libbpf_rs::Object,
    maps: BTreeMap<String, Arc<Map>>,
    counter: Option<Counter>,
    left_out: Vec<LeftOut>,
    arena_globals: Option<Globals>,
}

/// A program that was left out on request, and why.
#[derive(Debug)]
pub struct LeftOut {
    /// The program's name.
    pub program: String,
    /// What the kernel said.
    pub error: Error,
}

impl Object {
    /// Opens the ELF object `elf` and loads its maps and programs.
    ///
    /// Requests to pin maps are not followed: nothing of an object outlives the process.
    ///
    /// # Errors
    /// `BadInput` when it is no eBPF object; `Kernel` or `Permission` when the kernel refuses a part of it, with the
    /// verifier's log as detail.
    pub fn load(elf: &[u8], options: &LoadOptions) -> Result<Self> {
        let mut left_out: Vec<LeftOut> = Vec::new();
        let mut counting = true;
        loop {
            let mut object = open(elf)?;
            for mut program in object.progs_mut() {
                if left_out.iter().any(|other| OsStr::new(&other.program) == program.name()) {
                    program.set_autoload(false);
                }
            }
            if sys::forget_pins(&mut object) {
                static TOLD: Once = Once::new();
                TOLD.call_once(|| {
                    tracing::warn!("an object asks for pinned maps; they are kept in this process alone");
                });
            }
            hold_struct_ops_by_links(&mut object)?;
            let globals = options.arena_at.map(|at| arena::place(&mut object, at)).transpose()?;
            let lacking = Lacking::of(&object);
            let (result, messages) = diagnostics::capture(|| prepare_and_load(object, counting));
            let errno = match result {
                Ok((inner, counter)) => {
                    if !counting {
                        tracing::warn!(
                            "what full ring buffers refuse is not counted: this kernel's verifier does not follow the \
                             counting (Linux 6.2 and later do)"
                        );
                    }
                    return Self::new(inner, counter, left_out, globals);
                }
                Err(errno) => errno,
            };
            // Verifiers before 6.2 forget that a record was checked once the program checks it again. A program must not
            // be refused for what was added to it, so it is tried as it was written before anything is said.
            if counting && messages.verifier_log().is_some_and(|log| !log.is_empty()) {
                tracing::debug!("the verifier refused a program that counts its drops; loading it as it is");
                counting = false;
                continue;
            }
            let error = explain::load_failure(errno, &messages, lacking.for_program(messages.failed_program()));
            match messages.failed_program() {
                Some(program) if options.best_effort => {
                    left_out.push(LeftOut { program: program.to_owned(), error });
                    counting = true;
                }
                _ => return Err(error),
            }
        }
    }

    fn new(
        inner: libbpf_rs::Object,
        counter: Option<Counter>,
        left_out: Vec<LeftOut>,
        globals: Option<Vec<u8>>,
    ) -> Result<Self> {
        let mut maps = BTreeMap::new();
        for map in inner.maps() {
            let map = Map::new(&map)
                .map_err(|errno| errno.into_error().with_kind(Kind::Kernel))
                .context(|| format!("reading the metadata of map {}", map.name().to_string_lossy()))?;
            maps.insert(map.name().to_owned(), Arc::new(map));
        }
        let mut object = Self { attachments: Vec::new(), inner, maps, counter, left_out, arena_globals: None };
        if let (Some(bytes), Some(arena)) = (globals.filter(|bytes| !bytes.is_empty()), object.arena()) {
            object.arena_globals = arena::globals(&object.inner, bytes, arena.info().mappable)?;
        }
        Ok(object)
    }

    /// The map called `name`. A name that starts with a dot finds a section's map, as in libbpf.
    ///
    /// # Errors
    /// `NotFound`, with near names.
    pub fn map(&self, name: &str) -> Result<Arc<Map>> {
        let by_section = || {
            let section = &name[name.find('.')?..];
            self.maps.iter().find(|(full, _)| full.find('.').is_some_and(|dot| &full[dot..] == section))
        };
        match self.maps.get_key_value(name).or_else(by_section) {
            Some((_, map)) => Ok(map.clone()),
            None => Err(Error::new(Kind::NotFound, format!("the object has no map \"{name}\""))
                .with_errno(libc::ENOENT)
                .help(did_you_mean(name, self.maps.keys().map(String::as_str)))),
        }
    }

    /// The object's arena: it has one at most.
    pub fn arena(&self) -> Option<Arc<Map>> {
        self.maps.values().find(|map| map.info().kind == libbpf_rs::MapType::Arena).cloned()
    }

    /// What the caller has to write into an arena that it placed ([`LoadOptions::arena_at`]) before a program runs.
    pub fn arena_globals(&self) -> Option<&Globals> {
        self.arena_globals.as_ref()
    }

    /// Every map, by name.
    pub fn maps(&self) -> impl Iterator<Item = &Arc<Map>> {
        self.maps.values()
    }

    /// The names and sections of every program, those left out included.
    pub fn programs(&self) -> Vec<(String, String)> {
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        self.inner.progs().map(|program| (text(program.name()), text(program.section()))).collect()
    }

    /// Attaches the program called `program`.
    ///
    /// # Errors
    /// `NotFound` with near names when there is none; `BadInput` for a target that means nothing to its type; else what
    /// the kernel said and, where it can be told, what to do.
    pub fn attach(&mut self, program: &str, target: Target<'_>) -> Result<()> {
        let doing = || match target {
            Target::Section => format!("attaching program {program}"),
            Target::Named(text) => format!("attaching program {program} to {text}"),
            Target::Directory(_) => format!("attaching program {program} to a directory"),
        };
        if let Some(left_out) = self.left_out.iter().find(|left_out| left_out.program == program) {
            let errno = left_out.error.errno().unwrap_or(libc::EINVAL);
            return Err(Error::new(left_out.error.kind(), "it was left out when its object was loaded")
                .with_errno(errno)
                .context(doing()));
        }
        let attachment = {
            let found = self.inner.progs_mut().find(|found| found.name() == program);
            let Some(found) = found else {
                let names = self.programs();
                return Err(Error::new(Kind::NotFound, "the object has no such program")
                    .with_errno(libc::ENOENT)
                    .help(did_you_mean(program, names.iter().map(|(name, _)| name.as_str())))
                    .context(doing()));
            };
            match found.prog_type() {
                ProgramType::StructOps => None,
                _ => Some(attach::attach(&self.inner, &found, target).context(doing)?),
            }
        };
        let attachment = match attachment {
            Some(attachment) => attachment,
            None => attach::attach_struct_ops(&mut self.inner).context(doing)?,
        };
        self.attachments.push((program.to_owned(), attachment));
        Ok(())
    }

    /// Starts the iterator program called `program`, which is attached: what it prints, from the beginning (Linux 5.8).
    ///
    /// # Errors
    /// `NotFound` where no attached program has that name; else what the kernel said, `BadInput` for a program that is
    /// no iterator.
    pub fn iterate(&self, program: &str) -> Result<Iter> {
        let doing = || format!("starting the iterator {program}");
        let attached = self.attachments.iter().rev().find_map(|(name, attachment)| match attachment {
            Attachment::Link(link) if name == program => Some(link),
            _ => None,
        });
        let Some(link) = attached else {
            return Err(Error::new(Kind::NotFound, "no program of that name is attached")
                .with_errno(libc::ENOENT)
                .help("attach the program first; its section is iter/ and what it goes through, such as iter/task")
                .context(doing()));
        };
        Iter::new(link).map_err(|error| match attach::errno_of(&error) {
            sys::Errno(libc::EINVAL) => {
                Error::new(Kind::BadInput, "it is no iterator").with_errno(libc::EINVAL).context(doing())
            }
            errno => errno.into_error().context(doing()),
        })
    }

    /// Opens the user-space end of a ring or perf buffer. Errors as in [`Buffer::open`].
    pub fn buffer(&self, map: &Map) -> Result<Buffer> {
        Buffer::open(map).context(|| format!("opening the buffer {}", map.name()))
    }

    /// Records that this object's programs could not put into a full ring buffer so far; `None` when the programs do
    /// not use one in a way that can be counted, or this kernel's verifier does not follow the counting (before 6.2).
    ///
    /// # Errors
    /// The kernel's.
    pub fn dropped(&self) -> Result<Option<u64>> {
        self.counter.as_ref().map(Counter::read).transpose()
    }

    /// The programs that were left out, in the order in which the kernel refused them.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

fn open(elf: &[u8]) -> Result<OpenObject> {
    let (result, messages) = diagnostics::capture(|| ObjectBuilder::default().name("skep")?.open_memory(elf));
    result.map_err(|error| {
        let errno = attach::errno_of(&error);
        if matches!(errno.0, libc::EMFILE | libc::ENFILE | libc::ENOMEM) {
            return Error::os(errno.0).context("opening the eBPF object");
        }
        let reason = messages.lines().next().map_or_else(|| errno.to_string(), str::to_owned);
        Error::new(Kind::BadInput, reason).with_errno(errno.0).context("opening the eBPF object").help(
            "it must be a relocatable ELF file made by `clang -target bpf -g`; `llvm-readelf -h` shows what it is",
        )
    })
}

/// Makes a struct_ops map of section `.struct_ops` what one of `.struct_ops.link` is (Linux 6.3): held by a link, so that
/// it leaves with the process. Registered by an update of the map it would stay after a process that is killed.
fn hold_struct_ops_by_links(object: &mut OpenObject) -> Result<()> {
    for mut map in object.maps_mut().filter(|map| map.map_type() == libbpf_rs::MapType::StructOps) {
        map.set_map_flags(libbpf_sys::BPF_F_LINK)
            .map_err(|error| attach::errno_of(&error).into_error().context("asking for a link to a struct_ops map"))?;
    }
    Ok(())
}

fn prepare_and_load(
    mut object: OpenObject,
    counting: bool,
) -> Result<(libbpf_rs::Object, Option<Counter>), sys::Errno> {
    sys::prepare(&mut object)?;
    let counter = if counting { count_drops(&mut object)? } else { None };
    let inner = object.load().map_err(|error| attach::errno_of(&error))?;
    Ok((inner, counter))
}

/// Makes every program of a prepared object count the records that it cannot put into a ring buffer.
fn count_drops(object: &mut OpenObject) -> Result<Option<Counter>, sys::Errno> {
    if !object.maps().any(|map| map.map_type() == libbpf_rs::MapType::RingBuf) {
        return Ok(None);
    }
    let counter = Counter::new().map_err(|error| sys::Errno(error.errno().unwrap_or(libc::EINVAL)))?;
    let mut counted = false;
    for program in object.progs_mut() {
        if !program.autoload() {
            continue;
        }
        if let Some((insns, insertion)) = drops::count_failures(program.insns(), counter.fd()) {
            sys::replace_insns(&program, insns, &insertion)?;
            counted = true;
        } else if drops::fills_ring(program.insns()) {
            let name = program.name().to_string_lossy();
            tracing::warn!("what full ring buffers refuse of program {name} is not counted: its jumps are too far");
        }
    }
    Ok(counted.then_some(counter))
}
