//! The messages of an Arrow IPC stream: where the batches of a file lie, and in them the buffers of a column.
//!
//! ```text
//! [ARROW1\0\0]                 of the file form, whose footer behind the stream is not needed
//! FFFFFFFF length head [body]  a schema, then batches; writers before Arrow 0.15 have no FFFFFFFF
//! FFFFFFFF 0                   the end
//! ```
//!
//! Arrow's own reader takes a batch into memory whole, and panics on some damaged heads. Here only heads are
//! read, every length is held against the file before memory is asked for, and a buffer is read when its
//! numbers are asked for.

use std::sync::Arc;

use arrow::array::layout;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::{
    Endianness, Message, MessageHeader, MetadataVersion, RecordBatch, convert, root_as_message,
};

use super::super::bulk::Bulk;
use super::super::error::DatasetError;
use super::super::table::columns::damaged;
use crate::caught::caught;

/// What begins a message, before its length.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// What begins the file form.
const FILE: &[u8] = b"ARROW1\0\0";

/// A part of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub start: u64,
    pub len: u64,
}

/// Some rows of the wanted columns.
pub(super) struct Batch {
    pub rows: usize,
    /// The buffers of each wanted column, that of nulls first; none of one that there is not.
    pub columns: Vec<Option<Vec<Span>>>,
}

/// A column, by its name and that of a part of it.
pub(super) type Name = (String, Option<&'static str>);

/// Walks through a file: its schema, and its batches with the columns that `want` asks for by it.
pub(super) fn walk<T>(
    bulk: &Arc<Bulk>,
    want: impl FnOnce(&Schema) -> Result<(T, Vec<Name>), DatasetError>,
) -> Result<(Schema, T, Vec<Batch>), DatasetError> {
    let cut = || damaged(&bulk.path, "it is cut: its stream of batches has no end");
    let bad = |reason: &str| damaged(&bulk.path, reason);
    let word = |at: u64| -> Result<[u8; 4], DatasetError> {
        match at + 4 <= bulk.len {
            true => bulk.read(at, 4)?.try_into().map_err(|_| cut()),
            false => Err(cut()),
        }
    };
    let is_file = bulk.len >= FILE.len() as u64 && bulk.read(0, FILE.len())? == FILE;
    let mut at = if is_file { FILE.len() as u64 } else { 0 };
    let (mut want, mut known, mut batches) = (Some(want), None, Vec::new());
    loop {
        let mut length = word(at)?;
        at += 4;
        // Since version 0.15 of the format every message begins so.
        if is_file && known.is_none() && length != CONTINUATION {
            return Err(super::no_stream(&bulk.path));
        }
        if length == CONTINUATION {
            length = word(at)?;
            at += 4;
        }
        let length = u64::from(u32::from_le_bytes(length));
        if length == 0 {
            break;
        }
        if length > bulk.len - at {
            return Err(cut());
        }
        let head = bulk.read(at, length as usize)?;
        at += length;
        let message = root_as_message(&head).map_err(|error| damaged(&bulk.path, error))?;
        let body = u64::try_from(message.bodyLength()).map_err(|_| bad("a body of less than no bytes"))?;
        if body > bulk.len - at {
            return Err(cut());
        }
        match (message.header_type(), &known) {
            (MessageHeader::Schema, None) => {
                let schema = schema(bulk, &message)?;
                let want = want.take().ok_or_else(|| bad("two schemas"))?;
                known = Some((want(&schema)?, schema));
            }
            (MessageHeader::RecordBatch, Some(((_, wanted), schema))) => {
                let batch = message
                    .header_as_record_batch()
                    .ok_or_else(|| bad("a batch without a head"))?;
                if batch.compression().is_some() {
                    return Err(super::compressed(&bulk.path));
                }
                let mut cursor = Cursor {
                    batch: &batch,
                    version: message.version(),
                    body: Span { start: at, len: body },
                    node: 0,
                    buffer: 0,
                    variadic: 0,
                };
                batches.push(cursor.find(schema, wanted).map_err(bad)?);
            }
            // Dictionaries are of columns that are not read.
            (MessageHeader::DictionaryBatch, Some(_)) => {}
            _ => {
                return Err(bad(
                    "a message that is neither its first schema nor a batch behind it",
                ));
            }
        }
        at += body;
    }
    let ((chosen, _), schema) = known.ok_or_else(|| bad("it has no schema"))?;
    Ok((schema, chosen, batches))
}

fn schema(bulk: &Bulk, message: &Message<'_>) -> Result<Schema, DatasetError> {
    let schema = message.header_as_schema();
    let schema = schema.ok_or_else(|| damaged(&bulk.path, "a schema without a head"))?;
    if schema.endianness() != Endianness::Little {
        return Err(damaged(
            &bulk.path,
            "its numbers are big-endian, of which none are read",
        ));
    }
    // arrow-ipc 59 panics on types that it does not know.
    caught(|| convert::fb_to_schema(schema))
        .ok_or_else(|| damaged(&bulk.path, "the Arrow reader gave up on its schema"))
}

/// Goes through the columns of a batch in the order of their nodes and buffers: each before its parts.
struct Cursor<'a> {
    batch: &'a RecordBatch<'a>,
    version: MetadataVersion,
    body: Span,
    node: usize,
    buffer: usize,
    variadic: usize,
}

