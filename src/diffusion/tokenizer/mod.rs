//! CLIP's byte-level BPE, as transformers builds it: NFC, runs of white space to one space, lower case,
//! CLIP's split pattern, byte-level alphabet, `</w>` at a word's end, then begin and end marks and padding to
//! the longest prompt.

mod files;

use std::path::Path;

use serde_json::{Map, Value, json};

use self::files::{AddedToken, CONFIG, Files};
use super::error::{DiffusionError, Result};
use super::folder::Folder;

const PATTERN: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// CLIP's tokenizer.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    begin: u32,
    end: u32,
    padding: u32,
    length: usize,
    largest: u32,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// CLIP's tokenizer, as the library's own file would describe it.
fn document(vocab: &Map<String, Value>, pairs: &[Value], added: &[AddedToken], unknown: &str) -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "post_processor": null,
        "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": unknown,
            "continuing_subword_prefix": "", "end_of_word_suffix": "</w>",
            "fuse_unk": false, "byte_fallback": false,
            "vocab": vocab, "merges": pairs,
        },
    })
}

impl Tokenizer {
    /// Whether there is a tokenizer's vocabulary in `folder`, in either form.
    pub(crate) fn is_in(folder: &Path) -> bool {
        ["vocab.json", "tokenizer.json"]
            .iter()
            .any(|name| folder.join(name).is_file())
    }

    /// Reads the vocabulary (`vocab.json` and `merges.txt`, or `tokenizer.json`), the added tokens and
    /// `tokenizer_config.json` below `tokenizer/`. `longest`: the prompt's length that the text encoder can
    /// take.
    pub(crate) fn load(folder: &mut Folder, longest: usize) -> Result<Self> {
        let wrong = |path, message: String| DiffusionError::Config { path, message };
        let Files {
            path: vocab_path,
            mut vocab,
            merges: pairs,
            mut added,
            special,
            longest: limit,
        } = Files::read(folder)?;
        for token in &added {
            vocab.insert(token.content.clone(), token.id.into());
        }
        let mut ids = [0; 4];
        for (place, token) in ids.iter_mut().zip(&special) {
            let id = vocab.get(&token.content).and_then(Value::as_u64);
            let id = id.and_then(|id| u32::try_from(id).ok());
            let message = || format!("no special token {:?}", token.content);
            *place = id.ok_or_else(|| wrong(vocab_path.clone(), message()))?;
            if !added.iter().any(|known| known.id == *place) {
                let mut token = token.clone();
                token.id = *place;
                added.push(token);
            }
        }
        added.sort_unstable_by_key(|token| token.id);
        let largest = vocab.values().filter_map(Value::as_u64).max().unwrap_or(0);
        let largest = u32::try_from(largest)
            .map_err(|_| wrong(vocab_path.clone(), format!("token id {largest} is out of range")))?;
        let document = document(&vocab, &pairs, &added, &special[3].content);
        let inner = tokenizers::Tokenizer::from_bytes(document.to_string())
            .map_err(|e| wrong(folder.path("tokenizer"), e.to_string()))?;
        let length = limit.map_or(longest, |l| l.min(longest));
        if length < 3 {
            return Err(wrong(
                folder.path(CONFIG),
                format!("prompts of {length} tokens leave no room for a word"),
            ));
        }
        Ok(Self {
            inner,
            begin: ids[0],
            end: ids[1],
            padding: ids[2],
            length,
            largest,
        })
    }

    /// The largest token id.
    pub(crate) fn largest_id(&self) -> u32 {
        self.largest
    }

    /// Whether a token is the begin or end mark or the padding, and no word.
    pub(crate) fn is_mark(&self, id: u32) -> bool {
        [self.begin, self.end, self.padding].contains(&id)
    }

    /// Returns the length that every prompt is cut or padded to, in tokens, both ends included.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Returns the tokens of `text` alone: no begin or end mark, neither cut nor padded.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenize`].
    pub fn bare_ids(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| DiffusionError::Tokenize {
                text: text.into(),
                message: e.to_string(),
            })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Returns the [`Self::length`] token ids of `text` as the text encoder takes them: begin mark, the text
    /// cut to fit, end mark, padding.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenize`].
    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.frame(self.bare_ids(text)?))
    }

    /// Puts marks and padding around the tokens of a prompt, which are cut to fit.
    pub(crate) fn frame(&self, words: Vec<u32>) -> Vec<u32> {
        let mut ids = vec![self.begin];
        ids.extend(words.into_iter().take(self.length - 2)); // at least 3 by construction
        ids.push(self.end);
        ids.resize(self.length, self.padding);
        ids
    }

    /// Returns the one token of `word`.
    ///
    /// # Errors
    /// [`DiffusionError::NotOneToken`], which lists them, where there are several;
    /// [`DiffusionError::NoToken`] where there is none, or only a mark; [`DiffusionError::Tokenize`].
    pub fn single_token(&self, word: &str) -> Result<u32> {
        match self.bare_ids(word)?[..] {
            [id] if !self.is_mark(id) => Ok(id),
            [] | [_] => Err(DiffusionError::NoToken { word: word.into() }),
            ref ids => Err(DiffusionError::NotOneToken {
                word: word.into(),
                tokens: ids.iter().map(|id| self.text(*id)).collect(),
            }),
        }
    }

    /// Returns a token's text in the vocabulary, empty where there is none.
    pub fn text(&self, id: u32) -> String {
        self.inner.id_to_token(id).unwrap_or_default()
    }
}
