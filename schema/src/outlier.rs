//! The table `outliers`.

use std::str::FromStr;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;

use crate::SchemaError;
use crate::columns::Columns;
use crate::table::table;
use crate::value::Value;
use crate::words;

words! {
    /// How a vector was sampled, and so which part of the space it is from.
    pub enum OutlierKind {
        /// Far from the class: the largest k-NN distances.
        Outlier = "outlier",
        /// Inside it: the smallest (DREAM-ID).
        Inlier = "inlier",
        /// Around the class embedding, by Gaussian noise.
        Gaussian = "gaussian",
        /// Out of the class in a random direction, to a given distance.
        Beyond = "beyond",
        /// Across the classifier's decision boundary (BOOD).
        Boundary = "boundary",
    }
}

impl FromStr for OutlierKind {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let named = Self::from_name(s);
        named.ok_or_else(|| format!("`{s}` is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl Value for OutlierKind {
    fn data_type(width: usize) -> DataType {
        String::data_type(width)
    }

    fn write<'a>(
        _table: &'static str,
        values: impl Iterator<Item = &'a Self>,
    ) -> Result<ArrayRef, SchemaError> {
        let words = values.map(|kind| kind.name());
        Ok(Arc::new(StringArray::from_iter_values(words)))
    }

    fn read(columns: &Columns<'_>, column: &'static str) -> Result<Vec<Self>, SchemaError> {
        columns.words(column, &Self::ALL.map(|kind| (kind.name(), kind)))
    }
}

table! {
    /// A vector around a class: `outlier`, `inlier`, `gaussian`, `beyond` or `boundary`.
    ///
    /// An outlier is sampled at the low-likelihood edge of a class, an inlier at its core (DREAM-OOD, Sec.
    /// 3.2); the others are of methods that these are compared with.
    pub struct Outlier in Table::Outliers, "outliers", by class {
        /// How it was sampled.
        pub kind: OutlierKind,
        /// v * |T(y)|: the sampled unit vector, as long as the class embedding.
        pub vector: Vec<f32> as wide,
        /// Index of the ID feature (of the same class) that it was made from; for `gaussian` the nearest one.
        pub anchor: i64,
        /// The round of noise that it was kept in; for `boundary` the steps that it took to the boundary;
        /// otherwise 0.
        pub round: i32,
        /// Distance of the unit vector v to its k-th nearest ID feature of the class, where it is known.
        pub knn_distance: Option<f32>,
    }
}
