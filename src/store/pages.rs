//! The tables of artifacts: the only code that opens them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use dream_schema::{RunId, SchemaError, Table};
use redb::TableDefinition;

use super::format::{self, Block, Entry, Format, Share, Strip, v1};
use super::layout::{self, KEY, Key};
use super::view::{View, Writer};
use super::{BlockInfo, Projection, Result, StoreError, Tally};

type Index1<'n> = TableDefinition<'n, &'static [u8; KEY], &'static [u8; v1::ENTRY]>;
type Index2<'n> = TableDefinition<'n, &'static [u8; KEY], &'static [u8]>;
type Blocks<'n> = TableDefinition<'n, &'static [u8; KEY], &'static [u8]>;

/// Why a block that is not there cannot be read.
pub(super) const MISSING: &str = "the block is missing";

/// Successive index entries, from either end.
type Entries<'i> = dyn DoubleEndedIterator<Item = Result<(Key, Entry)>> + 'i;

impl View<'_> {
    /// Hands the index entries of a strip from `low` to `high` to `take`.
    fn index<R>(
        &self,
        strip: Strip,
        (low, high): (Key, Key),
        take: impl FnOnce(&mut Entries<'_>) -> Result<R>,
    ) -> Result<R> {
        let name = strip.index_name();
        match strip.share {
            Share::Whole => {
                let table = self.table(Index1::new(&name))?;
                let entries = table.range::<&Key>(&low..=&high)?;
                take(&mut entries.map(|item| {
                    let (key, entry) = item?;
                    Ok((*key.value(), Entry::from_v1(entry.value())))
                }))
            }
            Share::Narrow | Share::Wide => {
                let table = self.table(Index2::new(&name))?;
                let entries = table.range::<&Key>(&low..=&high)?;
                take(&mut entries.map(|item| {
                    let (key, entry) = item?;
                    let key = *key.value();
                    let entry = self.format.decode(&key, entry.value());
                    let wrong = || {
                        self.corrupt(
                            strip.table,
                            &key,
                            "its index entry is not what was written".to_owned(),
                        )
                    };
                    Ok((key, entry.ok_or_else(wrong)?))
                }))
            }
        }
    }

    /// Returns the index entries of a strip, of one run or all, of one part or all, in key order.
    pub(super) fn entries(
        &self,
        strip: Strip,
        run: Option<RunId>,
        part: Option<u32>,
    ) -> Result<Vec<(Key, Entry)>> {
        self.index(strip, layout::bounds(run, part), |entries| {
            let wanted = |key: &Key| part.is_none_or(|part| part == layout::unkey(key).1);
            entries
                .filter(|item| item.as_ref().map_or(true, |(key, _)| wanted(key)))
                .collect()
        })
    }

    /// Returns the runs that the index of a strip has entries of, whatever is in them.
    pub(super) fn runs_in(&self, strip: Strip) -> Result<BTreeSet<RunId>> {
        let name = strip.index_name();
        let run = |key: &Key| layout::unkey(key).0;
        match strip.share {
            Share::Whole => {
                let table = self.table(Index1::new(&name))?;
                table.iter()?.map(|item| Ok(run(item?.0.value()))).collect()
            }
            Share::Narrow | Share::Wide => {
                let table = self.table(Index2::new(&name))?;
                table.iter()?.map(|item| Ok(run(item?.0.value()))).collect()
            }
        }
    }

    /// Returns the bytes of all blocks of a narrow or wide strip, by what its index says in whichever format.
    pub(super) fn bytes_in(&self, strip: Strip) -> Result<u64> {
        let name = strip.index_name();
        let mut bytes = 0;
        for item in self.table(Index2::new(&name))?.iter()? {
            let head = item?.1.value().first_chunk().map(Entry::from_v1);
            bytes += head.map_or(0, |entry| u64::from(entry.length));
        }
        Ok(bytes)
    }

    /// Returns the blocks of a strip that have rows of (run, part) from `first` to before `end`, in order.
    pub(super) fn overlapping(
        &self,
        strip: Strip,
        (run, part): (RunId, u32),
        (first, end): (u64, u64),
    ) -> Result<Vec<(Key, Entry)>> {
        let Some(last) = end.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let range = (layout::key(run, part, 0), layout::key(run, part, last));
        self.index(strip, range, |entries| {
            let mut found = Vec::new();
            // Blocks are disjoint, so from the back the first one that ends before the rows ends the search.
            for item in entries.rev() {
                let (key, entry) = item?;
                if layout::unkey(&key).2 + u64::from(entry.rows) <= first {
                    break;
                }
                found.push((key, entry));
            }
            found.reverse();
            Ok(found)
        })
    }

    /// Returns a block, after every check.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is not what was written, or the disk's error.
    pub(super) fn read(&self, strip: Strip, key: &Key, entry: &Entry) -> Result<Block> {
        self.kept.or_read(strip, key, entry, || {
            let corrupt = |reason| self.corrupt(strip.table, key, reason);
            let name = strip.blocks_name();
            let blocks = self.table(Blocks::new(&name))?;
            let block = blocks.get(key)?;
            let block = block.ok_or_else(|| corrupt(MISSING.to_owned()))?;
            if let Some(tally) = self.tally {
                tally.add(block.value().len());
            }
            strip.decode(key, entry, block.value()).map_err(corrupt)
        })
    }

    /// Says whether the blocks of a strip have all rows of (run, part) from `first` to before `end`.
    pub(super) fn has_rows(
        &self,
        strip: Strip,
        place: (RunId, u32),
        (first, end): (u64, u64),
    ) -> Result<bool> {
        let mut known = first;
        for (key, entry) in self.overlapping(strip, place, (first, end))? {
            let (_, _, begin) = layout::unkey(&key);
            if begin <= known {
                known = begin + u64::from(entry.rows);
            }
        }
        Ok(known >= end)
    }

    /// Returns the keys of the blocks of a strip that its index does not name.
    pub(super) fn strays(&self, strip: Strip) -> Result<Vec<Key>> {
        let name = strip.blocks_name();
        let blocks = self.table(Blocks::new(&name))?;
        let mut strays = Vec::new();
        for item in blocks.iter()? {
            let key = *item?.0.value();
            if self.index(strip, (key, key), |entries| Ok(entries.next().is_none()))? {
                strays.push(key);
            }
        }
        Ok(strays)
    }

    /// Returns stretches of rows of a table, of one run or all, of one part or all, in key order; each can be
    /// read with `columns` from one block a strip.
    pub(super) fn infos(
        &self,
        table: Table,
        run: Option<RunId>,
        part: Option<u32>,
        columns: &Projection,
    ) -> Result<Vec<BlockInfo>> {
        let places = columns.places(table);
        let keys = self.format.keys(table);
        let infos = self.entries(keys, run, part)?;
        let mut infos: Vec<_> = infos
            .iter()
            .map(|(key, entry)| BlockInfo::new(key, entry))
            .collect();
        for strip in self.format.strips(table) {
            if strip != keys && strip.columns().iter().any(|place| places.contains(place)) {
                infos = cut_by(infos, &self.entries(strip, run, part)?);
            }
        }
        Ok(infos)
    }

    /// Returns the row at (run, part, index), if it is there.
    pub(super) fn row(&self, table: Table, run: RunId, part: u32, index: u64) -> Result<Option<RecordBatch>> {
        let strip = self.format.keys(table);
        let end = index.saturating_add(1);
        let found = self.overlapping(strip, (run, part), (index, end))?;
        let Some((_, entry)) = found.first() else {
            return Ok(None);
        };
        let info = BlockInfo {
            run,
            part,
            first: index,
            rows: 1,
            width: entry.width,
            bytes: 0,
            class_name: entry.class_name.clone(),
        };
        Ok(Some(self.stretch(table, &info, &Projection::All)?))
    }

    /// Returns the width of a run's vectors in a table, if it has rows there.
    pub(super) fn width(&self, table: Table, run: RunId) -> Result<Option<usize>> {
        let strip = self.format.keys(table);
        self.index(strip, layout::bounds(Some(run), None), |entries| {
            let first = entries.next().transpose()?;
            Ok(first.map(|(_, entry)| entry.width as usize))
        })
    }

    /// Counts the blocks that reading some columns of these stretches takes, without reading them.
    pub(super) fn cost(&self, table: Table, infos: &[BlockInfo], columns: &Projection) -> Result<Tally> {
        let (tally, places) = (Tally::default(), columns.places(table));
        for strip in self.format.strips(table) {
            if !strip.columns().iter().any(|place| places.contains(place)) {
                continue;
            }
            let mut counted = BTreeSet::new();
            for info in infos {
                let range = (info.first, info.end());
                for (key, entry) in self.overlapping(strip, (info.run, info.part), range)? {
                    if counted.insert(key) {
                        tally.add(entry.length as usize);
                    }
                }
            }
        }
        Ok(tally)
    }

    /// Returns rows that are stored, in the order of their indexes.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they are not all there or not what was written, or the disk's error.
    pub(super) fn stretch(
        &self,
        table: Table,
        info: &BlockInfo,
        columns: &Projection,
    ) -> Result<RecordBatch> {
        let places = columns.places(table);
        let mut found = BTreeMap::new();
        for strip in self.format.strips(table) {
            let (mut wanted, mut at) = (Vec::new(), Vec::new());
            for (in_strip, place) in strip.columns().into_iter().enumerate() {
                if places.contains(&place) {
                    wanted.push(place);
                    at.push(in_strip);
                }
            }
            if !wanted.is_empty() {
                let rows = self.strip_rows(strip, info, &at)?;
                found.extend(wanted.into_iter().zip(rows.columns().to_vec()));
            }
        }
        let columns = places.iter().filter_map(|place| found.get(place).cloned());
        let schema = table.schema(info.width as usize).project(&places);
        let schema = Arc::new(schema.map_err(SchemaError::Arrow)?);
        let options = RecordBatchOptions::new().with_row_count(Some(info.rows as usize));
        let rows = RecordBatch::try_new_with_options(schema, columns.collect(), &options);
        rows.map_err(|error| {
            let key = layout::key(info.run, info.part, info.first);
            self.corrupt(
                table,
                &key,
                format!("it is not what the index says of it: {error}"),
            )
        })
    }

    /// Returns the columns at these places in a strip of rows that are stored.
    fn strip_rows(&self, strip: Strip, info: &BlockInfo, places: &[usize]) -> Result<RecordBatch> {
        let mut pieces = Vec::new();
        let mut next = info.first;
        for (key, entry) in self.overlapping(strip, (info.run, info.part), (info.first, info.end()))? {
            let (_, _, first) = layout::unkey(&key);
            if first > next {
                break;
            }
            let stop = info.end().min(first + u64::from(entry.rows));
            let block = self.read(strip, &key, &entry)?;
            pieces.push(block.slice((next - first) as usize, (stop - next) as usize, places)?);
            next = stop;
        }
        if next < info.end() {
            let key = layout::key(info.run, info.part, next);
            return Err(self.corrupt(strip.table, &key, MISSING.to_owned()));
        }
        match pieces.as_slice() {
            [piece] => Ok(piece.clone()),
            [] => {
                let schema = strip.schema(info.width as usize)?.project(places);
                Ok(RecordBatch::new_empty(Arc::new(
                    schema.map_err(SchemaError::Arrow)?,
                )))
            }
            [head, ..] => Ok(concat_batches(head.schema_ref(), &pieces).map_err(SchemaError::Arrow)?),
        }
    }

    /// Returns the error for a block that is not right.
    pub(super) fn corrupt(&self, table: Table, key: &Key, reason: String) -> StoreError {
        let (run, part, index) = layout::unkey(key);
        StoreError::Corrupt {
            path: self.path.to_owned(),
            table,
            run,
            part,
            index,
            reason,
        }
    }
}