impl Cursor<'_> {
    fn find(&mut self, schema: &Schema, wanted: &[Name]) -> Result<Batch, &'static str> {
        let rows = usize::try_from(self.batch.length()).map_err(|_| "a batch of less than no rows")?;
        let mut columns = vec![None; wanted.len()];
        for field in schema.fields() {
            let place = |part: Option<&str>| {
                let is = |(name, inner): &Name| name == field.name() && *inner == part;
                wanted.iter().position(is)
            };
            let (length, own) = self.step(field)?;
            let mut take = |place: Option<usize>, length: usize, spans: Vec<Span>| {
                let Some(column) = place.and_then(|place| columns.get_mut(place)) else {
                    return Ok(());
                };
                if length != rows {
                    return Err("a column of another length than its batch");
                }
                if column.is_none() {
                    *column = Some(spans);
                }
                Ok(())
            };
            take(place(None), length, own)?;
            for part in parts(field.data_type()) {
                let (length, spans) = self.step(part)?;
                take(place(Some(part.name())), length, spans)?;
                self.pass(part)?;
            }
        }
        Ok(Batch { rows, columns })
    }

    /// Passes over the parts of a column.
    fn pass(&mut self, field: &Field) -> Result<(), &'static str> {
        for part in parts(field.data_type()) {
            self.step(part)?;
            self.pass(part)?;
        }
        Ok(())
    }

    /// The rows and the buffers of a column itself, without its parts.
    fn step(&mut self, field: &Field) -> Result<(usize, Vec<Span>), &'static str> {
        const FEWER: &str = "a batch of fewer columns than its schema has";
        let kind = field.data_type();
        if matches!(kind, DataType::Union(..)) && self.version < MetadataVersion::V5 {
            return Err("a union as Arrow wrote it before version 1.0");
        }
        let nodes = self.batch.nodes().ok_or(FEWER)?;
        if self.node >= nodes.len() {
            return Err(FEWER);
        }
        let length =
            usize::try_from(nodes.get(self.node).length()).map_err(|_| "a column of less than no rows")?;
        self.node += 1;
        let layout = layout(kind);
        let mut count = layout.buffers.len() + usize::from(layout.can_contain_null_mask);
        if layout.variadic {
            let counts = self.batch.variadicBufferCounts().ok_or(FEWER)?;
            if self.variadic >= counts.len() {
                return Err(FEWER);
            }
            let more = usize::try_from(counts.get(self.variadic)).map_err(|_| FEWER)?;
            count = count.checked_add(more).ok_or(FEWER)?;
            self.variadic += 1;
        }
        let buffers = self.batch.buffers().ok_or(FEWER)?;
        if count > buffers.len().saturating_sub(self.buffer) {
            return Err(FEWER);
        }
        let span = |number: usize| {
            let buffer = buffers.get(number);
            let (start, len) = (buffer.offset().try_into().ok()?, buffer.length().try_into().ok()?);
            let end = u64::checked_add(start, len)?;
            (end <= self.body.len).then_some(Span {
                start: self.body.start + start,
                len,
            })
        };
        let spans = (self.buffer..self.buffer + count).map(span);
        let spans = spans
            .collect::<Option<Vec<Span>>>()
            .ok_or("a buffer beyond the end of its batch")?;
        self.buffer += count;
        Ok((length, spans))
    }
}

/// The parts of a column, whose nodes follow its own.
fn parts(kind: &DataType) -> Vec<&Field> {
    match kind {
        DataType::Struct(fields) => fields.iter().map(AsRef::as_ref).collect(),
        DataType::List(part)
        | DataType::LargeList(part)
        | DataType::ListView(part)
        | DataType::LargeListView(part)
        | DataType::FixedSizeList(part, _)
        | DataType::Map(part, _) => vec![part],
        DataType::Union(fields, _) => fields.iter().map(|(_, field)| field.as_ref()).collect(),
        DataType::RunEndEncoded(ends, values) => vec![ends, values],
        _ => Vec::new(),
    }
}
