//! `auroc`, `fpr95`, `aupr_in` and `aupr_out` over groups of rows: the numbers of [`crate::ood`].
//!
//! A row is a score, higher for in-distribution samples, and whether the sample is out of distribution. Rows
//! with a null in either are passed over; a group that lacks ID or OOD samples has null. A NaN is an error.
//! The convention is DREAM-OOD's unless a third argument names another: `fpr95(score, is_ood, 'openood')`.

use std::mem::{size_of, size_of_val};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;

use crate::ood::{Convention, OodError, Positive, aupr, auroc, fpr_at_tpr};

/// Returns all aggregates.
pub(super) fn all() -> impl Iterator<Item = AggregateUDF> {
    [Metric::Auroc, Metric::Fpr95, Metric::AuprIn, Metric::AuprOut]
        .into_iter()
        .map(|metric| {
            AggregateUDF::new_from_impl(Detection {
                metric,
                aliases: match metric {
                    // What the public code reports as AUPR.
                    Metric::AuprIn => vec!["aupr".to_owned()],
                    Metric::Auroc | Metric::Fpr95 | Metric::AuprOut => Vec::new(),
                },
                signature: Signature::user_defined(Volatility::Immutable),
            })
        })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Metric {
    Auroc,
    Fpr95,
    AuprIn,
    AuprOut,
}

impl Metric {
    fn name(self) -> &'static str {
        match self {
            Metric::Auroc => "auroc",
            Metric::Fpr95 => "fpr95",
            Metric::AuprIn => "aupr_in",
            Metric::AuprOut => "aupr_out",
        }
    }

    fn of(self, id: &[f64], ood: &[f64], convention: Convention) -> Result<f64, OodError> {
        let area = |positive| aupr(id, ood, positive, convention.interpolation());
        match self {
            Metric::Auroc => auroc(id, ood),
            Metric::Fpr95 => fpr_at_tpr(id, ood, 0.95, convention),
            Metric::AuprIn => area(Positive::Id),
            Metric::AuprOut => area(Positive::Ood),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Detection {
    metric: Metric,
    aliases: Vec<String>,
    signature: Signature,
}

/// The type of each of the two lists that a group has gathered.
fn list() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)))
}

impl AggregateUDFImpl for Detection {
    fn name(&self) -> &str {
        self.metric.name()
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let (score, is_ood) = match given {
            [score, is_ood] | [score, is_ood, DataType::Utf8 | DataType::Utf8View] => (score, is_ood),
            _ => {
                return plan_err!("{name} takes (score, is_ood), or a convention's name as a third argument");
            }
        };
        if !(score.is_numeric() || score.is_null()) {
            return plan_err!("{name}: the score is a number, not {score}");
        }
        if !(is_ood.is_integer() || matches!(is_ood, DataType::Boolean | DataType::Null)) {
            return plan_err!("{name}: is_ood is true or false, not {is_ood}");
        }
        let convention = given.get(2).cloned();
        // Whether integers are 0 and 1 is seen row by row: a label is not whether a sample is OOD.
        let is_ood = match is_ood.is_integer() {
            true => DataType::Int64,
            false => DataType::Boolean,
        };
        Ok([DataType::Float64, is_ood]
            .into_iter()
            .chain(convention)
            .collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let name = self.name();
        if args.is_distinct {
            return plan_err!("{name}(DISTINCT ..) would drop samples with equal scores");
        }
        let convention = match args.exprs.get(2) {
            None => Convention::DreamOod,
            Some(expr) => {
                let literal = expr.downcast_ref::<Literal>().map(Literal::value);
                let word = literal.and_then(|value| value.try_as_str()).flatten();
                match word.and_then(Convention::from_name) {
                    Some(convention) => convention,
                    None => {
                        let words = Convention::ALL.map(Convention::name).join("', '");
                        return plan_err!("{name}: the convention is one of '{words}'");
                    }
                }
            }
        };
        Ok(Box::new(Samples {
            metric: self.metric,
            convention,
            id: Vec::new(),
            ood: Vec::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |side: &str| Arc::new(Field::new(format!("{}[{side}]", args.name), list(), true));
        Ok(vec![field("id"), field("ood")])
    }
}

/// The scores of a group.
#[derive(Debug)]
struct Samples {
    metric: Metric,
    convention: Convention,
    id: Vec<f64>,
    ood: Vec<f64>,
}

impl Accumulator for Samples {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [scores, is_ood, ..] = values else {
            return exec_err!("{} takes two columns", self.metric.name());
        };
        let scores = scores.as_primitive::<Float64Type>();
        let is_ood = match is_ood.as_primitive_opt::<Int64Type>() {
            Some(integers) => {
                if let Some(other) = integers
                    .iter()
                    .flatten()
                    .find(|integer| !matches!(integer, 0 | 1))
                {
                    let name = self.metric.name();
                    return exec_err!(
                        "{name}: is_ood is true or false, or 1 or 0, and not {other} (of a label: `label IS \
                         NULL`)"
                    );
                }
                &cast(is_ood, &DataType::Boolean)?
            }
            None => is_ood,
        };
        for (score, is_ood) in scores.iter().zip(is_ood.as_boolean()) {
            match (score, is_ood) {
                (Some(score), Some(true)) => self.ood.push(score),
                (Some(score), Some(false)) => self.id.push(score),
                (None, _) | (_, None) => {}
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if self.id.is_empty() || self.ood.is_empty() {
            return Ok(ScalarValue::Float64(None));
        }
        let value = self.metric.of(&self.id, &self.ood, self.convention);
        let value =
            value.map_err(|error| DataFusionError::Execution(format!("{}: {error}", self.metric.name())))?;
        Ok(ScalarValue::Float64(Some(value)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.id.capacity() + self.ood.capacity()) * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |scores: &[f64]| {
            let scores: Vec<_> = scores.iter().map(|score| ScalarValue::from(*score)).collect();
            ScalarValue::List(ScalarValue::new_list_nullable(&scores, &DataType::Float64))
        };
        Ok(vec![list(&self.id), list(&self.ood)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (scores, lists) in [&mut self.id, &mut self.ood].into_iter().zip(states) {
            for list in lists.as_list::<i32>().iter().flatten() {
                scores.extend_from_slice(list.as_primitive::<Float64Type>().values());
            }
        }
        Ok(())
    }
}
