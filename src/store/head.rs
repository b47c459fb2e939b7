//! The head of the file: whether redb wrote it, and how long the file is by it. It is looked at before redb
//! touches the file.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use super::{Result, StoreError};
use crate::content::Content;
use crate::input;

/// The first bytes of every redb file.
const REDB_MAGIC: [u8; 9] = [b'r', b'e', b'd', b'b', 0x1A, 0x0A, 0xA9, 0x0D, 0x0A];
/// The length of redb's head: 64 bytes, and two commit slots of 128.
const HEAD: usize = 320;
/// Where redb says how large a page is, how many pages a region's head and its data have, how many full
/// regions there are, and how many pages the last one has: u32 each, little-endian.
const SIZES: usize = 12;
/// More than a file has in which redb has stored nothing.
const BIRTH: u64 = 1 << 20;
/// A writer that makes the file shorter writes the head first, one that makes it the magic last: so often is
/// it looked at again.
const LOOKS: u32 = 5;

/// Looks whether there is a redb file that is as long as it says.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::NotAStore`], [`StoreError::Truncated`].
pub(super) fn look(path: &Path) -> Result<()> {
    let mut looks = 1;
    loop {
        match look_once(path) {
            Err(error) if looks < LOOKS && in_flux(path, &error) => {
                looks += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            result => return result,
        }
    }
}

/// Says whether another process may be at what makes the file look wrong.
fn in_flux(path: &Path, error: &StoreError) -> bool {
    let may_be = match error {
        StoreError::Truncated { .. } => true,
        StoreError::NotAStore { .. } => input::open(path).and_then(unborn).unwrap_or(false),
        _ => false,
    };
    may_be && is_held(path)
}

/// Says whether a process holds the file to write it, as far as that can be told.
fn is_held(path: &Path) -> bool {
    input::open(path).is_ok_and(|file| file.try_lock_shared().is_err())
}

/// Says whether a file is what a process leaves that was killed while it made a store: redb lets the file
/// grow, writes its head and last the magic. Nothing was ever stored there. An empty file may be anybody's.
fn unborn(mut file: File) -> std::io::Result<bool> {
    if !(1..=BIRTH).contains(&file.metadata()?.len()) {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let magic = bytes.iter().take(REDB_MAGIC.len());
    Ok(magic.chain(bytes.iter().skip(HEAD)).all(|byte| *byte == 0))
}

/// Makes a file empty that a process left which was killed while it made a store. Returns whether it is one.
///
/// # Errors
/// [`StoreError::Io`].
pub(super) fn clear_unborn(path: &Path) -> Result<bool> {
    let cleared = || {
        let file = File::options().read(true).write(true).open(path)?;
        // Whoever makes the store at this moment holds the lock.
        if file.try_lock().is_err() || !unborn(file.try_clone()?)? {
            return Ok(false);
        }
        file.set_len(0)?;
        Ok(true)
    };
    cleared().map_err(|source| StoreError::Io {
        path: path.to_owned(),
        source,
    })
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
    if path.is_dir() {
        return Err(StoreError::IsFolder {
            path: path.to_owned(),
        });
    }
    let mut head = Vec::new();
    let mut file = input::open(path).map_err(io)?;
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
        Content::Redb | Content::Unknown => "is no redb file".to_owned(),
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
    fn a_store_whose_maker_was_killed_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.redb");
        drop(Store::create(&path).unwrap());
        let mut begun = std::fs::read(&path).unwrap()[..HEAD].to_vec();
        begun[..REDB_MAGIC.len()].fill(0);
        begun.resize(18 * 4096, 0);
        for bytes in [vec![0; 18 * 4096], begun.clone()] {
            std::fs::write(&path, &bytes).unwrap();
            assert!(matches!(Store::open(&path), Err(StoreError::NotAStore { .. })));
            assert_eq!(std::fs::read(&path).unwrap(), bytes);
            drop(Store::open_or_create(&path).unwrap());
            assert!(Store::open_read_only(&path).is_ok());
        }
        // Where something was stored, or someone is at work, it stays.
        begun[5000] = 1;
        std::fs::write(&path, &begun).unwrap();
        assert!(Store::open_or_create(&path).is_err());
        begun[5000] = 0;
        std::fs::write(&path, &begun).unwrap();
        let maker = File::open(&path).unwrap();
        maker.lock_shared().unwrap();
        assert!(Store::open_or_create(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), begun);
    }

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
            (b"words", "is text"),
        ] {
            let words = words(bytes);
            assert!(words.contains(expected), "{words}");
        }
        let said = Store::open(folder.path()).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains("is a folder; a store is a file"), "{said}");
        std::fs::write(&path, &whole).unwrap();
        assert!(Store::open_read_only(&path).is_ok());
    }
}
