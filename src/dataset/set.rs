//! Kinds of containers, and what a set holds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::cifar::{self, Version};
use super::error::DatasetError;
use super::folder::ClassFolder;
use super::item::{Container, Item};
use super::{arrow, downsampled, files, folder, idx, list, names, numpy, parquet, stl10, svhn};
use crate::content::Content;
use crate::stop::{self, Stop};
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

/// How a set is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The container format; guessed without it.
    pub kind: Option<Kind>,
    /// Of an image folder: the classes to take, in the order of their labels. Without them, every directory
    /// is a class. Of image lists: names for the labels.
    pub classes: Vec<ClassFolder>,
    /// Of an image folder with classes to take: some of them may not be there (ImageNet-A, -R).
    pub partial: bool,
    /// The lists that name the images of each split.
    pub lists: BTreeMap<String, PathBuf>,
    /// Leaves out images that cannot be decoded, and says which. Without it, such an image is an error.
    pub skip_bad: bool,
    /// When to give up reading it.
    pub stop: Stop,
}

impl Reading {
    /// Returns the kind of the set at `path`: the one that is named, or that it looks like.
    ///
    /// # Errors
    /// As [`Kind::guess`].
    pub fn kind_at(&self, path: &Path) -> Result<Kind, DatasetError> {
        match self.kind {
            Some(kind) => Ok(kind),
            None if !self.lists.is_empty() => Ok(Kind::ImageList),
            None => Kind::guess(path),
        }
    }

    /// Returns the plain reading of a kind, or of the kind that the path looks like.
    pub fn of(kind: Option<Kind>) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }
}

/// An image that is left out because it cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its place among all images of the split, those left out counted.
    pub index: usize,
    /// Its name (a path within the set, or a number).
    pub name: String,
    /// What the decoder said.
    pub reason: String,
}

/// What a set holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// The container format.
    pub kind: Kind,
    /// Where it lies.
    pub path: PathBuf,
    /// Number of images by split, without those left out.
    pub splits: BTreeMap<String, usize>,
    /// Class names by label: the container's, else the labels as numbers; empty if there are no labels.
    pub classes: Vec<String>,
    /// By split, the number of images of each class (empty if the split has no labels).
    pub class_sizes: BTreeMap<String, Vec<usize>>,
    /// (width, height, channels) if all images agree; channels are 1 or 3.
    pub image_size: Option<(usize, usize, usize)>,
    /// BLAKE3 over every split's name, and its images' sizes, labels and pixels as RGB, in order: the same
    /// whatever the container, the compression of an image, or whether grey is stored as one channel or
    /// three.
    pub digest: [u8; 32],
    /// Images left out, by split; empty unless the reading allows it.
    pub skipped: BTreeMap<String, Vec<Skipped>>,
    /// What lies beside the images that may say something of each, and is not read.
    pub unread: Vec<String>,
}

/// Classes that a set has at most. ImageNet-21k has 21,841.
const MOST_CLASSES: u32 = 1 << 20;

/// An opened set.
pub(super) struct Set {
    pub kind: Kind,
    pub path: PathBuf,
    pub container: Box<dyn Container>,
}

impl Set {
    pub fn open(path: &Path, reading: &Reading) -> Result<Self, DatasetError> {
        let kind = reading.kind_at(path)?;
        if !reading.classes.is_empty() && !matches!(kind, Kind::ImageFolder | Kind::ImageList) {
            return Err(DatasetError::Layout {
                path: path.to_owned(),
                reason: format!(
                    "a list of class folders is given, but it is of kind {}",
                    kind.name()
                ),
            });
        }
        let container: Box<dyn Container> = match kind {
            Kind::Idx => Box::new(idx::Idx::open(path)?),
            Kind::CifarBinary => Box::new(cifar::Binary::open(path)?),
            Kind::CifarPython => Box::new(cifar::Python::open(path)?),
            Kind::ImageFolder => Box::new(folder::FolderSet::open(path, reading)?),
            Kind::ImageList => Box::new(list::Lists::open(path, &reading.lists, &reading.classes)?),
            Kind::Parquet => Box::new(parquet::open(path)?),
            Kind::Arrow => Box::new(arrow::open(path)?),
            Kind::Numpy => Box::new(numpy::Numpy::open(path)?),
            Kind::Svhn => Box::new(svhn::Svhn::open(path)?),
            Kind::Stl10 => Box::new(stl10::Stl10::open(path)?),
            Kind::DownsampledImagenet => Box::new(downsampled::Downsampled::open(path)?),
        };
        let is_odd = |name: &&String| name.trim().is_empty() || name.contains(char::is_control);
        let splits = container.splits();
        for (what, names) in [("class", container.classes()), ("split", &splits[..])] {
            if let Some(odd) = names.iter().find(is_odd) {
                return Err(DatasetError::Layout {
                    path: path.to_owned(),
                    reason: format!("a {what} of it is called {odd:?}; a name is text in one line"),
                });
            }
        }
        if let Some((first, second)) = names::alike(container.classes()) {
            return Err(DatasetError::Alike {
                path: path.to_owned(),
                first: first.to_owned(),
                second: second.to_owned(),
            });
        }
        Ok(Self {
            kind,
            path: path.to_owned(),
            container,
        })
    }

