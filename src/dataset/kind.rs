//! Kinds of containers, and which one a path looks like.

use std::path::Path;

use super::cifar::{self, Version};
use super::error::DatasetError;
use super::{arrow, downsampled, files, folder, idx, numpy, parquet, stl10, svhn};
use crate::content::Content;
use crate::words::words;

words! {
    /// The container formats.
    pub enum Kind {
        /// MNIST and Fashion-MNIST: a directory of IDX files, plain or gzip.
        Idx = "idx",
        /// CIFAR-10 and CIFAR-100, binary version: a directory or a `.tar.gz`.
        CifarBinary = "cifar-binary",
        /// CIFAR-10 and CIFAR-100, Python version (pickles, of which nothing is executed): a directory or a
        /// `.tar.gz`.
        CifarPython = "cifar-python",
        /// `split/class/*`, `class/*` or `*` of pictures (PNG, JPEG, WebP, BMP, PNM); also in an archive
        /// (tar, tar.gz, zip).
        ImageFolder = "image-folder",
        /// A folder whose images are named, and labelled, by lists.
        ImageList = "image-list",
        /// A Parquet file or a directory of them.
        Parquet = "parquet",
        /// Arrow files of Hugging Face's datasets: what `save_to_disk` writes, its cache, or one file.
        Arrow = "arrow",
        /// NumPy arrays: `.npz`, or a folder of `.npy` (CIFAR-10-C).
        Numpy = "numpy",
        /// SVHN's cropped digits as MATLAB files.
        Svhn = "svhn",
        /// STL-10, binary version.
        Stl10 = "stl10",
        /// ImageNet at 32x32 or 64x64: pickles, of which nothing is executed, or `.npz`.
        DownsampledImagenet = "downsampled-imagenet",
    }
}

impl Kind {
    /// Returns the kind that `path` looks like, from the names in it.
    ///
    /// # Errors
    /// Nothing is there, or a file of no known kind.
    pub fn guess(path: &Path) -> Result<Self, DatasetError> {
        let exists = std::fs::metadata(path).map_err(files::io(path))?;
        if exists.is_dir() {
            let sets = [idx::sets_in(path), cifar::sets_in(path)].concat();
            if sets.len() > 1 {
                let path = path.to_owned();
                return Err(DatasetError::Several { path, sets });
            }
        }
        if parquet::is_parquet(path) {
            Ok(Self::Parquet)
        } else if arrow::is_arrow(path) {
            Ok(Self::Arrow)
        } else if idx::is_idx(path) {
            Ok(Self::Idx)
        } else if let Some(version) = cifar::version(path) {
            Ok(match version {
                Version::Binary => Self::CifarBinary,
                Version::Python => Self::CifarPython,
            })
        } else if downsampled::is_downsampled(path) {
            Ok(Self::DownsampledImagenet)
        } else if stl10::is_stl10(path) {
            Ok(Self::Stl10)
        } else if numpy::is_numpy(path) {
            Ok(Self::Numpy)
        } else if svhn::is_svhn(path) {
            Ok(Self::Svhn)
        } else if exists.is_dir() || folder::is_archive(path) {
            Ok(Self::ImageFolder)
        } else {
            Err(no_set(path)?)
        }
    }
}

/// What is said of a file that is no set.
fn no_set(path: &Path) -> Result<DatasetError, DatasetError> {
    let mut content = Content::at(path).map_err(files::io(path))?;
    if content == Content::Gzip {
        content = match Content::in_gzip(path).map_err(files::io(path))? {
            inner @ (Content::Idx | Content::Matlab | Content::Parquet) => inner,
            _ => content,
        };
    }
    const READ: &str = "folders of images, archives of them (tar, tar.gz, zip), Parquet, Arrow, IDX, CIFAR, \
                        SVHN, STL-10, downsampled ImageNet and NumPy arrays are read";
    let layout = |reason: String| DatasetError::Layout {
        path: path.to_owned(),
        reason,
    };
    let reason = match content {
        Content::LfsPointer(_) => {
            return Ok(DatasetError::Pointer {
                path: path.to_owned(),
            });
        }
        Content::Empty => return Ok(layout("the file is empty".to_owned())),
        Content::AnnexPointer => return Ok(layout(format!("it is {content}"))),
        Content::Json
        | Content::Text
        | Content::Safetensors
        | Content::Pickle
        | Content::Redb
        | Content::Sqlite
        | Content::Unknown => {
            return Ok(layout(format!("it is of no format that is known here; {READ}")));
        }
        Content::Png | Content::Jpeg | Content::Webp | Content::Bmp | Content::Pnm => {
            "one picture is no set; name its folder"
        }
        Content::Idx => "its folder is the set, with the images and labels of a split beside each other",
        Content::Page
        | Content::Zip
        | Content::Gzip
        | Content::Bzip2
        | Content::Xz
        | Content::Zstd
        | Content::SevenZip
        | Content::Rar
        | Content::Tar
        | Content::Npy
        | Content::Parquet
        | Content::Arrow
        | Content::Hdf5
        | Content::Matlab
        | Content::Picture(_) => READ,
    };
    Ok(DatasetError::Foreign {
        path: path.to_owned(),
        what: content.to_string(),
        reason: reason.to_owned(),
    })
}
