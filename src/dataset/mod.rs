//! Readers of labelled image sets, which bring every container to one form: `[n, height, width, 3]` bytes and
//! labels.
//!
//! A `Container` (one per format) lists the images of a split with their labels; decoding, the digest and the
//! preparation are shared, run in parallel, and do not know where an image came from. ID and OOD sets go
//! through one [`Preparation`], so that neither size nor colour tells them apart. The digest covers decoded
//! pixels and labels: the same images have the same digest as IDX, CIFAR binary, PNG files or Parquet. An
//! image that cannot be decoded is an error that names it; where a set is read with `skip_bad`, it is left
//! out, by name.

mod archive;
mod arrow;
mod beside;
mod bulk;
mod cifar;
mod class_sets;
mod describe;
mod downsampled;
mod end_of_tar;
mod error;
mod files;
mod folder;
mod idx;
mod images;
mod item;
mod jpeg;
mod kind;
mod layout;
mod list;
mod listed;
mod mat;
mod names;
mod numpy;
mod parquet;
mod pickled;
mod picture;
mod prepare;
mod preview;
mod set;
mod shards;
mod stl10;
mod svhn;
mod table;
#[cfg(test)]
mod tests;
mod tiny;
mod told;
mod tree;
mod webp;

pub(crate) use class_sets::check_class_sets;
pub(crate) use describe::describe_until;
pub use describe::{Description, Skipped, describe};
pub use error::DatasetError;
pub(crate) use files::is_litter;
pub use files::place;
pub use folder::ClassFolder;
pub use images::{ImageSet, Images, load};
pub(crate) use item::Pixels;
pub use kind::Kind;
pub use list::split_of as split_of_list;
pub(crate) use names::{alike, same_but_form};
pub use prepare::{Channels, Fit, Preparation, Window};
pub use preview::{Preview, PreviewedSplit, preview};
pub use set::{Glance, Reading, glance};
