//! What can be wrong with an image set on disk.

use std::path::PathBuf;

use super::names::normal;
use crate::error::{HasKind, Kind};

/// Why an image set could not be read.
#[expect(missing_docs, reason = "fields are named for what they hold")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A file or directory could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    /// The path holds nothing of the kind, or nothing at all.
    #[error("{} is no image set: {reason}", path.display())]
    Layout {
        path: PathBuf,
        /// What was looked for, or what does not fit.
        reason: String,
    },
    /// A file of a format, or in a form of it, that is not read.
    #[error("{} was taken for {what}: {reason}", path.display())]
    Foreign {
        path: PathBuf,
        /// What it was taken for.
        what: String,
        /// Why it is not read.
        reason: String,
    },
    /// A git-lfs pointer stands in the place of a file.
    #[error("{} cannot be read: {}", path.display(), crate::content::POINTER)]
    Pointer { path: PathBuf },
    /// A repository of several sets.
    #[error(
        "{} holds several configurations ({}), each a set of its own",
        path.display(), configs.join(", ")
    )]
    Configs { path: PathBuf, configs: Vec<String> },
    /// A folder of several sets, where one is asked for.
    #[error("{} holds several sets, {}: name one of these", path.display(), sets.join(" and "))]
    Several { path: PathBuf, sets: Vec<String> },
    /// Two classes that cannot be told apart by name.
    #[error(
        "{} has the classes `{}` and `{}`, {}",
        path.display(), told(first, second), told(second, first), alike(first, second)
    )]
    Alike {
        path: PathBuf,
        first: String,
        second: String,
    },
    /// Splits whose directories are not of the same classes.
    #[error(
        "the splits of {} are not of the same classes: {split} has no {}, which {other} has",
        path.display(), lacking.join(", ")
    )]
    ClassSets {
        path: PathBuf,
        split: String,
        other: String,
        /// Classes that `other` has and `split` has not.
        lacking: Vec<String>,
    },
    /// A label that numbers more classes than a set can have.
    #[error(
        "image {name} of {} has the label {label}: labels number the classes from 0 on, and no set has more \
         than {limit}",
        path.display()
    )]
    FarLabel {
        path: PathBuf,
        name: String,
        label: u32,
        limit: u32,
    },
    /// A line of an image list.
    #[error("{}, line {line}: {reason}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        reason: String,
    },
    /// A file that belongs to the set is not there.
    #[error("{} has no {expected}; it belongs to the set", path.display())]
    Missing { path: PathBuf, expected: String },
    /// A file begins with the wrong magic number.
    #[error(
        "{} begins with {actual:#010x}, expected {expected:#010x}: it is not what its name says",
        path.display()
    )]
    Magic {
        path: PathBuf,
        expected: u32,
        actual: u32,
    },
    /// A file is shorter or longer than its header or its records say.
    #[error("{} holds {actual} bytes, expected {expected}: download it again", path.display())]
    Size {
        path: PathBuf,
        /// The right size, in words.
        expected: String,
        /// Bytes found (after decompression).
        actual: usize,
    },
    /// A container cannot be decoded.
    #[error("{} is damaged: {reason}", path.display())]
    Corrupt { path: PathBuf, reason: String },
    /// One image cannot be decoded.
    #[error("image {name} of {} cannot be decoded: {reason}", path.display())]
    Image {
        path: PathBuf,
        name: String,
        reason: String,
    },
    /// A label names no class.
    #[error("image {name} of {} has the label {label}, but there are {classes} classes", path.display())]
    Label {
        path: PathBuf,
        name: String,
        label: i64,
        classes: usize,
    },
    /// Images and labels are not of one number.
    #[error("{} has {images} images but {labels} labels in the split {split}", path.display())]
    Count {
        path: PathBuf,
        split: String,
        images: usize,
        labels: usize,
    },
    /// Some images of a split have labels, and some have none.
    #[error(
        "{labels} of the {images} images in the split {split} of {} have labels, and {name} has none: all \
         have one or none has (-1 and null are none)",
        path.display()
    )]
    SomeLabels {
        path: PathBuf,
        split: String,
        images: usize,
        labels: usize,
        /// The first image without.
        name: String,
    },
    /// A class directory without images.
    #[error("class {class} of {} has no images; fill the directory or remove it", path.display())]
    EmptyClass { path: PathBuf, class: String },
    /// A split without images.
    #[error("the split {split} of {} has no images", path.display())]
    EmptySplit { path: PathBuf, split: String },
    /// No such split.
    #[error("{} has no split {split}; it has {}", path.display(), existing.join(", "))]
    UnknownSplit {
        path: PathBuf,
        split: String,
        existing: Vec<String>,
    },
    /// A Parquet column is absent or of another type.
    #[error("column {column} of {} is {actual}, expected {expected}", path.display())]
    Column {
        path: PathBuf,
        column: String,
        expected: &'static str,
        /// The type found, or "absent".
        actual: String,
    },
    /// No such image.
    #[error("{} has {images} images in the split, and so no image {index}", path.display())]
    Index {
        path: PathBuf,
        index: usize,
        images: usize,
    },
    /// Padding cannot make an image smaller.
    #[error(
        "image {name} is {width}x{height}, too large to pad to {}x{}; prepare it with crop or stretch",
        target.0, target.1
    )]
    TooLarge {
        name: String,
        width: usize,
        height: usize,
        /// Width and height wanted.
        target: (usize, usize),
    },
    /// A part of an image that it does not have.
    #[error(
        "there is no part {}x{} at {},{} of an image of {}x{}",
        part.width, part.height, part.x, part.y, size.0, size.1
    )]
    Window {
        part: super::Window,
        /// Width and height of the image.
        size: (usize, usize),
    },
    /// A shorter side that the target cannot be cut out of.
    #[error(
        "images cannot be scaled to a shorter side of {resize} for {}x{}: it must cover the target, and be \
         65535 at most",
        target.0, target.1
    )]
    Resize {
        /// The shorter side wanted.
        resize: usize,
        /// Width and height wanted.
        target: (usize, usize),
    },
    /// More pixels than memory holds.
    #[error("{images} images of {width}x{height} do not fit into memory")]
    Memory {
        images: usize,
        width: usize,
        height: usize,
    },
    /// A preparation to a size that cannot be.
    #[error("images cannot be prepared to {width}x{height}: both sides must be 1 to 65535")]
    TargetSize { width: usize, height: usize },
}