    /// The images of a split: at least one, and every label below the number of classes if these are named.
    pub fn items(&self, split: &str) -> Result<Vec<Item>, DatasetError> {
        let existing = self.container.splits();
        if !existing.iter().any(|name| name == split) {
            return Err(DatasetError::UnknownSplit {
                path: self.path.clone(),
                split: split.to_owned(),
                existing,
            });
        }
        let items = self.container.items(split)?;
        if items.is_empty() {
            return Err(DatasetError::EmptySplit {
                path: self.path.clone(),
                split: split.to_owned(),
            });
        }
        let classes = self.container.classes().len();
        let outside = |item: &&Item| classes > 0 && item.label.is_some_and(|l| l as usize >= classes);
        if let Some(item) = items.iter().find(outside) {
            return Err(DatasetError::Label {
                path: self.path.clone(),
                name: item.name.clone(),
                label: item.label.map_or(-1, i64::from),
                classes,
            });
        }
        let far = |item: &Item| item.label.filter(|label| *label >= MOST_CLASSES);
        if let Some((item, label)) = items.iter().find_map(|item| Some((item, far(item)?))) {
            return Err(DatasetError::FarLabel {
                path: self.path.clone(),
                name: item.name.clone(),
                label,
                limit: MOST_CLASSES,
            });
        }
        // Some images with labels and some without would be neither one set nor the other.
        let labelled = items.iter().filter(|item| item.label.is_some()).count();
        match items.iter().find(|item| item.label.is_none()) {
            Some(first) if labelled > 0 => Err(DatasetError::SomeLabels {
                path: self.path.clone(),
                split: split.to_owned(),
                images: items.len(),
                labels: labelled,
                name: first.name.clone(),
            }),
            _ => Ok(items),
        }
    }
}

/// What the names in a set tell, before a picture of it is decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance {
    /// The container format.
    pub kind: Kind,
    /// Names of the splits, sorted.
    pub splits: Vec<String>,
    /// Class names by label; empty if the container names none.
    pub classes: Vec<String>,
}

/// Opens a set as `reading` says, and says what the names in it tell. No picture is decoded.
///
/// # Errors
/// Whatever is wrong with the container; see [`DatasetError`].
pub fn glance(path: &Path, reading: &Reading) -> Result<Glance, DatasetError> {
    let set = Set::open(path, reading)?;
    Ok(Glance {
        kind: set.kind,
        splits: set.container.splits(),
        classes: set.container.classes().to_vec(),
    })
}

/// Reads a whole set as `reading` says, and says what it holds. Every image is decoded, in parallel.
///
/// # Errors
/// Whatever is wrong with any file or image of it; see [`DatasetError`]. With `skip_bad`, an image that
/// cannot be decoded is no error, unless it was the last of its split.
pub fn describe(path: &Path, reading: &Reading) -> Result<Description, DatasetError> {
    describe_until(path, reading, &|| reading.stop.is_asked())
}

