use super::block::{self, Block, Kind, Next};
use crate::Recorded;
use serde::Deserialize;
use serde_json::Value;
use skep_error::{Error, Kind as ErrorKind, Result, ResultExt as _};
use skep_event::{Field, FieldKind, Frame, Lost, Place, Schema, StackTable};
use skep_flow::{Fill, Source};
use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

/// What a file says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileInfo {
    /// Whether the file was finished; one that was cut off is read up to there.
    pub complete: bool,
    /// Records in a complete file.
    pub records: Option<u64>,
    /// What the recording lost.
    pub lost: Lost,
    /// When it was made.
    pub recorded: Recorded,
}

/// A record file as a source: no kernel, no privilege, the same records in the same order every time.
pub struct RecordSource {
    path: PathBuf,
    file: BufReader<File>,
    schema: Schema,
    stacks: StackTable,
    info: FileInfo,
    index: Vec<Entry>,
    current: Vec<u8>,
    at: usize,
    offset: u64,
    broken: Option<String>,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    kind: u8,
    offset: u64,
    last_time: u64,
}

/// Bytes of an end block: its head, and the offset packed by LZ4 as nine bytes of literals.
const END_SIZE: i64 = block::HEAD as i64 + 9;

impl RecordSource {
    /// Opens a file and reads its schema and, if it is complete, its index.
    ///
    /// # Errors
    /// `NotFound`, `Permission` or `Io` if it cannot be read; `BadInput` if it is no record file or is cut off before its
    /// schema ends.
    pub fn open(path: &Path) -> Result<Self> {
        let doing = || format!("reading {}", path.display());
        let opening = || format!("opening {}", path.display());
        // A pipe in its place would keep everybody waiting.
        if !std::fs::metadata(path).context(opening)?.is_file() {
            return Err(Error::new(ErrorKind::BadInput, "it is not a file").context(opening()));
        }
        let file = File::open(path).context(opening)?;
        let mut file = BufReader::with_capacity(256 * 1024, file);
        let mut magic = Vec::new();
        file.by_ref().take(block::MAGIC.len() as u64).read_to_end(&mut magic).context(doing)?;
        if magic != block::MAGIC {
            let what = match magic.get(..7) {
                Some(start) if start == &block::MAGIC[..7] => "it is a record file of another version",
                _ => "it is no record file",
            };
            let help = "record files are made by: skep record -o FILE.skep";
            return Err(Error::new(ErrorKind::BadInput, what).context(doing()).help(help));
        }
        let ((schema, recorded), size) = match block::decode(&mut file).context(doing)? {
            Next::Block(block) if block.kind == Kind::Schema => (read_schema(&block.plain).context(doing)?, block.size),
            Next::Broken(why) => return Err(Error::new(ErrorKind::BadInput, why).context(doing())),
            _ => return Err(Error::new(ErrorKind::BadInput, "it does not start with a schema").context(doing())),
        };
        let offset = block::MAGIC.len() as u64 + size;
        let mut source = Self {
            path: path.to_owned(),
            file,
            schema,
            stacks: StackTable::new(),
            info: FileInfo { recorded, ..FileInfo::default() },
            index: Vec::new(),
            current: Vec::new(),
            at: 0,
            offset,
            broken: None,
            ended: false,
        };
        source.read_index().context(doing)?;
        source.file.seek(SeekFrom::Start(offset)).context(doing)?;
        Ok(source)
    }

    /// What the file says of itself.
    pub fn info(&self) -> &FileInfo {
        &self.info
    }

