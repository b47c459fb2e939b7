//! Large bytes: in chunks, addressed by their BLAKE3, stored once.

use std::path::Path;

use redb::{ReadableTable, WriteTransaction};

use super::error::At;
use super::layout::{self, CHUNK};
use super::{Result, Store, StoreError};

impl Store {
    /// Stores bytes, if they are not there yet, and returns their address: the BLAKE3 in hex.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<String> {
        let hash = blake3::hash(bytes);
        let transaction = self.write()?;
        if put(&transaction, &self.path, &hash, bytes)? {
            transaction.commit().at(&self.path)?;
        }
        Ok(hash.to_hex().to_string())
    }

    /// Returns the bytes of that address.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlob`] if there are none, [`StoreError::CorruptBlob`] if they are not what was stored.
    pub fn blob(&self, hash: &str) -> Result<Vec<u8>> {
        let transaction = self.read()?;
        let info = transaction.open_table(layout::BLOB_INFO).at(&self.path)?;
        let (hash, size) = require(&info, &self.path, hash)?;
        let chunks = transaction.open_table(layout::BLOBS).at(&self.path)?;
        let mut bytes = Vec::new();
        read(&chunks, &self.path, &hash, size, |chunk| {
            bytes.extend_from_slice(chunk)
        })?;
        Ok(bytes)
    }

    /// Says whether bytes of that address are stored.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn has_blob(&self, hash: &str) -> Result<bool> {
        let transaction = self.read()?;
        let info = transaction.open_table(layout::BLOB_INFO).at(&self.path)?;
        match require(&info, &self.path, hash) {
            Ok(_) => Ok(true),
            Err(StoreError::UnknownBlob { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Stores bytes under their hash; returns false if they were there.
pub(super) fn put(
    transaction: &WriteTransaction,
    path: &Path,
    hash: &blake3::Hash,
    bytes: &[u8],
) -> Result<bool> {
    let mut info = transaction.open_table(layout::BLOB_INFO).at(path)?;
    if info.get(hash.as_bytes()).at(path)?.is_some() {
        return Ok(false);
    }
    let mut chunks = transaction.open_table(layout::BLOBS).at(path)?;
    for (number, chunk) in bytes.chunks(CHUNK).enumerate() {
        let key = layout::chunk_key(hash.as_bytes(), number as u32);
        chunks.insert(&key, chunk).at(path)?;
    }
    info.insert(hash.as_bytes(), bytes.len() as u64).at(path)?;
    Ok(true)
}

/// Returns the hash and the length of a blob that must be there.
pub(super) fn require(
    info: &impl ReadableTable<&'static [u8; 32], u64>,
    path: &Path,
    hash: &str,
) -> Result<(blake3::Hash, u64)> {
    let unknown = || StoreError::UnknownBlob {
        path: path.to_owned(),
        hash: hash.to_owned(),
    };
    let hash = blake3::Hash::from_hex(hash).map_err(|_| unknown())?;
    let size = info.get(hash.as_bytes()).at(path)?.ok_or_else(unknown)?;
    Ok((hash, size.value()))
}

/// Hands the chunks of a blob to `take` in order, and checks the whole at the end.
pub(super) fn read(
    chunks: &impl ReadableTable<&'static [u8; 36], &'static [u8]>,
    path: &Path,
    hash: &blake3::Hash,
    size: u64,
    mut take: impl FnMut(&[u8]),
) -> Result<()> {
    let corrupt = |reason: String| StoreError::CorruptBlob {
        path: path.to_owned(),
        hash: hash.to_hex().to_string(),
        reason,
    };
    let mut hasher = blake3::Hasher::new();
    let low = layout::chunk_key(hash.as_bytes(), 0);
    let high = layout::chunk_key(hash.as_bytes(), u32::MAX);
    for (expected, item) in (0_u32..).zip(chunks.range::<&[u8; 36]>(&low..=&high).at(path)?) {
        let (key, chunk) = item.at(path)?;
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
