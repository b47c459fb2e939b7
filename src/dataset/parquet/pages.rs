//! Where the images of a large row group lie. Writers put a whole row group into one dictionary page: a
//! gigabyte, which the Parquet reader would hold packed and unpacked for every image that is asked for. Its
//! pages are unpacked here in a stream, into a nameless temporary file unless they are stored as they are,
//! and each image is read from its place.
//!
//! Only what writers of such files use is known: data pages of version 1, plain or by dictionary. Whatever
//! else there is, is left to the Parquet reader.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::file::metadata::ColumnChunkMetaData;

use super::super::bulk::{Bulk, Part};
use super::super::error::DatasetError;
use super::codec::{is_known, unpack};
use crate::ending::wire::{Struct, hybrid};

/// Types of pages.
const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
/// Encodings of values.
const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE_DICTIONARY: i64 = 8;

/// Rows of a row group at most: what their numbers may take is bounded.
const MOST_ROWS: i64 = 1 << 24;

/// The values of a column of a row group; none where the row has none.
pub(super) struct Values {
    bulk: Arc<Bulk>,
    rows: Vec<Option<(u64, usize)>>,
}

/// A page: where its bytes lie once unpacked.
struct Page {
    sort: i64,
    encoding: i64,
    values: usize,
    start: u64,
    len: u64,
}

impl Values {
    /// Finds the values of a column; none where it is written in another way than is known here, or damaged,
    /// which is for the Parquet reader to say.
    pub fn find(path: &Path, column: &ColumnChunkMetaData) -> Option<Self> {
        let bulk = Bulk::open(path).ok()?;
        if !(0..=MOST_ROWS).contains(&column.num_values()) {
            return None;
        }
        let (start, len) = column.byte_range();
        let end = start.checked_add(len).filter(|end| *end <= bulk.len)?;
        let descr = column.column_descr();
        let most = u32::try_from(descr.max_def_level())
            .ok()
            .filter(|_| descr.max_rep_level() == 0)?;
        let (bulk, pages) = match column.compression() {
            Compression::UNCOMPRESSED => (bulk.clone(), pages(&bulk, start, end, None).ok()?),
            codec if is_known(codec) => {
                let mut spool = tempfile::tempfile().ok()?;
                let pages = pages(&bulk, start, end, Some((&mut spool, codec))).ok()?;
                (Bulk::of_file(path, spool).ok()?, pages)
            }
            _ => return None,
        };
        let mut found = Self {
            bulk,
            rows: Vec::new(),
        };
        let mut dictionary = Vec::new();
        for page in &pages {
            found.take(page, most, &mut dictionary).ok().flatten()?;
        }
        (found.rows.len() as i64 == column.num_values()).then_some(found)
    }

    /// The value of a row of the group.
    pub fn get(&self, row: usize) -> Result<Option<Vec<u8>>, DatasetError> {
        match self.rows.get(row).copied().flatten() {
            Some((offset, len)) => Part {
                bulk: self.bulk.clone(),
                offset,
                len,
            }
            .read()
            .map(Some),
            None => Ok(None),
        }
    }

    /// Takes the values of a page; none if its encoding is not known here.
    fn take(
        &mut self,
        page: &Page,
        most: u32,
        dictionary: &mut Vec<(u64, usize)>,
    ) -> std::io::Result<Option<()>> {
        let end = page.start + page.len;
        if page.values as i64 > MOST_ROWS {
            return Ok(None);
        }
        let mut reader = BufReader::new(self.bulk.between(page.start, end));
        if page.sort == DICTIONARY {
            *dictionary = plain(&mut reader, page.start, end, page.values)?;
            return Ok(Some(()));
        }
        let mut at = page.start;
        let levels = match most {
            0 => vec![0; page.values],
            _ => {
                let mut len = [0; 4];
                reader.read_exact(&mut len)?;
                let len = u64::from(u32::from_le_bytes(len));
                let mut bytes = Vec::new();
                reader.by_ref().take(len).read_to_end(&mut bytes)?;
                at += 4 + len;
                let width = 32 - most.leading_zeros();
                hybrid(&mut &bytes[..], width as u8, page.values)?
            }
        };
        let count = levels.iter().filter(|level| **level == most).count();
        let values = match page.encoding {
            PLAIN => plain(&mut reader, at, end, count)?,
            PLAIN_DICTIONARY | RLE_DICTIONARY if count == 0 => Vec::new(),
            PLAIN_DICTIONARY | RLE_DICTIONARY => {
                let mut width = [0];
                reader.read_exact(&mut width)?;
                let indices = hybrid(&mut reader, width[0], count)?;
                let values = indices.iter().map(|i| dictionary.get(*i as usize).copied());
                match values.collect::<Option<Vec<_>>>() {
                    Some(values) => values,
                    None => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let mut values = values.into_iter();
        let row = |level: &u32| if *level == most { values.next() } else { None };
        self.rows.extend(levels.iter().map(row));
        Ok(Some(()))
    }
}

/// The places of `count` byte arrays, each behind its length, from `at` up to `end`.
fn plain(
    reader: &mut (impl Read + Seek),
    mut at: u64,
    end: u64,
    count: usize,
) -> std::io::Result<Vec<(u64, usize)>> {
    let mut places = Vec::new();
    for _ in 0..count {
        let mut len = [0; 4];
        reader.read_exact(&mut len)?;
        let len = u32::from_le_bytes(len);
        at += 4;
        if u64::from(len) > end.saturating_sub(at) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        places.push((at, len as usize));
        reader.seek(SeekFrom::Current(i64::from(len)))?;
        at += u64::from(len);
    }
    Ok(places)
}

/// Walks through the pages of a column from `start` to `end`; packed ones are unpacked into `spool`.
fn pages(
    bulk: &Arc<Bulk>,
    start: u64,
    end: u64,
    mut spool: Option<(&mut File, Compression)>,
) -> std::io::Result<Vec<Page>> {
    let unknown = || std::io::Error::from(std::io::ErrorKind::InvalidData);
    let (mut pages, mut at, mut written) = (Vec::new(), start, 0);
    while at < end {
        let mut reader = Counted {
            inner: BufReader::new(bulk.between(at, end)),
            count: 0,
        };
        let header = Struct::read(&mut reader)?;
        let body = at + reader.count;
        let size = header.size(2).ok_or_else(unknown)? as u64;
        let packed = header.size(3).ok_or_else(unknown)? as u64;
        let sort = header.number(1).ok_or_else(unknown)?;
        let about = match sort {
            DATA => header.inner(5),
            DICTIONARY => header.inner(7),
            _ => None,
        };
        let about = about.ok_or_else(unknown)?;
        let start = match &mut spool {
            None if size != packed => return Err(unknown()),
            None => body,
            Some((spool, codec)) => {
                let mut out = BufWriter::new(&mut **spool);
                unpack(*codec, &mut reader.inner.take(packed), &mut out, size)?;
                out.flush()?;
                written += size;
                written - size
            }
        };
        pages.push(Page {
            sort,
            encoding: about.number(2).ok_or_else(unknown)?,
            values: about.size(1).ok_or_else(unknown)?,
            start,
            len: size,
        });
        at = body + packed;
    }
    Ok(pages)
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = self.inner.read(out)?;
        self.count += len as u64;
        Ok(len)
    }
}