    /// Why and where reading stopped before the file's end; `None` for a file that was read to its end, or is being read.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Leaves out the batches that end before `time_ns`; stacks are still read. Without an index nothing is left out.
    ///
    /// # Errors
    /// `Io` if the file cannot be read, `BadInput` if its stacks cannot.
    pub fn start_at(&mut self, time_ns: u64) -> Result<()> {
        let batch = |entry: &&Entry| entry.kind == Kind::Batch as u8 && entry.last_time >= time_ns;
        let Some(start) = self.index.iter().find(batch).map(|entry| entry.offset) else { return Ok(()) };
        let earlier_stacks: Vec<u64> = self
            .index
            .iter()
            .filter(|entry| entry.kind == Kind::Stacks as u8 && entry.offset < start)
            .map(|entry| entry.offset)
            .collect();
        let doing = |path: &Path| format!("reading {}", path.display());
        for offset in earlier_stacks {
            self.file.seek(SeekFrom::Start(offset)).context(|| doing(&self.path))?;
            if let Next::Block(block) = block::decode(&mut self.file).context(|| doing(&self.path))?
                && let Err(why) = self.take(block)
            {
                return Err(
                    Error::new(ErrorKind::BadInput, format!("at byte {offset}: {why}")).context(doing(&self.path))
                );
            }
        }
        self.file.seek(SeekFrom::Start(start)).context(|| doing(&self.path))?;
        self.offset = start;
        Ok(())
    }

    fn read_index(&mut self) -> std::io::Result<()> {
        let length = self.file.seek(SeekFrom::End(0))?;
        if length < END_SIZE as u64 {
            return Ok(());
        }
        self.file.seek(SeekFrom::End(-END_SIZE))?;
        let Next::Block(Block { kind: Kind::End, plain, .. }) = block::decode(&mut self.file)? else { return Ok(()) };
        let Ok(at) = <[u8; 8]>::try_from(plain.as_slice()).map(u64::from_le_bytes) else { return Ok(()) };
        if at >= length {
            return Ok(());
        }
        self.file.seek(SeekFrom::Start(at))?;
        let Next::Block(Block { kind: Kind::Index, plain, .. }) = block::decode(&mut self.file)? else { return Ok(()) };
        let Ok(index) = serde_json::from_slice::<Index>(&plain) else { return Ok(()) };
        self.index = index
            .blocks
            .into_iter()
            .map(|(kind, offset, _, _, last_time)| Entry { kind, offset, last_time })
            .filter(|entry| entry.offset < length)
            .collect();
        self.info.complete = true;
        self.info.records = Some(index.counters.kept);
        self.info.lost = index.counters.lost();
        self.info.recorded.elapsed_ns = index.counters.elapsed_ns;
        Ok(())
    }

    /// Takes the next block; false at the end of what can be read.
    fn advance(&mut self) -> Result<bool> {
        let next = block::decode(&mut self.file).context(|| format!("reading {}", self.path.display()))?;
        let (path, offset) = (self.path.display().to_string(), self.offset);
        let taken = match next {
            Next::Block(block) => {
                self.offset += block.size;
                self.take(block).map_err(|why| format!("{path} is good up to byte {offset}: {why}"))
            }
            Next::End => Err(format!("{path} was not finished: it ends at byte {offset}")),
            Next::Broken(why) => Err(format!("{path} is good up to byte {offset}: {why}")),
        };
        self.broken = taken.err();
        Ok(!self.ended && self.broken.is_none())
    }

    /// Takes in a block; why not, where its content is none that a writer makes.
    fn take(&mut self, block: Block) -> Result<(), &'static str> {
        match block.kind {
            Kind::Batch if block.plain.len() == block.items as usize * self.schema.stride() => {
                self.current = block.plain;
                self.at = 0;
            }
            Kind::Batch => return Err("a batch of another length than it says"),
            Kind::Stacks => self.learn(serde_json::from_slice(&block.plain).map_err(|_| "stacks that cannot be read")?),
            Kind::Counters => {
                let counters: Counters =
                    serde_json::from_slice(&block.plain).map_err(|_| "counters that cannot be read")?;
                self.info.lost = counters.lost();
            }
            Kind::End => self.ended = true,
            Kind::Schema | Kind::Index => {}
        }
        Ok(())
    }

    fn learn(&mut self, stacks: Vec<(i64, Vec<FrameRow>)>) {
        let frame = |(address, name, module, build_id, file_offset, file, line, kernel): FrameRow| Frame {
            address,
            name,
            module,
            build_id,
            file_offset,
            file,
            line,
            kernel,
        };
        for (id, frames) in stacks {
            self.stacks.insert(id, frames.into_iter().map(frame).collect());
        }
    }
}

