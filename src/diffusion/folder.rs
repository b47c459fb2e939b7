//! The files of a model, each counted in the model's digest under its name in the diffusers layout.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::diffusion::error::{DiffusionError, Result};
use crate::file_digest::file_digest;
use crate::input;

/// A model's folder, and the files read from it so far.
pub(crate) struct Folder {
    root: PathBuf,
    /// Where `tokenizer/` is, if not below the root.
    tokenizer: Option<PathBuf>,
    /// Name and digest of the files that were read whole.
    read: Vec<(String, [u8; 32])>,
    /// Name and path of those that are read in parts.
    large: Vec<(String, PathBuf)>,
}

impl Folder {
    pub(crate) fn new(root: &Path, tokenizer: Option<PathBuf>) -> Self {
        Self {
            root: root.to_path_buf(),
            tokenizer,
            read: Vec::new(),
            large: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match (&self.tokenizer, name.strip_prefix("tokenizer")) {
            (Some(folder), Some("")) => folder.clone(),
            (Some(folder), Some(rest)) => folder.join(rest.trim_start_matches('/')),
            _ => self.root.join(name),
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// Whether this is a model in the diffusers layout, and no file's surroundings.
    pub(crate) fn holds_model(&self) -> bool {
        self.has("model_index.json")
    }

    /// Reads a file whole.
    pub(crate) fn bytes(&mut self, name: &str) -> Result<Vec<u8>> {
        let path = self.path(name);
        let bytes = input::whole(&path, input::LABELS).map_err(DiffusionError::read(&path))?;
        self.read
            .push((name.to_owned(), *blake3::hash(&bytes).as_bytes()));
        Ok(bytes)
    }

    /// Reads a JSON file as Python writes it: an infinite number or NaN, for which JSON has no word, is null.
    pub(crate) fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        let bytes = without_non_finite(&self.bytes(name)?);
        let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
        let read = serde_path_to_error::deserialize(&mut deserializer).map_err(|e| e.to_string());
        let whole = read.and_then(|value| deserializer.end().map(|()| value).map_err(|e| e.to_string()));
        whole.map_err(|message| DiffusionError::Config {
            path: self.path(name),
            message,
        })
    }

    /// Reads a JSON file that need not be there.
    pub(crate) fn json_if_present<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>> {
        if self.has(name) {
            self.json(name).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Counts a file that someone else reads.
    pub(crate) fn count(&mut self, name: &str, path: &Path) {
        self.large.push((name.to_owned(), path.to_path_buf()));
    }

    /// Returns BLAKE3 over the files read, sorted by name: each name's length (u64, little-endian), name and
    /// content digest.
    pub(crate) fn digest(&self) -> Result<[u8; 32]> {
        let mut read = self.read.clone();
        for (name, path) in &self.large {
            let digest = file_digest(path, &|| false).map_err(DiffusionError::read(path))?;
            read.push((name.clone(), *digest.as_bytes()));
        }
        read.sort();
        let mut hasher = blake3::Hasher::new();
        for (name, digest) in &read {
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name.as_bytes());
            hasher.update(digest);
        }
        Ok(*hasher.finalize().as_bytes())
    }
}

/// Puts null in the place of the words `Infinity`, `-Infinity` and `NaN` outside of strings.
fn without_non_finite(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut rest, mut in_string) = (json, false);
    while let [byte, after @ ..] = rest {
        let words = [&b"-Infinity"[..], b"Infinity", b"NaN"];
        if let Some(after) = words.iter().find_map(|word| rest.strip_prefix(*word))
            && !in_string
        {
            out.extend(b"null");
            rest = after;
            continue;
        }
        out.push(*byte);
        rest = after;
        match (byte, rest) {
            (b'"', _) => in_string = !in_string,
            (b'\\', [escaped, after @ ..]) => {
                out.push(*escaped);
                rest = after;
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_of_infinity_is_null() {
        let read = |text: &str| String::from_utf8(without_non_finite(text.as_bytes())).unwrap();
        assert_eq!(
            read(r#"{"a": -Infinity, "b": [NaN,Infinity], "c": "NaN \" -Infinity"}"#),
            r#"{"a": null, "b": [null,null], "c": "NaN \" -Infinity"}"#
        );
        assert_eq!(read(r#"{"a": -1.5, "\\": NaN}"#), r#"{"a": -1.5, "\\": null}"#);
    }
}
