//! The zip archive: `data.pkl`, `byteorder` and `data/NAME` for each storage, in a folder of any name.

use std::fs::File;
use std::io::{BufReader, Read};

use ::zip::{CompressionMethod, ZipArchive};

use super::describe::{Found, described};
use super::{Place, Result, TorchError};
use crate::pickle::Pickle;

/// The longest `byteorder` that is read.
const WORD: u64 = 16;

/// Whether a file is an archive with a pickle in it.
pub(super) fn holds_pickle(file: File) -> bool {
    ZipArchive::new(BufReader::new(file)).is_ok_and(|archive| {
        let mut names = archive.file_names().filter_map(std::result::Result::ok);
        names.any(|name| is_pickle(&name))
    })
}

fn is_pickle(name: &str) -> bool {
    name == "data.pkl" || name.ends_with("/data.pkl")
}

pub(super) fn tensors(file: File, length: u64) -> Result<Found> {
    let mut archive = ZipArchive::new(BufReader::new(file))?;
    let mut names = archive.file_names().filter_map(std::result::Result::ok);
    let pickle = names.find(|name| is_pickle(name));
    let first = archive.file_names().filter_map(std::result::Result::ok).next();
    let Some(pickle) = pickle.map(std::borrow::Cow::into_owned) else {
        let reason = match first {
            Some(name) => format!("there is no data.pkl in the archive, which begins with `{name:.60}`"),
            None => "the archive is empty".to_owned(),
        };
        return Err(TorchError::Layout(reason));
    };
    drop((names, first));
    let root = pickle.strip_suffix("data.pkl").unwrap_or_default().to_owned();
    if archive.index_for_name(&format!("{root}constants.pkl")).is_some() {
        return Err(TorchError::Layout(
            "it is a TorchScript program: `torch.save(torch.jit.load(FILE).state_dict(), NEW)` saves its \
             tensors"
                .to_owned(),
        ));
    }
    if let Ok(order) = archive.by_name(&format!("{root}byteorder")) {
        let mut text = String::new();
        order.take(WORD).read_to_string(&mut text)?;
        if text.trim() != "little" {
            return Err(TorchError::Layout(format!(
                "its numbers are in the byte order {text:?}"
            )));
        }
    }
    let mut bytes = Vec::new();
    archive.by_name(&pickle)?.read_to_end(&mut bytes)?;
    let pickle = Pickle::parse(&bytes)?;
    described(pickle.root(), |storage| {
        let place = place(&mut archive, &format!("{root}data/{storage}"))?;
        match place.0.checked_add(place.1) {
            Some(end) if end <= length => Ok(place),
            _ => Err(TorchError::Layout("the file ends within its numbers".into())),
        }
    })
}

fn place(archive: &mut ZipArchive<BufReader<File>>, name: &str) -> Result<Place> {
    let storage = archive.by_name(name)?;
    match (storage.compression(), storage.data_start()) {
        (CompressionMethod::Stored, Some(start)) => Ok((start, storage.size())),
        _ => Err(TorchError::Layout(
            "its numbers are compressed, which PyTorch does not do".into(),
        )),
    }
}