impl Writer<'_> {
    /// Makes the tables of artifacts that are not there.
    pub fn make_artifact_tables(&self) -> Result<()> {
        for strip in self.format.all_strips() {
            let (index, blocks) = (strip.index_name(), strip.blocks_name());
            match strip.share {
                Share::Whole => self.make(Index1::new(&index))?,
                Share::Narrow | Share::Wide => self.make(Index2::new(&index))?,
            }
            self.make(Blocks::new(&blocks))?;
        }
        Ok(())
    }

    /// Writes down the format and, from the third on, which tables there are.
    pub fn mark(&self) -> Result<()> {
        let version = self.format.version().to_string();
        self.put(layout::META, "version", version.as_str())?;
        if self.format < Format::V3 {
            return Ok(());
        }
        let mut names = layout::NAMES.join(" ");
        for strip in self.format.all_strips() {
            names = format!("{names} {} {}", strip.index_name(), strip.blocks_name());
        }
        self.put(layout::META, layout::TABLES, names.as_str())
    }

    /// Seals the index entries of a store of format 2.
    pub fn seal(&self) -> Result<()> {
        let unsealed = self.view().read_as(Format::V2);
        for strip in self.format.all_strips() {
            let name = strip.index_name();
            for (key, entry) in unsealed.entries(strip, None, None)? {
                let entry = self.format.encode(&key, &entry);
                self.put(Index2::new(&name), &key, entry.as_slice())?;
            }
        }
        Ok(())
    }

    /// Removes the tables of artifacts of a format, with all that is in them.
    pub fn drop_artifact_tables(&self, format: Format) -> Result<()> {
        for strip in format.all_strips() {
            self.drop_table(&strip.index_name())?;
            self.drop_table(&strip.blocks_name())?;
        }
        Ok(())
    }

    /// Writes rows of one part at consecutive indexes from `first` on; none of them may be stored.
    pub fn insert(&self, table: Table, run: RunId, part: u32, first: u64, rows: &RecordBatch) -> Result<()> {
        let width = format::width(rows) as u32;
        // What says that rows are there comes after the rest of them.
        for strip in self.format.strips(table).into_iter().rev() {
            let columns = rows.project(&strip.columns()).map_err(SchemaError::Arrow)?;
            for cut in strip.cut(first, width, &columns)? {
                let cut = cut?;
                let key = layout::key(run, part, first + cut.offset);
                self.put_block(strip, &key, &cut.entry, &cut.block)?;
            }
        }
        Ok(())
    }

    /// Writes a block, then the index entry that names it.
    pub fn put_block(&self, strip: Strip, key: &Key, entry: &Entry, block: &[u8]) -> Result<()> {
        let (index, blocks) = (strip.index_name(), strip.blocks_name());
        self.put(Blocks::new(&blocks), key, block)?;
        match strip.share {
            Share::Whole => self.put(Index1::new(&index), key, &entry.to_v1()),
            Share::Narrow | Share::Wide => {
                let entry = self.format.encode(key, entry);
                self.put(Index2::new(&index), key, entry.as_slice())
            }
        }
    }

    /// Removes a block and its index entry.
    pub fn remove_block(&self, strip: Strip, key: &Key) -> Result<()> {
        self.remove_between(strip, (*key, *key))
    }

    /// Removes all rows of a run.
    pub fn remove_rows(&self, run: RunId) -> Result<()> {
        for strip in self.format.all_strips() {
            self.remove_between(strip, layout::bounds(Some(run), None))?;
        }
        Ok(())
    }

    /// Removes the entries and blocks of a strip from `low` to `high`.
    fn remove_between(&self, strip: Strip, (low, high): (Key, Key)) -> Result<()> {
        let (index, blocks) = (strip.index_name(), strip.blocks_name());
        match strip.share {
            Share::Whole => self.remove_range(Index1::new(&index), &low..=&high)?,
            Share::Narrow | Share::Wide => self.remove_range(Index2::new(&index), &low..=&high)?,
        }
        self.remove_range(Blocks::new(&blocks), &low..=&high)
    }
}

