//! The head of the file: whether redb wrote it, and how long the file is by it. It is looked at before redb
//! touches the file.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use super::{Result, StoreError};
use crate::content::Content;

/// The first bytes of every redb file.
const REDB_MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];
/// The length of redb's head: 64 bytes, and two commit slots of 128.
const HEAD: usize = 320;
/// Where redb says how large a page is, how many pages a region's head and its data have, how many full
/// regions there are, and how many pages the last one has: u32 each, little-endian.
const SIZES: usize = 12;
/// A writer that makes the file shorter writes the head first: so often is it looked at again.
const LOOKS: u32 = 5;

/// Looks whether there is a redb file that is as long as it says.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::NotAStore`], [`StoreError::Truncated`].
pub(super) fn look(path: &Path) -> Result<()> {
    let mut looks = 1;
    loop {
        match look_once(path) {
            Err(StoreError::Truncated { .. }) if looks < LOOKS => {
                looks += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

fn look_once(path: &Path) -> Result<()> {
    let io = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => StoreError::Missing {
            path: path.to_owned(),
        },
        _ => StoreError::Io {
            path: path.to_owned(),
            source,
        },
    };
    let not_a_store = |reason: String| {
        Err(StoreError::NotAStore {
            path: path.to_owned(),
            reason,
        })
    };
    let mut head = Vec::new();
    let mut file = File::open(path).map_err(io)?;
    let by_ref = Read::by_ref(&mut file);
    by_ref.take(HEAD as u64).read_to_end(&mut head).map_err(io)?;
    if head.is_empty() {
        return not_a_store("the file is empty".to_owned());
    }
    if !head.starts_with(&REDB_MAGIC) {
        return not_a_store(match REDB_MAGIC.starts_with(&head) {
            true => format!("it has only {} bytes", head.len()),
            false => format!("it {}", looks_like(&head)),
        });
    }
    let length = file.metadata().map_err(io)?.len();
    match expected(&head) {
        Some(expected) if length >= expected => Ok(()),
        Some(expected) => Err(StoreError::Truncated {
            path: path.to_owned(),
            length,
            expected,
        }),
        None if head.len() < HEAD => not_a_store(format!("it has only {} bytes", head.len())),
        None => Err(StoreError::Damaged {
            path: path.to_owned(),
            reason: "its head does not say how long it is".to_owned(),
        }),
    }
}

/// Returns how long a file with that head is; none if the head cannot be right.
pub(super) fn expected(head: &[u8]) -> Option<u64> {
    let number = |place: usize| {
        let bytes = head.get(SIZES + 4 * place..)?.first_chunk::<4>()?;
        Some(u64::from(u32::from_le_bytes(*bytes)))
    };
    let (page, region_head, region_data) = (number(0)?, number(1)?, number(2)?);
    let (full, last) = (number(3)?, number(4)?);
    if page != 4096
        || region_head > 1 << 20
        || region_data == 0
        || region_data > 1 << 20
        || last > region_data
    {
        return None;
    }
    let last = if last > 0 { region_head + last } else { 0 };
    let pages = full
        .checked_mul(region_head + region_data)?
        .checked_add(last + 1)?;
    pages.checked_mul(page)
}

/// Says what a file is whose first bytes are not redb's.
fn looks_like(head: &[u8]) -> String {
    let content = Content::of(head);
    match content {
        Content::Text | Content::Json | Content::Redb | Content::Unknown => "is no redb file".to_owned(),
        Content::Parquet => format!("is {content}: `export` writes such files"),
        Content::Zip => format!("is {content} (also .npz and .pt are such)"),
        Content::Gzip | Content::Bzip2 | Content::Xz | Content::Zstd => format!("is {content}: unpack it"),
        other => format!("is {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    #[test]
    fn what_is_no_store_or_not_all_of_one_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        drop(Store::create(&path).unwrap());
        let whole = std::fs::read(&path).unwrap();
        let words = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let error = Store::open(&path).unwrap_err();
            let read = Store::open_read_only(&path).unwrap_err();
            assert_eq!(error.to_string(), read.to_string());
            error.to_string()
        };
        for (bytes, expected) in [
            (&b""[..], "is not a dream-ood store: the file is empty"),
            (b"red", "is not a dream-ood store: it has only 3 bytes"),
            (&whole[..200], "is cut short: 200 of"),
            (&whole[..4096], "is cut short: 4096 of"),
            (&whole[..whole.len() - 1], "is cut short"),
            (b"PAR1 and so on", "is a Parquet file"),
            (b"words", "is no redb file"),
        ] {
            let words = words(bytes);
            assert!(words.contains(expected), "{words}");
        }
        assert!(matches!(Store::open(folder.path()), Err(StoreError::Io { .. })));
        std::fs::write(&path, &whole).unwrap();
        assert!(Store::open_read_only(&path).is_ok());
    }
}
