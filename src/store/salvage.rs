//! What the pages of a file hold, whether something names them or not.
//!
//! A leaf of redb's trees begins with a byte 1, a byte that is not used, the number of pairs (u16), the ends
//! of the keys and of the values (u32 each, little-endian, of those that are not all equally long), then the
//! keys and the values. A leaf does not say to which table it belongs, so everything is tried, and only that
//! is taken which proves itself: a record whose question has the id that is its key, a block whose BLAKE3 is
//! that of an index entry under the same key, a blob whose BLAKE3 is its address.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use dream_schema::{Dataset, Run, RunId, Status};
use memmap2::Mmap;

use super::error::At;
use super::format::{Entry, Format, Share, Strip, v1};
use super::layout::{self, CHUNK, KEY, Key};
use super::{Result, Store, StoreError, blob, dataset, names, runs};
use crate::input;

/// redb's pages; a leaf of large values takes several.
const PAGE: usize = 4096;
/// A leaf has fewer pairs than this.
const PAIRS: usize = 1024;

/// What was found in the pages of a file.
pub(super) struct Salvage {
    path: PathBuf,
    bytes: Mmap,
    runs: BTreeMap<RunId, Run>,
    aliases: BTreeMap<String, BTreeSet<RunId>>,
    datasets: BTreeMap<String, Dataset>,
    entries: BTreeMap<Key, Vec<Entry>>,
    /// Values under keys of blocks.
    values: Vec<(Key, Range<usize>)>,
    chunks: BTreeMap<[u8; 36], Vec<Range<usize>>>,
}