/// A name beside one that may look the same: then by the numbers of its characters.
fn told(name: &str, other: &str) -> String {
    match name == other {
        true => name.to_owned(),
        false => name.escape_default().to_string(),
    }
}

fn alike(first: &str, second: &str) -> &'static str {
    match (first == second, normal(first) == normal(second)) {
        (true, _) => "which are one name",
        (false, true) => "which differ in nothing but Unicode's normal form",
        (false, false) => "which look the same",
    }
}

impl HasKind for DatasetError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { source, .. } => HasKind::kind(source),
            Self::Missing { .. } | Self::UnknownSplit { .. } | Self::Index { .. } => Kind::Missing,
            Self::Layout { .. }
            | Self::Foreign { .. }
            | Self::Pointer { .. }
            | Self::FarLabel { .. }
            | Self::Line { .. }
            | Self::Magic { .. }
            | Self::Size { .. }
            | Self::Corrupt { .. }
            | Self::Image { .. }
            | Self::Label { .. }
            | Self::Count { .. }
            | Self::Column { .. } => Kind::Corrupt,
            Self::Memory { .. } => Kind::Resource,
            Self::Configs { .. }
            | Self::Several { .. }
            | Self::Alike { .. }
            | Self::ClassSets { .. }
            | Self::SomeLabels { .. }
            | Self::EmptyClass { .. }
            | Self::EmptySplit { .. }
            | Self::TooLarge { .. }
            | Self::Window { .. }
            | Self::Resize { .. }
            | Self::TargetSize { .. } => Kind::Refused,
        }
    }
}
