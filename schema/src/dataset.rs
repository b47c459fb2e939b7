//! `datasets`: the image sets, diffusion models and state dicts that are registered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An image set, a diffusion model or a state dict that is registered. The files stay where they are; the
/// digest says whether they are still the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// The name that runs and the command line use.
    pub name: String,
    /// The reader: `idx`, `cifar-binary`, `cifar-python`, `image-folder`, `image-list`, `parquet`, `svhn`;
    /// `diffusers` and `state-dict` of models.
    pub kind: String,
    /// Where it was found.
    pub path: String,
    /// The folder of a diffusion model's tokenizer, where it is neither in the model's folder nor beside its
    /// file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// BLAKE3 in hex: of an image set over all decoded pictures and labels, whatever the container; of a
    /// model over its files.
    pub digest: String,
    /// Number of pictures of each split; empty for a model.
    pub splits: BTreeMap<String, u64>,
    /// Names of the classes, in the order of their labels; empty for a set without labels.
    pub classes: Vec<String>,
    /// Directories of the classes, in the order of their labels, of an image folder of which only these are
    /// read; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class_folders: Vec<String>,
    /// The lists that name the images of each split, of a set that is read by lists; else empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<String, String>,
    /// The images left out because they cannot be decoded, by split; none if such an image is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<BTreeMap<String, Vec<SkippedImage>>>,
}

/// What stood in the path of a model between the model and the folder of its tokenizer, before these were two
/// fields.
const TOKENIZER: &str = "?tokenizer=";

impl Dataset {
    /// Reads an entry, also one of the time when path and tokenizer were one text.
    ///
    /// # Errors
    /// If it is no entry.
    pub fn from_json(json: &[u8]) -> serde_json::Result<Self> {
        let mut entry: Self = serde_json::from_slice(json)?;
        if let Some((path, tokenizer)) = entry.path.rsplit_once(TOKENIZER) {
            entry.tokenizer = Some(tokenizer.to_owned());
            entry.path.truncate(path.len());
        }
        Ok(entry)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_and_tokenizer_of_an_old_entry_are_told_apart() {
        let read = |path: &str| {
            let json = serde_json::json!({
                "name": "mini", "kind": "diffusers", "path": path, "digest": "ab",
                "splits": {}, "classes": [],
            });
            let entry = Dataset::from_json(json.to_string().as_bytes()).unwrap();
            (entry.path, entry.tokenizer)
        };
        assert_eq!(read("/m/x.ckpt"), ("/m/x.ckpt".into(), None));
        let both = ("/m/x.ckpt".to_owned(), Some("/m/tokenizer".to_owned()));
        assert_eq!(read("/m/x.ckpt?tokenizer=/m/tokenizer"), both);
    }
}
