//! `outliers`: sampled vectors at the low-likelihood edge of a class, or (inliers) at its core (DREAM-OOD, Sec. 3.2); or vectors
//! of the methods that these are compared with.

use std::fmt;
use std::str::FromStr;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Int64Type, SchemaRef};

use crate::columns::{Builder, Columns, schema, vector_field};
use crate::{Artifact, SchemaError, Table};

/// How a vector was sampled, and so which part of the space it is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutlierKind {
    /// Far from the class: the largest k-NN distances.
    Outlier,
    /// Inside it: the smallest (DREAM-ID).
    Inlier,
    /// Around the class embedding, by Gaussian noise.
    Gaussian,
    /// Out of the class in a random direction, to a given distance.
    Beyond,
    /// Across the classifier's decision boundary (BOOD).
    Boundary,
}

impl OutlierKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::Outlier,
        Self::Inlier,
        Self::Gaussian,
        Self::Beyond,
        Self::Boundary,
    ];

    /// Returns the word that stands in the column `kind`.
    pub fn as_str(self) -> &'static str {
        match self {
            OutlierKind::Outlier => "outlier",
            OutlierKind::Inlier => "inlier",
            OutlierKind::Gaussian => "gaussian",
            OutlierKind::Beyond => "beyond",
            OutlierKind::Boundary => "boundary",
        }
    }
}

impl fmt::Display for OutlierKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OutlierKind {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|kind| kind.as_str() == s);
        named.ok_or_else(|| format!("`{s}` is none of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// A sampled vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlier {
    /// The class.
    pub class_id: u32,
    /// The name of the class.
    pub class_name: String,
    /// Its place in the class.
    pub index: u64,
    /// How it was sampled.
    pub kind: OutlierKind,
    /// v * |T(y)|: the sampled unit vector, as long as the class embedding.
    pub vector: Vec<f32>,
    /// Index of the ID feature (of the same class) that it was made from; for `gaussian` the nearest one.
    pub anchor: i64,
    /// The round of noise that it was kept in; for `boundary` the steps that it took to the boundary; otherwise 0.
    pub round: i32,
    /// Distance of the unit vector v to its k-th nearest ID feature of the class.
    pub knn_distance: f32,
}

impl Artifact for Outlier {
    const TABLE: Table = Table::Outliers;

    fn part(&self) -> u32 {
        self.class_id
    }

    fn index(&self) -> u64 {
        self.index
    }

    fn schema(width: usize) -> SchemaRef {
        schema(vec![
            Field::new("kind", DataType::Utf8, true),
            vector_field(width),
            Field::new("anchor", DataType::Int64, true),
            Field::new("round", DataType::Int32, true),
            Field::new("knn_distance", DataType::Float32, true),
        ])
    }

    fn to_batch(rows: &[Self]) -> Result<RecordBatch, SchemaError> {
        let width = rows.first().map_or(0, |r| r.vector.len());
        Builder::new(Self::TABLE)
            .i32(rows.iter().map(|r| Some(r.class_id as i32)))
            .text(rows.iter().map(|r| Some(r.class_name.as_str())))
            .i64(rows.iter().map(|r| Some(r.index as i64)))
            .text(rows.iter().map(|r| Some(r.kind.as_str())))
            .vectors(rows.iter().map(|r| r.vector.as_slice()))?
            .i64(rows.iter().map(|r| Some(r.anchor)))
            .i32(rows.iter().map(|r| Some(r.round)))
            .f32(rows.iter().map(|r| r.knn_distance))
            .finish(Self::schema(width))
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, SchemaError> {
        let c = Columns::new(Self::TABLE, batch);
        let mut class_id = c.numbers::<Int32Type>("class_id")?.into_iter();
        let mut class_name = c.text("class_name")?.into_iter();
        let index = c.numbers::<Int64Type>("index")?;
        let kind = c.text("kind")?;
        let parse = |(row, kind): (usize, &String)| {
            let hint = "expected `outlier`, `inlier`, `gaussian`, `beyond` or `boundary`";
            kind.parse::<OutlierKind>()
                .map_err(|_| c.bad_value("kind", row, kind, hint))
        };
        let mut kind = kind
            .iter()
            .enumerate()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let mut vector = c.vectors("vector")?.into_iter();
        let mut anchor = c.numbers::<Int64Type>("anchor")?.into_iter();
        let mut round = c.numbers::<Int32Type>("round")?.into_iter();
        let mut knn_distance = c.numbers::<Float32Type>("knn_distance")?.into_iter();
        let row = |index: i64| {
            Some(Self {
                class_id: class_id.next()? as u32,
                class_name: class_name.next()?,
                index: index as u64,
                kind: kind.next()?,
                vector: vector.next()?,
                anchor: anchor.next()?,
                round: round.next()?,
                knn_distance: knn_distance.next()?,
            })
        };
        // Columns of one batch are equally long, so no row is left out.
        Ok(index.into_iter().map_while(row).collect())
    }
}
