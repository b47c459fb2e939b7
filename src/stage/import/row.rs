//! Rows with a vector.

use dream_schema::{ClassEmbedding, Feature, Outlier};

use crate::exchange::FromVector;
#[cfg(doc)]
use crate::exchange::VectorRows;
use crate::stage::embed;

/// A row with a vector, which is kept apart from it ([`VectorRows`]).
pub(super) trait Vectored: FromVector {
    fn key(&self) -> (u32, &str, u64);

    /// Puts the row into its class.
    fn place(&mut self, class: (u32, &str), index: u64);

    /// Brings what follows from the vector and the class's word, and what is unknown, into its one form.
    fn settle(&mut self, vector: &[f32], word: Option<&str>) -> Result<(), String>;

    /// Whether each class has one row.
    const ONE_EACH: bool = false;
}

macro_rules! vectored {
    ($Row:ty, $row:ident, $vector:ident, $word:ident, $settle:expr $(, $one:literal)?) => {
        impl Vectored for $Row {
            $(const ONE_EACH: bool = $one;)?

            fn key(&self) -> (u32, &str, u64) {
                (self.class_id, &self.class_name, self.index)
            }

            fn place(&mut self, class: (u32, &str), index: u64) {
                self.class_id = class.0;
                class.1.clone_into(&mut self.class_name);
                self.index = index;
            }

            fn settle(&mut self, $vector: &[f32], $word: Option<&str>) -> Result<(), String> {
                let $row = self;
                $settle
            }
        }
    };
}

vectored!(
    ClassEmbedding,
    row,
    vector,
    word,
    {
        row.norm = embed::norm(vector);
        match word {
            Some(word) => word.clone_into(&mut row.word),
            None if row.word.is_empty() => row.word.clone_from(&row.class_name),
            None => {}
        }
        has_direction(vector)
    },
    true
);

vectored!(Feature, _row, vector, _word, has_direction(vector));

vectored!(Outlier, row, _vector, _word, {
    row.knn_distance = row.knn_distance.filter(|distance| !distance.is_nan());
    match row.knn_distance {
        Some(distance) if distance.is_infinite() || distance < 0.0 => {
            Err(format!("its knn_distance is {distance}"))
        }
        _ => Ok(()),
    }
});

/// Refuses a vector of zeros. Numbers that are not finite are told by themselves.
fn has_direction(vector: &[f32]) -> Result<(), String> {
    match vector.iter().any(|number| *number != 0.0) {
        true => Ok(()),
        false => Err("its vector is zero, which has no direction".into()),
    }
}

/// A row in words.
pub(super) fn named<A: Vectored>(row: &A) -> String {
    let (_, name, index) = row.key();
    format!("row {index} of the class `{name}`")
}
