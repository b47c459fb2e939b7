//! Large bytes: in chunks, addressed by their BLAKE3, stored once.

use super::layout::{self, CHUNK};
use super::view::{View, Writer};
use super::{Result, Store, StoreError};
use arrow::array::{AsArray, RecordBatch};

impl Store {
    /// Stores bytes, if they are not there yet, and returns their address: the BLAKE3 in hex.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<String> {
        let hash = blake3::hash(bytes);
        let writer = self.write()?;
        if put(&writer, &hash, bytes)? {
            writer.commit()?;
        }
        Ok(hash.to_hex().to_string())
    }
}

/// Returns the bytes of an address.
pub(super) fn get(view: &View<'_>, hash: &str) -> Result<Vec<u8>> {
    let (hash, size) = require(view, hash)?;
    let mut bytes = Vec::new();
    read(view, &hash, size, |chunk| bytes.extend_from_slice(chunk))?;
    Ok(bytes)
}

/// Says whether bytes of that address are stored.
pub(super) fn has(view: &View<'_>, hash: &str) -> Result<bool> {
    match require(view, hash) {
        Ok(_) => Ok(true),
        Err(StoreError::UnknownBlob { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns the addresses and lengths of all blobs.
pub(super) fn all(view: &View<'_>) -> Result<Vec<(blake3::Hash, u64)>> {
    let info = view.table(layout::BLOB_INFO)?;
    let blob = |item: Result<(redb::AccessGuard<'_, &[u8; 32]>, redb::AccessGuard<'_, u64>)>| {
        let (hash, size) = item?;
        Ok((blake3::Hash::from_bytes(*hash.value()), size.value()))
    };
    info.iter()?.map(blob).collect()
}

/// Returns the addresses that rows of `checkpoints` name.
pub(super) fn names(checkpoints: &RecordBatch) -> Vec<String> {
    let names = checkpoints
        .column_by_name("blob")
        .and_then(|c| c.as_string_opt::<i32>());
    let names = names.into_iter().flatten().flatten();
    names.map(str::to_owned).collect()
}

/// Stores bytes under their hash; returns false if they were there.
pub(super) fn put(writer: &Writer<'_>, hash: &blake3::Hash, bytes: &[u8]) -> Result<bool> {
    let is_there = writer
        .view()
        .table(layout::BLOB_INFO)?
        .get(hash.as_bytes())?
        .is_some();
    if is_there {
        return Ok(false);
    }
    for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
        let key = layout::chunk_key(hash.as_bytes(), number as u32);
        writer.put(layout::BLOBS, &key, chunk)?;
    }
    writer.put(layout::BLOB_INFO, hash.as_bytes(), bytes.len() as u64)?;
    Ok(true)
}

/// Removes a blob, whatever of it is there.
pub(super) fn remove(writer: &Writer<'_>, hash: &blake3::Hash) -> Result<()> {
    writer.remove(layout::BLOB_INFO, hash.as_bytes())?;
    let low = layout::chunk_key(hash.as_bytes(), 0);
    let high = layout::chunk_key(hash.as_bytes(), u32::MAX);
    writer.remove_range(layout::BLOBS, &low..=&high)
}

/// Returns the hash and the length of a blob that must be there.
pub(super) fn require(view: &View<'_>, hash: &str) -> Result<(blake3::Hash, u64)> {
    let unknown = || StoreError::UnknownBlob {
        path: view.path.to_owned(),
        hash: hash.to_owned(),
    };
    let hash = blake3::Hash::from_hex(hash).map_err(|_| unknown())?;
    let info = view.table(layout::BLOB_INFO)?;
    let size = info.get(hash.as_bytes())?.ok_or_else(unknown)?.value();
    Ok((hash, size))
}

/// Hands the chunks of a blob to `take` in order, and checks the whole at the end.
pub(super) fn read(
    view: &View<'_>,
    hash: &blake3::Hash,
    size: u64,
    mut take: impl FnMut(&[u8]),
) -> Result<()> {
    let corrupt = |reason: String| StoreError::CorruptBlob {
        path: view.path.to_owned(),
        hash: hash.to_hex().to_string(),
        reason,
    };
    let mut hasher = blake3::Hasher::new();
    let low = layout::chunk_key(hash.as_bytes(), 0);
    let high = layout::chunk_key(hash.as_bytes(), u32::MAX);
    let chunks = view.table(layout::BLOBS)?;
    for (expected, item) in (0_u32..).zip(chunks.range::<&[u8; 36]>(&low..=&high)?) {
        let (key, chunk) = item?;
        if *key.value() != layout::chunk_key(hash.as_bytes(), expected) {
            return Err(corrupt(format!("the chunk {expected} is missing")));
        }
        hasher.update(chunk.value());
        take(chunk.value());
    }
    if hasher.count() != size {
        return Err(corrupt(format!(
            "it has {} bytes, expected {size}",
            hasher.count()
        )));
    }
    if hasher.finalize() != *hash {
        return Err(corrupt("its bytes do not match their BLAKE3".to_owned()));
    }
    Ok(())
}
