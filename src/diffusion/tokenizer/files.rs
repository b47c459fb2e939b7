//! The files of a tokenizer: vocabulary and merges in either form, added tokens, settings.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::diffusion::error::{DiffusionError, Result};
use crate::diffusion::folder::Folder;

/// The settings of a tokenizer.
pub(super) const CONFIG: &str = "tokenizer/tokenizer_config.json";

/// What the files say.
pub(super) struct Files {
    /// The vocabulary's.
    pub(super) path: PathBuf,
    /// Id of each token.
    pub(super) vocab: serde_json::Map<String, Value>,
    /// Pairs, the first to be merged first.
    pub(super) merges: Vec<Value>,
    /// Tokens that are found in a text before it is split into words.
    pub(super) added: Vec<AddedToken>,
    /// Begin, end, padding and unknown; their ids are to be looked up.
    pub(super) special: [AddedToken; 4],
    /// The longest prompt, in tokens.
    pub(super) longest: Option<usize>,
}

/// A token that is found in a text as a whole, as the library `tokenizers` takes it.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct AddedToken {
    #[serde(default)]
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    /// Whether it is looked for after the text was brought to lower case.
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

impl AddedToken {
    fn plain(content: String, id: u32, special: bool) -> Self {
        Self {
            id,
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: !special,
            special,
        }
    }
}

/// A special token: its text, or an object with its flags.
#[derive(Deserialize)]
#[serde(untagged)]
enum Special {
    Text(String),
    Added(AddedToken),
}

impl Special {
    fn token(self) -> AddedToken {
        match self {
            Self::Text(text) => AddedToken::plain(text, 0, true),
            Self::Added(token) => AddedToken {
                special: true,
                ..token
            },
        }
    }
}

/// `tokenizer/tokenizer_config.json` and `tokenizer/special_tokens_map.json`.
#[derive(Default, Deserialize)]
struct Settings {
    bos_token: Option<Special>,
    eos_token: Option<Special>,
    unk_token: Option<Special>,
    pad_token: Option<Special>,
    /// Some files write "no limit" as 1e30.
    model_max_length: Option<f64>,
    /// By id.
    added_tokens_decoder: Option<BTreeMap<u32, AddedToken>>,
}

/// Tokens and merges, from either form of file.
struct Vocabulary {
    path: PathBuf,
    vocab: serde_json::Map<String, Value>,
    merges: Vec<Value>,
    added: Vec<AddedToken>,
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
        Ok(Self {
            path,
            vocab,
            merges,
            added: Vec::new(),
        })
    }

    fn from_document(path: PathBuf, document: Document) -> Result<Self> {
        let Model {
            kind,
            end_of_word_suffix,
            vocab,
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
            added: document.added_tokens,
        })
    }
}

impl Files {
    pub(super) fn read(folder: &mut Folder) -> Result<Self> {
        let Vocabulary {
            path,
            vocab,
            merges,
            mut added,
        } = Vocabulary::read(folder)?;
        // A folder that holds nothing but the vocabulary (beside a single-file checkpoint) has CLIP's own
        // settings.
        let own: Settings = if folder.holds_model() {
            folder.json(CONFIG)?
        } else {
            folder.json_if_present(CONFIG)?.unwrap_or_default()
        };
        let map: Settings = folder
            .json_if_present("tokenizer/special_tokens_map.json")?
            .unwrap_or_default();
        // Before transformers 4.34 the settings did not list the added tokens, and the map was what counted.
        let old = own.added_tokens_decoder.is_none();
        let pick = |own: Option<Special>, map: Option<Special>, otherwise: &str| {
            let (first, second) = if old { (map, own) } else { (own, map) };
            let otherwise = || Special::Text(otherwise.to_owned());
            first.or(second).unwrap_or_else(otherwise).token()
        };
        let special = [
            pick(own.bos_token, map.bos_token, "<|startoftext|>"),
            pick(own.eos_token, map.eos_token, "<|endoftext|>"),
            pick(own.pad_token, map.pad_token, "<|endoftext|>"),
            pick(own.unk_token, map.unk_token, "<|endoftext|>"),
        ];
        let listed = own.added_tokens_decoder.into_iter().flatten();
        let mut listed: Vec<AddedToken> = listed.map(|(id, token)| AddedToken { id, ..token }).collect();
        if old {
            let by_text: Option<BTreeMap<String, u32>> =
                folder.json_if_present("tokenizer/added_tokens.json")?;
            for (text, id) in by_text.into_iter().flatten() {
                let is_special = special.iter().any(|token| token.content == text);
                listed.push(AddedToken::plain(text, id, is_special));
            }
        }
        // Of a token that is listed twice the settings' flags count.
        added.retain(|token| listed.iter().all(|other| other.id != token.id));
        added.extend(listed);
        Ok(Self {
            path,
            vocab,
            merges,
            added,
            special,
            longest: own.model_max_length.map(|length| length as usize),
        })
    }
}
