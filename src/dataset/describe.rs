//! What a set holds: every image decoded, counted and digested.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::error::DatasetError;
use super::files;
use super::item::Item;
use super::kind::Kind;
use super::set::{Reading, Set};
use crate::stop;

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
