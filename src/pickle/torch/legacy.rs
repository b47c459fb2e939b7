//! The format before PyTorch 1.6, still written with `_use_new_zipfile_serialization=False`: pickles of a
//! magic number, a version, facts about the machine, the object, and the names of the storages; then each
//! storage, its length as an i64 before it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::describe::{Found, Numbers, Storage, described};
use super::{Place, Result, TorchError};
use crate::pickle::{Pickle, PickleError};

/// Bytes within which the magic number is.
pub(super) const HEAD: usize = 32;
/// The magic number, as a pickle has it.
const MAGIC: &[u8] = b"l\xfc\x9cF\xf9 j\xa8P\x19";
/// The only version that there has been.
const VERSION: i64 = 1001;
/// Bytes that are read at first to find the end of the pickles.
const FIRST: u64 = 1 << 20;

/// Whether a file that begins so is of this format.
pub(super) fn begins(head: &[u8]) -> bool {
    let head = &head[..head.len().min(HEAD)];
    Pickle::parse(head).is_ok_and(|pickle| pickle.root().long() == Some(MAGIC))
}

pub(super) fn tensors(file: &mut File, length: u64) -> Result<Found> {
    let mut bytes = Vec::new();
    let mut wanted = FIRST.min(length);
    loop {
        let missing = wanted - bytes.len() as u64;
        file.take(missing).read_to_end(&mut bytes)?;
        match Pickles::parse(&bytes) {
            // The pickles are longer than what has been read of them.
            Err(TorchError::Pickle(PickleError { cut: true, .. })) if wanted < length => {
                wanted = wanted.saturating_mul(4).min(length);
            }
            pickles => return pickles?.tensors(file, length),
        }
    }
}

/// The pickles at the start of a file.
struct Pickles<'a> {
    object: Pickle<'a>,
    /// The list of the storages' names, in their order in the file.
    names: Pickle<'a>,
    length: usize,
}

impl<'a> Pickles<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut length = 0;
        let mut next = || {
            let pickle = Pickle::parse(&bytes[length..])?;
            length += pickle.length();
            Ok::<_, TorchError>(pickle)
        };
        let (_magic, version, machine, object, names) = (next()?, next()?, next()?, next()?, next()?);
        if version.root().integer() != Some(VERSION) {
            return Err(TorchError::Layout(
                "it is of an unknown version of PyTorch's format before 1.6".into(),
            ));
        }
        if machine
            .root()
            .get("little_endian")
            .and_then(|little| little.truth())
            != Some(true)
        {
            return Err(TorchError::Layout("its numbers are not little-endian".into()));
        }
        Ok(Self {
            object,
            names,
            length,
        })
    }

    fn tensors(&self, file: &mut File, length: u64) -> Result<Found> {
        let places = self.places(file, length)?;
        described(self.object.root(), |name| {
            let missing = || TorchError::Layout("its storage is not in the file".into());
            places.get(name).copied().ok_or_else(missing)
        })
    }

    /// Where the storages lie, from one to the next.
    fn places(&self, file: &mut File, length: u64) -> Result<HashMap<Cow<'_, str>, Place>> {
        let storages = self.object.persistent().filter_map(Storage::of);
        let storages: HashMap<_, _> = storages.map(|s| (s.name, s.numbers)).collect();
        let mut places = HashMap::new();
        let mut start = self.length as u64;
        let names = self.names.root().items();
        for name in names.ok_or_else(|| TorchError::Layout("there is no list of its storages".into()))? {
            let name = name.text().unwrap_or_default();
            let wrong = |what: &str| TorchError::Layout(format!("storage {name:.40}: {what}"));
            let size = storages.get(&name).and_then(Numbers::size);
            let size = size.ok_or_else(|| wrong("numbers of unknown size"))?;
            let mut count = [0; 8];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut count)
                .map_err(|_| wrong("the file ends before it"))?;
            let bytes = u64::from_le_bytes(count).checked_mul(size);
            start += 8;
            let end = bytes
                .and_then(|bytes| start.checked_add(bytes))
                .filter(|end| *end <= length);
            let end = end.ok_or_else(|| wrong("the file ends within it"))?;
            places.insert(name, (start, end - start));
            start = end;
        }
        Ok(places)
    }
}