/// A frame as a block of stacks holds it: address, name, module, build id, offset in the file, source file, line, whether of the kernel.
type FrameRow = (u64, String, String, String, u64, String, u32, bool);

/// The block of the index: kind, offset, items, first and last time of each block before it.
#[derive(Deserialize)]
struct Index {
    blocks: Vec<(u8, u64, u32, u64, u64)>,
    counters: Counters,
}

/// The block of the counters.
#[derive(Deserialize)]
struct Counters {
    kept: u64,
    lost_kernel: u64,
    lost_filter: u64,
    lost_queue: u64,
    #[serde(default)]
    elapsed_ns: u64,
}

impl Counters {
    fn lost(&self) -> Lost {
        Lost { kernel: self.lost_kernel, filter: self.lost_filter, queue: self.lost_queue }
    }
}

/// Bytes of a schema and fields of it at most: many times what any collector has.
const MAX_SCHEMA: usize = 1 << 20;
const MAX_FIELDS: usize = 1024;

fn read_schema(plain: &[u8]) -> Result<(Schema, Recorded)> {
    let bad = |what: &str| Error::new(ErrorKind::BadInput, format!("its schema has {what}"));
    if plain.len() > MAX_SCHEMA {
        return Err(bad("more bytes than any schema needs"));
    }
    let json: Value = serde_json::from_slice(plain).map_err(|error| Error::wrap(ErrorKind::BadInput, error))?;
    let rows = json["fields"].as_array().ok_or_else(|| bad("no fields"))?;
    if rows.len() > MAX_FIELDS {
        return Err(bad("more fields than any record has"));
    }
    let mut fields = Vec::new();
    for field in rows {
        let number = |name: &str| field[name].as_u64().and_then(|number| usize::try_from(number).ok());
        let kind = number("kind").and_then(|raw| u8::try_from(raw).ok()).and_then(FieldKind::from_raw);
        let (Some(name), Some(kind), Some(offset), Some(size)) =
            (field["name"].as_str(), kind, number("offset"), number("size"))
        else {
            return Err(bad("a field that cannot be read"));
        };
        let mut made = Field::new(name, kind, Place::Record { offset, size });
        made.hidden = field["hidden"].as_bool().unwrap_or(false);
        made.tags =
            field["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let annotations = field["annotations"].as_object().into_iter().flatten();
        made.annotations =
            annotations.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
        fields.push(made);
    }
    let stride = json["stride"].as_u64().and_then(|stride| usize::try_from(stride).ok()).unwrap_or(0);
    if stride > block::MAX_PLAIN {
        return Err(bad("records larger than a block"));
    }
    let number = |name: &str| json[name].as_u64().unwrap_or(0);
    let (started_ns, sample_period_ns) = (number("started_ns"), number("sample_period_ns"));
    let schema = Schema::new(json["name"].as_str().unwrap_or("events"), stride, fields)?;
    Ok((schema, Recorded { started_ns, elapsed_ns: 0, sample_period_ns }))
}

impl Source for RecordSource {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn fill(&mut self, buffer: &mut [u8], _: Duration) -> Result<Fill> {
        while self.at == self.current.len() {
            if self.ended || self.broken.is_some() || !self.advance()? {
                if let Some(why) = &self.broken
                    && !self.ended
                {
                    tracing::warn!("{why}");
                }
                self.ended = true;
                return Ok(Fill { records: 0, end: true });
            }
        }
        let stride = self.schema.stride();
        let room = buffer.len() / stride * stride;
        let count = room.min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(Fill { records: count / stride, end: false })
    }

    fn lost(&self) -> u64 {
        self.info.lost.kernel
    }

    fn lost_in_queue(&self) -> u64 {
        self.info.lost.queue
    }

    fn live(&self) -> bool {
        false
    }

    fn stacks(&self) -> StackTable {
        self.stacks.clone()
    }
}
