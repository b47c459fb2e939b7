//! What a classifier showed of a set of pictures: views that scores read, checked once when they are made.

use super::score::ScoreError;

/// Rows of one width, one after another: a view of a `[n, width]` matrix whose numbers are all finite.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    width: usize,
}

impl<'a> Rows<'a> {
    /// Returns `values` as rows of `width` numbers. `what` names them in errors.
    ///
    /// # Errors
    /// No rows, a width of zero, a length that is no multiple of it, or a number that is not finite (its row
    /// is named).
    pub fn new(what: &'static str, values: &'a [f32], width: usize) -> Result<Self, ScoreError> {
        if values.is_empty() || width == 0 {
            return Err(ScoreError::Empty { what });
        }
        if !values.len().is_multiple_of(width) {
            return Err(ScoreError::Shape {
                what,
                expected: format!("a multiple of {width}"),
                actual: values.len(),
            });
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(ScoreError::NotFinite {
                what,
                row: at / width,
                column: at % width,
                value: values[at],
            }),
            None => Ok(Self { values, width }),
        }
    }

    /// Number of rows, at least one.
    #[expect(clippy::len_without_is_empty, reason = "rows are never empty")]
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Numbers of a row, at least one.
    pub fn width(&self) -> usize {
        self.width
    }

    /// All numbers, row after row.
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    /// Row `index`.
    pub fn row(&self, index: usize) -> &'a [f32] {
        &self.values[index * self.width..][..self.width]
    }

    /// The rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'a, f32> {
        self.values.chunks_exact(self.width)
    }
}

/// The last layer: `logits = weight feature + bias`.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// `[classes, width]`.
    pub weight: Rows<'a>,
    /// `[classes]`.
    pub bias: &'a [f32],
}

/// What a classifier showed of n pictures. It holds logits, features, or both; labels and the last layer
/// where they are known.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    len: usize,
    logits: Option<Rows<'a>>,
    features: Option<Rows<'a>>,
    labels: Option<&'a [u32]>,
    head: Option<Head<'a>>,
}

impl<'a> Observed<'a> {
    /// Returns what `logits` (`[n, classes]`) show.
    ///
    /// # Errors
    /// As [`Rows::new`].
    pub fn of_logits(logits: &'a [f32], classes: usize) -> Result<Self, ScoreError> {
        let logits = Rows::new("logits", logits, classes)?;
        Ok(Self {
            len: logits.len(),
            logits: Some(logits),
            features: None,
            labels: None,
            head: None,
        })
    }

    /// Returns what `features` (`[n, width]`, what the last layer reads) show.
    ///
    /// # Errors
    /// As [`Rows::new`].
    pub fn of_features(features: &'a [f32], width: usize) -> Result<Self, ScoreError> {
        let features = Rows::new("features", features, width)?;
        Ok(Self {
            len: features.len(),
            logits: None,
            features: Some(features),
            labels: None,
            head: None,
        })
    }

    /// Adds the features (`[n, width]`) of the same pictures.
    ///
    /// # Errors
    /// As [`Rows::new`]; another number of rows than there are pictures.
    pub fn with_features(self, features: &'a [f32], width: usize) -> Result<Self, ScoreError> {
        let features = Rows::new("features", features, width)?;
        same("rows of features", self.len, features.len())?;
        Ok(Self {
            features: Some(features),
            ..self
        })
    }

    /// Adds the labels of the same pictures: classes, counted from zero.
    ///
    /// # Errors
    /// Another number of labels than there are pictures; a label that is no class of the logits.
    pub fn with_labels(self, labels: &'a [u32]) -> Result<Self, ScoreError> {
        same("labels", self.len, labels.len())?;
        if let Some(logits) = self.logits {
            let classes = logits.width();
            if let Some(row) = labels.iter().position(|label| *label as usize >= classes) {
                return Err(ScoreError::Label {
                    row,
                    label: labels[row],
                    classes,
                });
            }
        }
        Ok(Self {
            labels: Some(labels),
            ..self
        })
    }

    /// Adds the classifier's last layer: `weight` is `[classes, width]`, `bias` is `[classes]`.
    ///
    /// # Errors
    /// Numbers that are not finite; sizes that fit neither each other nor the features and logits that are
    /// there.
    pub fn with_head(self, weight: &'a [f32], bias: &'a [f32]) -> Result<Self, ScoreError> {
        let bias = Rows::new("the head's bias", bias, bias.len())?.values();
        if !weight.len().is_multiple_of(bias.len()) {
            return Err(ScoreError::Shape {
                what: "the head's weight",
                expected: format!("a multiple of {} classes", bias.len()),
                actual: weight.len(),
            });
        }
        let weight = Rows::new("the head's weight", weight, weight.len() / bias.len())?;
        if let Some(logits) = self.logits {
            same("classes of the head", logits.width(), bias.len())?;
        }
        if let Some(features) = self.features {
            same("columns of the head's weight", features.width(), weight.width())?;
        }
        Ok(Self {
            head: Some(Head { weight, bias }),
            ..self
        })
    }

    /// Number of pictures, at least one.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The logits, `[n, classes]`.
    ///
    /// # Errors
    /// If they are not there.
    pub fn logits(&self) -> Result<Rows<'a>, ScoreError> {
        self.logits.ok_or(ScoreError::Missing { what: "logits" })
    }

    /// The features, `[n, width]`.
    ///
    /// # Errors
    /// If they are not there.
    pub fn features(&self) -> Result<Rows<'a>, ScoreError> {
        self.features.ok_or(ScoreError::Missing { what: "features" })
    }

    /// The labels, `[n]`.
    ///
    /// # Errors
    /// If they are not there.
    pub fn labels(&self) -> Result<&'a [u32], ScoreError> {
        self.labels.ok_or(ScoreError::Missing { what: "labels" })
    }

    /// The last layer.
    ///
    /// # Errors
    /// If it is not there.
    pub fn head(&self) -> Result<Head<'a>, ScoreError> {
        self.head.ok_or(ScoreError::Missing { what: "the head" })
    }
}

/// Checks that there are as many of `what` as expected.
pub(super) fn same(what: &'static str, expected: usize, actual: usize) -> Result<(), ScoreError> {
    if expected == actual {
        return Ok(());
    }
    Err(ScoreError::Shape {
        what,
        expected: expected.to_string(),
        actual,
    })
}
