//! `dot`, `norm`, `l2_distance` and `cosine_similarity` on vectors.
//!
//! A vector is a list of numbers, of a fixed size or not; a literal is written `[0.1, 0.2]`. Sums are taken
//! in 64 bits over 32-bit numbers. If a vector is null, so is the result; if two differ in width, the query
//! fails.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::exchange::list::list_value;
use crate::query::vector::{cosine_similarity, dot, norm, squared_distance};

/// Returns all functions.
pub(super) fn all() -> impl Iterator<Item = ScalarUDF> {
    let kinds = [Kind::Dot, Kind::Norm, Kind::L2Distance, Kind::CosineSimilarity];
    kinds.into_iter().map(|kind| {
        ScalarUDF::new_from_impl(VectorFunction {
            kind,
            signature: Signature::any(kind.arguments(), Volatility::Immutable),
        })
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Dot,
    Norm,
    L2Distance,
    CosineSimilarity,
}

impl Kind {
    fn arguments(self) -> usize {
        if self == Kind::Norm { 1 } else { 2 }
    }

    fn apply(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Kind::Dot => dot(a, b),
            Kind::Norm => norm(a),
            Kind::L2Distance => squared_distance(a, b).sqrt(),
            Kind::CosineSimilarity => cosine_similarity(a, b),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct VectorFunction {
    kind: Kind,
    signature: Signature,
}

impl ScalarUDFImpl for VectorFunction {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Dot => "dot",
            Kind::Norm => "norm",
            Kind::L2Distance => "l2_distance",
            Kind::CosineSimilarity => "cosine_similarity",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        for argument in arguments {
            if !is_vector(argument) {
                return plan_err!("{} takes vectors, not {argument}", self.name());
            }
        }
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let vectors = args.args.iter().map(Vectors::new).collect::<Result<Vec<_>>>()?;
        let one = |row: usize| {
            let mut pair = [const { Some(Vec::new()) }; 2];
            for (slot, vectors) in pair.iter_mut().zip(&vectors) {
                *slot = vectors.get(row)?;
            }
            let [Some(a), Some(b)] = pair else {
                return Ok(None);
            };
            if self.kind != Kind::Norm && a.len() != b.len() {
                let name = self.name();
                return exec_err!("{name} of vectors of the widths {} and {}", a.len(), b.len());
            }
            Ok(Some(self.kind.apply(&a, &b)))
        };
        if constant {
            return Ok(ColumnarValue::Scalar(one(0)?.into()));
        }
        let results = (0..rows).map(one).collect::<Result<Float64Array>>()?;
        Ok(ColumnarValue::Array(Arc::new(results)))
    }
}

fn is_vector(data_type: &DataType) -> bool {
    match data_type {
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => {
            item.data_type().is_numeric() || item.data_type() == &DataType::Null
        }
        DataType::Null => true,
        _ => false,
    }
}

/// A column of vectors, or one for all rows.
struct Vectors {
    array: ArrayRef,
    constant: bool,
}

impl Vectors {
    fn new(value: &ColumnarValue) -> Result<Self> {
        Ok(match value {
            ColumnarValue::Array(array) => Self {
                array: array.clone(),
                constant: false,
            },
            ColumnarValue::Scalar(scalar) => Self {
                array: scalar.to_array()?,
                constant: true,
            },
        })
    }

    /// Returns the vector in a row; none if it is null or has a null in it.
    fn get(&self, row: usize) -> Result<Option<Vec<f32>>> {
        let Some(list) = list_value(&self.array, if self.constant { 0 } else { row }) else {
            return Ok(None);
        };
        let list = match list.data_type() {
            DataType::Float32 => list,
            _ => cast(&list, &DataType::Float32)?,
        };
        if list.null_count() > 0 {
            return Ok(None);
        }
        Ok(Some(list.as_primitive::<Float32Type>().values().to_vec()))
    }
}
