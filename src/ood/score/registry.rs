//! Scores of both kinds by name: those of what a classifier showed, and those that run the network.

use super::network::{NETWORK_SCORES, NetworkScore};
use super::{Card, Extent, SCORES, Score, ScoreError, Values};

/// A score of either kind.
#[derive(Clone, Copy)]
pub enum Entry {
    /// One of what a classifier showed.
    Shown(&'static dyn Score),
    /// One that runs the network.
    Network(&'static dyn NetworkScore),
}

impl Entry {
    /// What there is to know of it.
    pub fn card(self) -> &'static Card {
        match self {
            Self::Shown(score) => score.card(),
            Self::Network(score) => score.card(),
        }
    }

    /// Returns values of its hyperparameters: the defaults, with `given` in their place.
    ///
    /// # Errors
    /// A name that it does not have, or a value outside its range.
    pub fn values(self, given: &[(&str, f64)]) -> Result<Values, ScoreError> {
        let card = self.card();
        Values::new(card.name, card.hyperparameters, given)
    }

    /// Refuses values that do not go together, or ask for more than there is to learn from.
    ///
    /// # Errors
    /// [`ScoreError::Range`], [`ScoreError::TooFew`].
    pub fn check(self, values: &Values, extent: Extent) -> Result<(), ScoreError> {
        match self {
            Self::Shown(score) => score.check(values, extent),
            Self::Network(score) => score.check(values),
        }
    }
}

/// Returns all scores, in the order in which they are listed.
pub fn all() -> impl Iterator<Item = Entry> {
    let shown = SCORES.iter().map(|score| Entry::Shown(*score));
    shown.chain(NETWORK_SCORES.iter().map(|score| Entry::Network(*score)))
}

/// Returns the score called `name`.
pub fn find(name: &str) -> Option<Entry> {
    all().find(|score| score.card().name == name)
}

/// Returns the score of what a classifier showed that is called `name`.
pub fn by_name(name: &str) -> Option<&'static dyn Score> {
    SCORES.iter().copied().find(|score| score.card().name == name)
}

/// Returns the names of scores that are like `name`, the nearest first.
pub fn near(name: &str) -> Vec<String> {
    crate::words::near_names(name, all().map(|score| score.card().name.to_owned()))
}
