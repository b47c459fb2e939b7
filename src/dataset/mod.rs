//! Readers of labelled image sets, which bring every container to one form: `[n, height, width, 3]` bytes and
//! labels.
//!
//! A `Container` (one a format) lists the images of a split with their labels; decoding, the digest and the
//! preparation are shared, run in parallel, and do not know where an image came from. ID and OOD sets go
//! through one [`Preparation`], so that neither size nor colour tells them apart. The digest covers decoded
//! pixels and labels: the same images have the same digest as IDX, CIFAR binary, PNG files or Parquet. An
//! image that cannot be decoded is an error that names it; where a set is read with `skip_bad`, it is left
//! out, by name.

mod cifar;
mod error;
mod files;
mod folder;
mod idx;
mod images;
mod item;
mod parquet;
mod prepare;
mod set;
#[cfg(test)]
mod tests;

pub use error::DatasetError;
pub use folder::ClassFolder;
pub use images::{ImageSet, Images, load};
pub(crate) use item::Pixels;
pub use prepare::{Channels, Fit, Preparation, Window};
pub use set::{Description, Glance, Kind, Reading, Skipped, describe, glance};