/// The same, given up once `stopped` says so.
pub(crate) fn describe_until(
    path: &Path,
    reading: &Reading,
    stopped: &dyn Fn() -> bool,
) -> Result<Description, DatasetError> {
    let set = Set::open(path, reading)?;
    let mut digest = blake3::Hasher::new_derive_key("dream-ood image set digest v1");
    let (mut splits, mut labels, mut skipped) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut sizes = Vec::new();
    for split in set.container.splits() {
        let items = set.items(&split)?;
        let rows = look(&set.path, &items, reading.skip_bad, stopped)?;
        let good: Vec<_> = rows.iter().filter_map(|row| row.as_ref().ok()).collect();
        if good.is_empty() {
            return Err(DatasetError::EmptySplit {
                path: set.path,
                split,
            });
        }
        digest.update(&(split.len() as u64).to_le_bytes());
        digest.update(split.as_bytes());
        digest.update(&(good.len() as u64).to_le_bytes());
        for (size, image) in good.iter().copied() {
            digest.update(image);
            if sizes.last() != Some(size) {
                sizes.push(*size);
            }
        }
        splits.insert(split.clone(), good.len());
        let kept = items.iter().zip(&rows).filter(|(_, row)| row.is_ok());
        let kept: Vec<u32> = kept.filter_map(|(item, _)| item.label).collect();
        labels.insert(split.clone(), kept);
        let bad: Vec<Skipped> = rows.into_iter().filter_map(Result::err).collect();
        if !bad.is_empty() {
            skipped.insert(split, bad);
        }
    }
    let (classes, class_sizes) = count(set.container.classes(), labels);
    Ok(Description {
        kind: set.kind,
        unread: set.container.unread().to_vec(),
        path: set.path,
        class_sizes,
        splits,
        classes,
        image_size: match sizes[..] {
            [size] => Some(size),
            _ => None,
        },
        digest: *digest.finalize().as_bytes(),
        skipped,
    })
}

/// An image's (width, height, channels).
type Size = (usize, usize, usize);

/// Size and digest of an image, or why it is left out.
type Look = Result<(Size, [u8; 32]), Skipped>;

/// Images that are decoded between two looks at the next ones: their order is that of the files, so that what
/// is read for one is there for its neighbours.
pub(super) const STRETCH: usize = 256;

/// Decodes the images of a split: size and digest of each, or what is left out.
fn look(
    set: &Path,
    items: &[Item],
    skip_bad: bool,
    stopped: &dyn Fn() -> bool,
) -> Result<Vec<Look>, DatasetError> {
    let decode = |(index, item): (usize, &Item)| match item.decode(set) {
        Ok(image) => {
            let size = (image.width, image.height, image.channels);
            Ok(Ok((size, image_digest(item.label, size, &image.into_rgb()))))
        }
        Err(DatasetError::Image { name, reason, .. }) if skip_bad => Ok(Err(Skipped { index, name, reason })),
        Err(error) => Err(error),
    };
    let mut all = Vec::with_capacity(items.len());
    for (number, stretch) in items.chunks(STRETCH).enumerate() {
        stop::check(stopped).map_err(files::io(set))?;
        let indices = number * STRETCH..;
        let stretch = indices.zip(stretch).collect::<Vec<_>>();
        all.extend(
            stretch
                .into_par_iter()
                .map(decode)
                .collect::<Result<Vec<_>, _>>()?,
        );
    }
    Ok(all)
}

/// Names the classes, by their numbers where the container does not, and counts the images of each in each
/// split.
pub(super) fn count(
    named: &[String],
    labels: BTreeMap<String, Vec<u32>>,
) -> (Vec<String>, BTreeMap<String, Vec<usize>>) {
    let mut classes = named.to_vec();
    if classes.is_empty() {
        let count = labels.values().flatten().max().map_or(0, |label| label + 1);
        classes = (0..count).map(|label| label.to_string()).collect();
    }
    let sizes = labels.into_iter().map(|(split, labels)| {
        let mut counts = vec![0; if labels.is_empty() { 0 } else { classes.len() }];
        for label in labels {
            // `items` checked labels against named classes, and unnamed ones were counted to the largest
            // label.
            counts[label as usize] += 1;
        }
        (split, counts)
    });
    let sizes = sizes.collect();
    (classes, sizes)
}

fn image_digest(label: Option<u32>, size: Size, rgb: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(size.0 as u64).to_le_bytes());
    hasher.update(&(size.1 as u64).to_le_bytes());
    hasher.update(&label.map_or(-1, i64::from).to_le_bytes());
    hasher.update(rgb);
    *hasher.finalize().as_bytes()
}
