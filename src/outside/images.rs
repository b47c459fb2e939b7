//! Readers of image sets: the bytes become a file of a set, which is read whole, every picture of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Outcome, bytes, text};
use crate::dataset::{Channels, Pixels, Preparation, Reading, describe, load, preview};
use crate::exchange::decode_png;

/// One picture of 1x1 grey, as PNG.
const PICTURE: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\
    \0\0\0\nIDATx\x9cch\0\0\0\x82\0\x81w\xcdr\xb6\0\0\0\0IEND\xaeB`\x82";

/// A set as it lies in a folder, or in one file.
pub(super) fn set(path: &Path) -> Outcome {
    whole(path, Reading::default())
}

/// A file of images in the IDX format, and one of labels.
pub(super) fn idx(path: &Path) -> Outcome {
    let given = bytes(path)?;
    let head = |magic: u8, dims: &[u8], data: &[u8]| {
        let dims = dims.iter().flat_map(|dim| [0, 0, 0, *dim]);
        [0, 0, 8, magic]
            .into_iter()
            .chain(dims)
            .chain(data.iter().copied())
            .collect::<Vec<_>>()
    };
    let [images, labels] = [head(3, &[2, 3, 4], &[7; 24]), head(1, &[2], &[0, 1])];
    let names = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
    let read = |images: &[u8], labels: &[u8]| {
        whole(
            &folder(path, &[(names[0], images), (names[1], labels)])?,
            Reading::default(),
        )
    };
    read(&given, &labels).or(read(&images, &given))
}

/// A batch of CIFAR-10 in the binary version.
pub(super) fn cifar_binary(path: &Path) -> Outcome {
    whole(
        &folder(path, &[("test_batch.bin", &bytes(path)?)])?,
        Reading::default(),
    )
}

/// A batch of CIFAR-10 in the Python version.
pub(super) fn cifar_python(path: &Path) -> Outcome {
    whole(
        &folder(path, &[("test_batch", &bytes(path)?)])?,
        Reading::default(),
    )
}

/// The validation images of a downsampled ImageNet.
pub(super) fn downsampled(path: &Path) -> Outcome {
    whole(&folder(path, &[("val_data", &bytes(path)?)])?, Reading::default())
}

/// A list of images, in a folder that has three.
pub(super) fn list(path: &Path) -> Outcome {
    let folder = folder(
        path,
        &[("a.png", PICTURE), ("b.png", PICTURE), ("c.png", PICTURE)],
    )?;
    let lists = BTreeMap::from([("test".to_owned(), path.to_owned())]);
    whole(
        &folder,
        Reading {
            lists,
            ..Reading::default()
        },
    )
}

/// A picture by itself, of a data set or to be imported.
pub(super) fn picture(path: &Path) -> Outcome {
    let bytes = bytes(path)?;
    let set = Pixels::decode(&bytes, path, "picture").map(drop).map_err(text);
    let imported = decode_png(&bytes).map(drop).map_err(text);
    set.or(imported)
}

/// A folder beside `path` with these files and no other.
fn folder(path: &Path, files: &[(&str, &[u8])]) -> Result<PathBuf, String> {
    let folder = path.with_extension("set");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(text)?;
    }
    std::fs::create_dir(&folder).map_err(text)?;
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).map_err(text)?;
    }
    Ok(folder)
}

/// Previews a set, describes it with and without its bad pictures, and loads its splits.
fn whole(path: &Path, reading: Reading) -> Outcome {
    let seen = preview(path, &reading).map(drop).map_err(text);
    let skipping = Reading {
        skip_bad: true,
        ..reading.clone()
    };
    let _ = describe(path, &skipping);
    let found = describe(path, &reading).map_err(text)?;
    for split in found.splits.keys() {
        load(path, &reading, split, &Preparation::new(4, 4, Channels::Rgb)).map_err(text)?;
    }
    seen
}
