//! CLIP's byte-level BPE, as transformers builds it: NFC, runs of white space to one space, lower case, CLIP's split pattern,
//! byte-level alphabet, `</w>` at a word's end, then begin and end marks and padding to the longest prompt.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{DiffusionError, Result};
use super::load::Folder;

const PATTERN: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// `tokenizer/tokenizer_config.json` and `tokenizer/special_tokens_map.json`.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    bos_token: Option<Special>,
    eos_token: Option<Special>,
    unk_token: Option<Special>,
    pad_token: Option<Special>,
    /// Some files write "no limit" as 1e30.
    model_max_length: Option<f64>,
}

/// A special token: its text, or an object that holds it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Special {
    Text(String),
    Added { content: String },
}

impl Special {
    fn text(self) -> String {
        match self {
            Self::Text(text) | Self::Added { content: text } => text,
        }
    }
}

/// The settings of a tokenizer.
const CONFIG: &str = "tokenizer/tokenizer_config.json";

/// Tokens and merges, from either form of file.
struct Vocabulary {
    path: PathBuf,
    /// Id of each token.
    vocab: serde_json::Map<String, Value>,
    /// Pairs, the first to be merged first.
    merges: Vec<Value>,
}

/// `tokenizer.json`, as far as it is needed: CLIP's normalisation and splitting are known.
#[derive(Deserialize)]
struct Document {
    model: Model,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    vocab: serde_json::Map<String, Value>,
    merges: Vec<Merge>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

/// A merge in the old form, and in the one since tokenizers 0.20.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair([String; 2]),
}

impl Vocabulary {
    fn read(folder: &mut Folder) -> Result<Self> {
        let document = "tokenizer/tokenizer.json";
        if folder.has(document) && !folder.has("tokenizer/vocab.json") {
            return Self::from_document(folder.path(document), folder.json(document)?);
        }
        let path = folder.path("tokenizer/vocab.json");
        let vocab = folder.json("tokenizer/vocab.json")?;
        let merges_path = folder.path("tokenizer/merges.txt");
        let wrong = |message: String| DiffusionError::Config {
            path: merges_path.clone(),
            message,
        };
        let text =
            String::from_utf8(folder.bytes("tokenizer/merges.txt")?).map_err(|e| wrong(e.to_string()))?;
        let mut merges = Vec::new();
        for (number, line) in text.lines().enumerate() {
            if line.is_empty() || (number == 0 && line.starts_with("#version")) {
                continue;
            }
            let pair = line.split_once(' ');
            let (a, b) = pair.ok_or_else(|| wrong(format!("line {} is not a pair: {line:?}", number + 1)))?;
            merges.push(json!([a, b]));
        }
        Ok(Self { path, vocab, merges })
    }

    fn from_document(path: PathBuf, document: Document) -> Result<Self> {
        let Model {
            kind,
            end_of_word_suffix,
            mut vocab,
            merges,
        } = document.model;
        let (kind, suffix) = (
            kind.unwrap_or("BPE".into()),
            end_of_word_suffix.unwrap_or_default(),
        );
        if kind != "BPE" || suffix != "</w>" {
            return Err(DiffusionError::Unsupported {
                path,
                key: "model".into(),
                found: format!("{kind} with the end-of-word suffix {suffix:?}"),
                supported: "CLIP's: BPE with the end-of-word suffix \"</w>\"",
            });
        }
        for token in document.added_tokens {
            vocab.insert(token.content, token.id.into());
        }
        let mut pairs = Vec::new();
        for merge in merges {
            let pair = match &merge {
                Merge::Pair([a, b]) => Some((a.as_str(), b.as_str())),
                Merge::Line(line) => line.split_once(' '),
            };
            let Some((a, b)) = pair else {
                let message = format!("merge {} is not a pair", pairs.len() + 1);
                return Err(DiffusionError::Config { path, message });
            };
            pairs.push(json!([a, b]));
        }
        Ok(Self {
            path,
            vocab,
            merges: pairs,
        })
    }
}

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

impl Tokenizer {
    /// Whether there is a tokenizer's vocabulary in `folder`, in either form.
    pub(crate) fn is_in(folder: &Path) -> bool {
        ["vocab.json", "tokenizer.json"]
            .iter()
            .any(|name| folder.join(name).is_file())
    }

    /// Reads the vocabulary (`vocab.json` and `merges.txt`, or `tokenizer.json`) and `tokenizer_config.json` below
    /// `tokenizer/`. `longest`: the prompt's length that the text encoder can take.
    pub(crate) fn load(folder: &mut Folder, longest: usize) -> Result<Self> {
        let wrong = |path, message: String| DiffusionError::Config { path, message };
        let Vocabulary {
            path: vocab_path,
            vocab,
            merges: pairs,
        } = Vocabulary::read(folder)?;
        // A folder that holds nothing but the vocabulary (beside a single-file checkpoint) has CLIP's own settings.
        let config: TokenizerConfig = if folder.holds_model() {
            folder.json(CONFIG)?
        } else {
            folder.json_if_present(CONFIG)?.unwrap_or_default()
        };
        let map: TokenizerConfig = folder
            .json_if_present("tokenizer/special_tokens_map.json")?
            .unwrap_or_default();
        let pick = |own: Option<Special>, map: Option<Special>, otherwise: &str| {
            own.or(map).map_or_else(|| otherwise.to_owned(), Special::text)
        };
        let begin = pick(config.bos_token, map.bos_token, "<|startoftext|>");
        let end = pick(config.eos_token, map.eos_token, "<|endoftext|>");
        let unknown = pick(config.unk_token, map.unk_token, "<|endoftext|>");
        let padding = pick(config.pad_token, map.pad_token, "<|endoftext|>");
        let id = |token: &str| {
            let id = vocab
                .get(token)
                .and_then(Value::as_u64)
                .and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| wrong(vocab_path.clone(), format!("no special token {token:?}")))
        };
        let ids = [id(&begin)?, id(&end)?, id(&padding)?];
        let unknown_id = id(&unknown)?;
        let mut added: Vec<(u32, &str)> = Vec::new();
        for (token, id) in [
            (&begin, ids[0]),
            (&end, ids[1]),
            (&padding, ids[2]),
            (&unknown, unknown_id),
        ] {
            if !added.iter().any(|(known, _)| *known == id) {
                added.push((id, token));
            }
        }
        added.sort_unstable();
        let added: Vec<Value> = added
            .iter()
            .map(|(id, token)| {
                json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                       "normalized": false, "special": true})
            })
            .collect();
        let largest = vocab.values().filter_map(Value::as_u64).max().unwrap_or(0);
        let largest = u32::try_from(largest)
            .map_err(|_| wrong(vocab_path.clone(), format!("token id {largest} is out of range")))?;
        let document = json!({
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
                "type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": "",
                "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false,
                "vocab": vocab, "merges": pairs,
            },
        });
        let inner = tokenizers::Tokenizer::from_bytes(document.to_string())
            .map_err(|e| wrong(folder.path("tokenizer"), e.to_string()))?;
        let length = config
            .model_max_length
            .map_or(longest, |l| (l as usize).min(longest));
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

    /// Returns the [`Self::length`] token ids of `text` as the text encoder takes them: begin mark, the text cut to fit,
    /// end mark, padding.
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

    /// Returns the one token of `word`; an error that lists the tokens where it is not exactly one.
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
