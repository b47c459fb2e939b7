//! The tables of the file other than those of artifacts, and how keys are written.

use dream_schema::RunId;
use redb::TableDefinition;

/// What stands under `magic` in `meta`.
pub(super) const MAGIC: &str = "dream-ood store";
/// The features (beyond the version) that this program knows.
pub(super) const FEATURES: [&str; 1] = [PARTIAL];
/// The feature of a store in which a run is partial. A program that does not know it would take what is left
/// of the run for its beginning, go on from there, and finish it with rows missing.
pub(super) const PARTIAL: &str = "partial runs";

/// The key in `meta` of the names of the tables that the store has, with spaces between them.
pub(super) const TABLES: &str = "tables";

/// The length of a key: run, part, first index.
pub(super) const KEY: usize = 28;
/// A key: run, part, first index.
pub(super) type Key = [u8; KEY];
/// What redb adds to a value in a page of its own: header, offset, and the key (at most 36 bytes), rounded
/// up.
pub(super) const PAGE_OVERHEAD: usize = 64;
/// The largest chunk of a blob: with its overhead it fills 1 MiB.
pub(super) const CHUNK: usize = (1 << 20) - PAGE_OVERHEAD;

pub(super) type Meta = TableDefinition<'static, &'static str, &'static str>;
pub(super) type Runs = TableDefinition<'static, &'static [u8; 16], &'static [u8]>;
pub(super) type Aliases = TableDefinition<'static, &'static str, &'static [u8; 16]>;
pub(super) type Datasets = TableDefinition<'static, &'static str, &'static [u8]>;
pub(super) type BlobInfo = TableDefinition<'static, &'static [u8; 32], u64>;
pub(super) type Blobs = TableDefinition<'static, &'static [u8; 36], &'static [u8]>;

/// The names of these tables but `meta`.
pub(super) const NAMES: [&str; 5] = ["runs", "aliases", "datasets", "blob_info", "blobs"];

pub(super) const META: Meta = TableDefinition::new("meta");
pub(super) const RUNS: Runs = TableDefinition::new("runs");
pub(super) const ALIASES: Aliases = TableDefinition::new("aliases");
pub(super) const DATASETS: Datasets = TableDefinition::new("datasets");
pub(super) const BLOB_INFO: BlobInfo = TableDefinition::new("blob_info");
pub(super) const BLOBS: Blobs = TableDefinition::new("blobs");

/// Returns the key of (run, part, index). Keys sort as the triples do.
pub(super) fn key(run: RunId, part: u32, index: u64) -> Key {
    let mut key = [0; KEY];
    let (head, tail) = key.split_at_mut(16);
    let (middle, last) = tail.split_at_mut(4);
    head.copy_from_slice(&run.0);
    middle.copy_from_slice(&part.to_be_bytes());
    last.copy_from_slice(&index.to_be_bytes());
    key
}

/// Returns the (run, part, index) of a key.
pub(super) fn unkey(key: &Key) -> (RunId, u32, u64) {
    let mut run = [0; 16];
    let mut part = [0; 4];
    let mut index = [0; 8];
    run.copy_from_slice(&key[..16]);
    part.copy_from_slice(&key[16..20]);
    index.copy_from_slice(&key[20..]);
    (RunId(run), u32::from_be_bytes(part), u64::from_be_bytes(index))
}

/// Returns the first and the last key that rows of `run` (or of any) and `part` (or any) can have. With a
/// part but no run the range also holds other parts.
pub(super) fn bounds(run: Option<RunId>, part: Option<u32>) -> (Key, Key) {
    match (run, part) {
        (Some(run), Some(part)) => (key(run, part, 0), key(run, part, u64::MAX)),
        (Some(run), None) => (key(run, 0, 0), key(run, u32::MAX, u64::MAX)),
        (None, _) => ([0; KEY], [0xFF; KEY]),
    }
}

/// Returns the key of a chunk of a blob.
pub(super) fn chunk_key(hash: &[u8; 32], chunk: u32) -> [u8; 36] {
    let mut key = [0; 36];
    key[..32].copy_from_slice(hash);
    key[32..].copy_from_slice(&chunk.to_be_bytes());
    key
}
