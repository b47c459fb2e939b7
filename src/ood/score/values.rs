//! The numbers that a score leaves open, with the values that a search tries.

use std::fmt;

use super::error::ScoreError;

/// What values a hyperparameter may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// A whole number of at least `.0`.
    Whole(u32),
    /// A positive number.
    Positive,
    /// A number of at least zero.
    NotNegative,
    /// A percentage between 0 and 100, both excluded.
    Percent,
    /// A share of a whole, more than 0, at most 1.
    Share,
    /// One of the whole numbers from 0 to one less than `.0`.
    Choice(u32),
}

impl Range {
    fn holds(self, value: f64) -> bool {
        let whole = value.fract() == 0.0;
        match self {
            Self::Whole(least) => whole && value >= f64::from(least) && value <= f64::from(u32::MAX),
            Self::Positive => value > 0.0 && value.is_finite(),
            Self::NotNegative => value >= 0.0 && value.is_finite(),
            Self::Percent => value > 0.0 && value < 100.0,
            Self::Share => value > 0.0 && value <= 1.0,
            Self::Choice(count) => whole && value >= 0.0 && value < f64::from(count),
        }
    }
}

impl Range {
    /// What would do in the place of a value outside the range, in words.
    fn expected(self, value: f64) -> String {
        match self {
            Self::Whole(_) if value > f64::from(u32::MAX) => {
                format!("a whole number of at most {}", u32::MAX)
            }
            range => range.to_string(),
        }
    }
}

/// In words: `a positive number`.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(least) => write!(f, "a whole number of at least {least}"),
            Self::Positive => f.write_str("a positive number"),
            Self::NotNegative => f.write_str("a number of at least 0"),
            Self::Percent => f.write_str("a number between 0 and 100"),
            Self::Share => f.write_str("a number above 0, at most 1"),
            Self::Choice(count) => write!(f, "a whole number from 0 to {}", count - 1),
        }
    }
}

/// A number that a score leaves open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameter {
    /// Its name, unique within the score.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// What values it may have.
    pub range: Range,
    /// The value when none is given.
    pub default: f64,
    /// The values that a search on validation sets tries: OpenOOD's, or the paper's.
    pub search: &'static [f64],
}

/// Values of all hyperparameters of one score, each in its range.
#[derive(Clone, Debug, PartialEq)]
pub struct Values(Vec<(&'static str, f64)>);

impl Values {
    /// Returns the defaults of `all`, with `given` in their place.
    ///
    /// # Errors
    /// A name that `score` does not have, or a value outside its range.
    pub(super) fn new(
        score: &'static str,
        all: &[Hyperparameter],
        given: &[(&str, f64)],
    ) -> Result<Self, ScoreError> {
        for (name, _) in given {
            if !all.iter().any(|known| known.name == *name) {
                let known: Vec<&str> = all.iter().map(|known| known.name).collect();
                return Err(ScoreError::Unknown {
                    score,
                    name: (*name).to_owned(),
                    known: known.join(", "),
                });
            }
        }
        let value = |known: &Hyperparameter| {
            let last = given.iter().rev().find(|(name, _)| *name == known.name);
            let value = last.map_or(known.default, |(_, value)| *value);
            match known.range.holds(value) {
                true => Ok((known.name, value)),
                false => Err(ScoreError::Range {
                    name: known.name,
                    expected: known.range.expected(value),
                    actual: value,
                }),
            }
        };
        Ok(Self(all.iter().map(value).collect::<Result<_, _>>()?))
    }

    /// Names and values, in the order in which the score lists them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        self.0.iter().copied()
    }

    /// The value of one of the score's own hyperparameters; its default if these are the values of another
    /// score.
    pub(super) fn get(&self, hyperparameter: &Hyperparameter) -> f64 {
        let own = self.0.iter().find(|(name, _)| *name == hyperparameter.name);
        own.map_or(hyperparameter.default, |(_, value)| *value)
    }

    pub(super) fn whole(&self, hyperparameter: &Hyperparameter) -> usize {
        self.get(hyperparameter) as usize
    }

    pub(super) fn flag(&self, hyperparameter: &Hyperparameter) -> bool {
        self.get(hyperparameter) != 0.0
    }
}
