//! `datasets`: a registered image set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A registered image set. The pictures stay where they are; the digest says whether they are still the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// The name that runs and the command line use.
    pub name: String,
    /// The reader: `idx`, `cifar`, `folder`, `parquet`.
    pub kind: String,
    /// Where it was found.
    pub path: String,
    /// BLAKE3 over all decoded pictures and labels, in hex, whatever the container.
    pub digest: String,
    /// Number of pictures of each split.
    pub splits: BTreeMap<String, u64>,
    /// Names of the classes, in the order of their labels; empty for a set without labels.
    pub classes: Vec<String>,
}