impl Salvage {
    /// Looks at every page of a file.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn scan(path: &Path) -> Result<Self> {
        let file = input::open(path).at(path)?;
        if file.metadata().at(path)?.len() == 0 {
            return Err(StoreError::NotAStore {
                path: path.to_owned(),
                reason: "the file is empty".to_owned(),
            });
        }
        // SAFETY: the bytes are only looked at, and whatever they are then is checked; a file that another
        // process cuts meanwhile ends this process, which has nothing that it would lose.
        let bytes = unsafe { Mmap::map(&file) }.at(path)?;
        let mut salvage = Self {
            path: path.to_owned(),
            bytes,
            runs: BTreeMap::new(),
            aliases: BTreeMap::new(),
            datasets: BTreeMap::new(),
            entries: BTreeMap::new(),
            values: Vec::new(),
            chunks: BTreeMap::new(),
        };
        let pages: Vec<usize> = (0..salvage.bytes.len())
            .step_by(PAGE)
            .filter(|page| salvage.bytes.get(*page) == Some(&1))
            .collect();
        for page in &pages {
            salvage.names(*page);
        }
        for page in &pages {
            salvage.rows(*page);
        }
        Ok(salvage)
    }

    /// Says whether no run was found.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns the pairs of the leaf at `page`, if it is one of keys and values of these lengths.
    fn leaf(
        &self,
        page: usize,
        key: Option<usize>,
        value: Option<usize>,
    ) -> Vec<(Range<usize>, Range<usize>)> {
        leaf(self.bytes.get(page..).unwrap_or_default(), key, value)
            .map(|pairs| {
                let moved = |range: Range<usize>| range.start + page..range.end + page;
                pairs
                    .into_iter()
                    .map(|(key, value)| (moved(key), moved(value)))
                    .collect()
            })
            .unwrap_or_default()
    }

    fn at(&self, range: &Range<usize>) -> &[u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// Finds records of runs, aliases, and what is registered.
    fn names(&mut self, page: usize) {
        for (key, value) in self.leaf(page, Some(16), None) {
            let Ok(id) = self.at(&key).try_into().map(RunId) else {
                continue;
            };
            let Ok(run) = runs::parse(&self.path, id, self.at(&value)) else {
                continue;
            };
            // Of several records the one that is further.
            let rank = |run: &Run| (run.status == Status::Finished, run.finished_at, run.started_at);
            if self.runs.get(&id).is_none_or(|known| rank(known) < rank(&run)) {
                self.runs.insert(id, run);
            }
        }
        for (key, value) in self.leaf(page, None, Some(16)) {
            let name = std::str::from_utf8(self.at(&key)).ok();
            let run = self.at(&value).try_into().map(RunId);
            if let (Some(name), Ok(run)) = (name.filter(|name| names::check_alias(name).is_ok()), run) {
                let name = name.to_owned();
                self.aliases.entry(name).or_default().insert(run);
            }
        }
        for (key, value) in self.leaf(page, None, None) {
            let name = std::str::from_utf8(self.at(&key)).unwrap_or_default();
            if let Ok(entry) = dataset::parse(&self.path, name, self.at(&value))
                && entry.name == name
            {
                self.datasets.insert(entry.name.clone(), entry);
            }
        }
    }

    /// Finds what belongs to known runs, and blobs.
    fn rows(&mut self, page: usize) {
        for (key, value) in self.leaf(page, Some(KEY), Some(v1::ENTRY)) {
            if let (Some(key), Ok(entry)) = (self.key(&key), self.at(&value).try_into()) {
                let entry = Entry::from_v1(entry);
                self.entries.entry(key).or_default().push(entry);
            }
        }
        for (key, value) in self.leaf(page, Some(KEY), None) {
            let Some(key) = self.key(&key) else { continue };
            // An entry with a seal is one of format 3; without, it may be one of format 2.
            let formats = [Format::V3, Format::V2];
            if let Some(entry) = formats
                .into_iter()
                .find_map(|format| format.decode(&key, self.at(&value)))
            {
                self.entries.entry(key).or_default().push(entry);
            }
            self.values.push((key, value));
        }
        for (key, value) in self.leaf(page, Some(36), None) {
            if let Ok(key) = self.at(&key).try_into() {
                self.chunks.entry(key).or_default().push(value);
            }
        }
    }

    /// Returns the key of a block of a known run.
    fn key(&self, range: &Range<usize>) -> Option<Key> {
        let key: Key = self.at(range).try_into().ok()?;
        self.runs.contains_key(&layout::unkey(&key).0).then_some(key)
    }

    /// Returns the blocks that an index entry proves, by strip.
    fn blocks(&self) -> Vec<(Strip, Key, &Entry, &[u8])> {
        let mut proved = Vec::new();
        let mut seen = BTreeSet::new();
        for (key, value) in &self.values {
            let block = self.at(value);
            let entries = self.entries.get(key).into_iter().flatten();
            let fits = |entry: &&Entry| entry.length as usize == block.len();
            let mut entries = entries.filter(fits).peekable();
            if entries.peek().is_none() {
                continue;
            }
            let hash = blake3::hash(block);
            if let Some(entry) = entries.find(|entry| hash == entry.hash)
                && seen.insert((*key, entry.hash))
            {
                proved.push((*key, entry, block));
            }
        }
        let strips = || {
            [Format::NEWEST, Format::V1]
                .map(Format::all_strips)
                .into_iter()
                .flatten()
        };
        let mut blocks = Vec::new();
        // Vectors do not say whose they are: the narrow columns of their rows do.
        let mut known = BTreeSet::new();
        for wide in [false, true] {
            for (key, entry, block) in &proved {
                let run = layout::unkey(key).0;
                let strip = strips()
                    .filter(|strip| (strip.share == Share::Wide) == wide)
                    .filter(|strip| !wide || known.contains(&(run, strip.table)))
                    .find(|strip| strip.decode(key, entry, block).is_ok());
                if let Some(strip) = strip {
                    known.insert((run, strip.table));
                    blocks.push((strip, *key, *entry, *block));
                }
            }
        }
        blocks
    }

    /// Writes all that was found to a store at `path`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn store(&self, path: &Path) -> Result<Store> {
        let mut blocks = self.blocks();
        let is_old = blocks.iter().any(|(strip, ..)| strip.share == Share::Whole);
        let format = if is_old { Format::V1 } else { Format::NEWEST };
        blocks.retain(|(strip, ..)| (strip.share == Share::Whole) == is_old);
        // A block may be there twice: as it was put, and joined with others. The longer one has the rows of
        // the shorter.
        let order = |(strip, key, entry, _): &(Strip, Key, &Entry, &[u8])| {
            (strip.index_name(), *key, std::cmp::Reverse(entry.rows))
        };
        blocks.sort_by_cached_key(order);
        let store = Store::create_at(path, format)?;
        let writer = store.write()?;
        let mut last: Option<(Strip, RunId, u32, u64)> = None;
        for (strip, key, entry, block) in blocks {
            let (run, part, first) = layout::unkey(&key);
            if last.is_some_and(|(s, r, p, end)| (s, r, p) == (strip, run, part) && first < end) {
                continue;
            }
            last = Some((strip, run, part, first.saturating_add(u64::from(entry.rows))));
            writer.put_block(strip, &key, entry, block)?;
        }
        let first = |key: &&[u8; 36]| key.ends_with(&[0; 4]);
        for key in self.chunks.keys().filter(first) {
            if let Some((hash, bytes)) = self.blob(key) {
                blob::put(&writer, &hash, &bytes)?;
            }
        }
        for run in self.runs.values() {
            runs::write(&writer, run)?;
        }
        for entry in self.datasets.values() {
            dataset::write(&writer, entry)?;
        }
        // A name that was moved names an older run in older pages: which is which they do not say.
        for (name, named) in &self.aliases {
            if let Some(run) = named.first().filter(|_| named.len() == 1) {
                writer.put(layout::ALIASES, name.as_str(), &run.0)?;
            }
        }
        writer.commit()?;
        Ok(store)
    }

    /// Returns the address and the bytes of the blob whose first chunk has that key, if they are all there.
    fn blob(&self, first: &[u8; 36]) -> Option<(blake3::Hash, Vec<u8>)> {
        let hash = blake3::Hash::from_bytes(*first.first_chunk()?);
        // Freed pages may hold a chunk again, whole or overwritten.
        [true, false].into_iter().find_map(|is_first| {
            let mut bytes = Vec::new();
            for number in 0.. {
                let key = layout::chunk_key(hash.as_bytes(), number);
                let Some(chunk) = self.chunks.get(&key).and_then(|chunks| match is_first {
                    true => chunks.first(),
                    false => chunks.last(),
                }) else {
                    break;
                };
                bytes.extend_from_slice(self.at(chunk));
                if chunk.len() < CHUNK || bytes.len() > self.bytes.len() {
                    break;
                }
            }
            (blake3::hash(&bytes) == hash).then_some((hash, bytes))
        })
    }
}

