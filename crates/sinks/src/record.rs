//! The `.skep` file: recorded events, readable up to where it was cut off.
//!
//! ```text
//! "SKEPREC\x01"  block block block …          a block is written whole, then the next
//!
//! block = "SKBK" kind:u8 0:u8×3 stored:u32 plain:u32 items:u32 crc32:u32   24 bytes, little endian
//!         payload[stored]                    LZ4 block format; `plain` bytes when unpacked
//!
//! kinds:  1 schema   2 batch of records   3 stacks   4 counters   5 index   6 end: offset of the index
//! ```
//!
//! The checksum covers the block's head up to it, and the payload. A reader stops at the first block that is cut off or whose
//! checksum is wrong, and says so: everything before it is good. The index at the end lets a reader of a complete file jump
//! to a time; a file without it is read from the start.
//!
//! A record file keeps records as the collector wrote them and the stacks that they name, symbols resolved. Columns that operators
//! add are not kept: the same operators add them when the file is replayed.

mod block;
mod reader;
mod writer;

pub use reader::{FileInfo, RecordSource};
pub(crate) use writer::RecordSink;
