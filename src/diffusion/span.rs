//! Where a class word stands in a prompt, and which of its tokens another vector takes the place of.
//!
//! DREAM-OOD has one word of one token a class (Sec. 3.1 of the paper). A name of several tokens ("aquarium
//! fish", or a rare word that the tokenizer cuts up) has to be turned into one place for one vector; the two
//! ways of doing so are [`TokenRule::First`] and [`TokenRule::All`].

use super::error::{DiffusionError, Result};
use super::tokenizer::Tokenizer;
use crate::words::words;

words! {
    /// What becomes of the tokens of a class word when a vector takes its place.
    #[derive(Default)]
    #[non_exhaustive]
    pub enum TokenRule {
        /// The word must be one token, which the vector replaces.
        #[default]
        One = "one",
        /// The vector replaces the first token; the others are taken out of the prompt, and what follows
        /// moves up.
        First = "first",
        /// The vector replaces each of the tokens; the prompt keeps its length.
        All = "all",
    }
}

impl TokenRule {
    /// Says whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The tokens of a class word, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSpan {
    tokens: Vec<u32>,
    rule: TokenRule,
}

impl From<u32> for TokenSpan {
    fn from(token: u32) -> Self {
        Self {
            tokens: vec![token],
            rule: TokenRule::One,
        }
    }
}

impl From<&TokenSpan> for TokenSpan {
    fn from(span: &TokenSpan) -> Self {
        span.clone()
    }
}

/// A prompt as the text encoder takes it, with the places of a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Begin mark, tokens, end mark, padding.
    pub(crate) ids: Vec<u32>,
    /// Positions in `ids` that the vector takes, ascending.
    pub(crate) places: Vec<usize>,
    pub(crate) placing: Placing,
}

/// How a class word stands in a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placing {
    /// How often it occurs.
    pub occurrences: usize,
    /// Tokens at the prompt's end that the text encoder has no room for.
    pub cut: usize,
}

impl Tokenizer {
    /// Returns the tokens of a class word.
    ///
    /// # Errors
    /// If the rule is [`TokenRule::One`] and there are several, or there is none.
    pub fn span(&self, word: &str, rule: TokenRule) -> Result<TokenSpan> {
        if rule == TokenRule::One {
            return self.single_token(word).map(TokenSpan::from);
        }
        let tokens = self.bare_ids(word)?;
        if tokens.is_empty() || tokens.iter().any(|id| self.is_mark(*id)) {
            return Err(DiffusionError::NoToken { word: word.into() });
        }
        Ok(TokenSpan { tokens, rule })
    }
}

impl TokenSpan {
    /// Returns the ids of the word's tokens, at least one.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Returns what becomes of them.
    pub fn rule(&self) -> TokenRule {
        self.rule
    }

    pub(crate) fn placing(&self, tokenizer: &Tokenizer, prompt: &str) -> Result<Placing> {
        Ok(self.place(tokenizer, prompt)?.placing)
    }

    /// Puts the word's places into a prompt. Every occurrence counts, from left to right and without
    /// overlaps; the begin and end marks and the padding do not: replacing those is never what was meant. One
    /// that is cut off at the prompt's end does not count either.
    pub(crate) fn place(&self, tokenizer: &Tokenizer, prompt: &str) -> Result<Placed> {
        let bare = tokenizer.bare_ids(prompt)?;
        let room = tokenizer.length() - 2; // a prompt has room for both marks
        let (mut words, mut places, mut occurrences) = (Vec::new(), Vec::new(), 0);
        let mut rest = bare.as_slice();
        while let Some((first, after)) = rest.split_first() {
            let Some(behind) = rest.strip_prefix(self.tokens.as_slice()) else {
                words.push(*first);
                rest = after;
                continue;
            };
            let kept = match self.rule {
                TokenRule::All => self.tokens.len(),
                TokenRule::One | TokenRule::First => 1,
            };
            if words.len() + kept <= room {
                places.extend((0..kept).map(|i| 1 + words.len() + i)); // the begin mark comes first
                occurrences += 1;
            }
            words.extend(&self.tokens[..kept]); // at least one token, at most all
            rest = behind;
        }
        if occurrences == 0 {
            return Err(DiffusionError::TokenNotInPrompt {
                tokens: self.tokens.clone(),
                text: self.tokens.iter().map(|id| tokenizer.text(*id)).collect(),
                prompt: prompt.into(),
                length: tokenizer.length(),
            });
        }
        let cut = words.len().saturating_sub(room);
        Ok(Placed {
            ids: tokenizer.frame(words),
            places,
            placing: Placing { occurrences, cut },
        })
    }
}
