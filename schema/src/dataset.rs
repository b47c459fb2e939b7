//! `datasets`: a registered image set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A registered image set. The pictures stay where they are; the digest says whether they are still the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// The name that runs and the command line use.
    pub name: String,
    /// The reader: `idx`, `cifar-binary`, `cifar-python`, `image-folder`, `parquet`; `diffusers` and
    /// `state-dict` of models.
    pub kind: String,
    /// Where it was found.
    pub path: String,
    /// BLAKE3 over all decoded pictures and labels, in hex, whatever the container.
    pub digest: String,
    /// Number of pictures of each split.
    pub splits: BTreeMap<String, u64>,
    /// Names of the classes, in the order of their labels; empty for a set without labels.
    pub classes: Vec<String>,
    /// Directories of the classes, in the order of their labels, of an image folder of which only these are
    /// read; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_folders: Vec<String>,
    /// The images left out because they cannot be decoded, by split; none if such an image is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<BTreeMap<String, Vec<SkippedImage>>>,
}

/// An image that is left out because it cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedImage {
    /// Its place among all images of the split, those left out counted.
    pub index: u64,
    /// Its name within the set.
    pub name: String,
    /// What the decoder said.
    pub reason: String,
}
