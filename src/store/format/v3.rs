//! Format 3: that of version 2, whose index entries end with a seal: the first bytes of the BLAKE3 of the key
//! and of the entry before it. So what is answered from an index alone (how many rows, of which class, how
//! wide) is as sure as what is in a block.

use super::Entry;
use crate::store::layout::Key;

/// The length of a seal.
const SEAL: usize = 8;

/// Returns the seal of an entry under a key.
fn seal(key: &Key, entry: &[u8]) -> [u8; SEAL] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key).update(entry);
    let mut seal = [0; SEAL];
    hasher.finalize_xof().fill(&mut seal);
    seal
}

impl Entry {
    /// Returns the bytes of the entry under a key.
    pub(in crate::store) fn to_v3(&self, key: &Key) -> Vec<u8> {
        let mut bytes = self.to_v2();
        bytes.extend_from_slice(&seal(key, &bytes));
        bytes
    }

    /// Reads the bytes of an entry under a key; none if they are not what was written there.
    pub(in crate::store) fn from_v3(key: &Key, bytes: &[u8]) -> Option<Self> {
        let (entry, sealed) = bytes.split_last_chunk::<SEAL>()?;
        if seal(key, entry) != *sealed {
            return None;
        }
        Self::from_v2(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_bit_of_an_entry_or_its_key_is_flipped_it_is_not_read() {
        let key = [5; 28];
        let entry = Entry {
            class_name: Some("maple tree".into()),
            ..Entry::new(500, 768, b"rows")
        };
        let bytes = entry.to_v3(&key);
        assert_eq!(Entry::from_v3(&key, &bytes), Some(entry));
        for bit in 0..8 * bytes.len() {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Entry::from_v3(&key, &flipped), None, "bit {bit}");
        }
        assert_eq!(Entry::from_v3(&[4; 28], &bytes), None);
        for length in 0..bytes.len() {
            assert_eq!(Entry::from_v3(&key, &bytes[..length]), None, "{length} bytes");
        }
    }
}