/// Cuts stretches of rows where the blocks of another strip begin and end.
fn cut_by(infos: Vec<BlockInfo>, blocks: &[(Key, Entry)]) -> Vec<BlockInfo> {
    let mut blocks = blocks
        .iter()
        .map(|(key, entry)| BlockInfo::new(key, entry))
        .peekable();
    let mut cut = Vec::with_capacity(blocks.len().max(infos.len()));
    for info in infos {
        let part = (info.run, info.part);
        let mut bytes = info.bytes;
        let mut at = info.first;
        while at < info.end() {
            while blocks
                .next_if(|block| (block.run, block.part, block.end()) <= (info.run, info.part, at))
                .is_some()
            {}
            let block = blocks.peek().filter(|block| (block.run, block.part) == part);
            let stop = match block {
                Some(block) if block.first <= at => block.end().min(info.end()),
                // Rows that the other strip does not have are a stretch too: reading them says so.
                Some(block) => block.first.min(info.end()),
                None => info.end(),
            };
            let begins = block.filter(|block| block.first == at);
            cut.push(BlockInfo {
                first: at,
                rows: (stop - at) as u32,
                bytes: std::mem::take(&mut bytes) + begins.map_or(0, |block| block.bytes),
                ..info.clone()
            });
            at = stop;
        }
    }
    cut
}