/// Returns where keys and values of a leaf are, if `page` begins with one of keys and values of these
/// lengths.
fn leaf(page: &[u8], key: Option<usize>, value: Option<usize>) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let pairs = usize::from(u16::from_le_bytes(*page.get(2..)?.first_chunk()?));
    if page.first() != Some(&1) || pairs == 0 || pairs > PAIRS {
        return None;
    }
    let end = |table: usize, pair: usize| {
        let bytes = page.get(4 + 4 * (table * pairs + pair)..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes) as usize)
    };
    let ends = usize::from(key.is_none()) + usize::from(value.is_none());
    let keys_begin = 4 + 4 * ends * pairs;
    let key_end = |pair: usize| match key {
        Some(length) => Some(keys_begin + length * (pair + 1)),
        None => end(0, pair),
    };
    let values_begin = key_end(pairs - 1)?;
    let value_end = |pair: usize| match value {
        Some(length) => Some(values_begin + length * (pair + 1)),
        None => end(ends - 1, pair),
    };
    let (mut key_at, mut value_at) = (keys_begin, values_begin);
    let mut found = Vec::with_capacity(pairs);
    for pair in 0..pairs {
        let (key_to, value_to) = (key_end(pair)?, value_end(pair)?);
        if key_to < key_at || value_to < value_at || value_to > page.len() {
            return None;
        }
        found.push((key_at..key_to, value_at..value_to));
        (key_at, value_at) = (key_to, value_to);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_of_any_bytes_are_read_or_refused() {
        let mut stream = crate::rng::Stream::new(1, "test/leaf", 0, 0);
        for _ in 0..2_000 {
            let length = stream.below(200) as usize;
            let mut page: Vec<u8> = (0..length).map(|_| stream.next_u32() as u8).collect();
            if let [kind, _, low, high, ..] = page.as_mut_slice() {
                (*kind, *low, *high) = (1, *low % 8, 0);
            }
            for key in [None, Some(16), Some(28)] {
                for value in [None, Some(8), Some(44)] {
                    for (key, value) in leaf(&page, key, value).into_iter().flatten() {
                        assert!(page.get(key).is_some() && page.get(value).is_some());
                    }
                }
            }
        }
    }
}
