//! `sum` of integers that fails where the total does not fit 64 bits: the engine's own goes on at the other
//! end. It adds up decimal numbers of 38 digits, which hold any number of integers; the rest is the engine's.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature,
};

/// What integers are added up as.
const WIDE: DataType = DataType::Decimal128(38, 0);

/// Returns the aggregate.
pub(super) fn checked() -> AggregateUDF {
    AggregateUDF::new_from_impl(CheckedSum { sum: Sum::new() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    sum: Sum,
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.sum.name()
    }

    fn signature(&self) -> &Signature {
        self.sum.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.sum.return_type(arguments)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let return_field = widened(&args.return_field).unwrap_or_else(|| args.return_field.clone());
        self.sum.state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let Some(return_field) = widened(&args.return_field) else {
            return self.sum.accumulator(args);
        };
        let narrow = args.return_type().clone();
        let wide = self.sum.accumulator(AccumulatorArgs { return_field, ..args })?;
        Ok(Box::new(Narrowed { wide, narrow }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.sum.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let Some(return_field) = widened(&args.return_field) else {
            return self.sum.create_groups_accumulator(args);
        };
        let narrow = args.return_type().clone();
        let args = AccumulatorArgs { return_field, ..args };
        let wide = self.sum.create_groups_accumulator(args)?;
        Ok(Box::new(Narrowed { wide, narrow }))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let Some(return_field) = widened(&args.return_field) else {
            return self.sum.create_sliding_accumulator(args);
        };
        let narrow = args.return_type().clone();
        let args = AccumulatorArgs { return_field, ..args };
        let wide = self.sum.create_sliding_accumulator(args)?;
        Ok(Box::new(Narrowed { wide, narrow }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.sum.reverse_expr()
    }
}

/// Returns the field of a sum of integers as it is added up; none of another's.
fn widened(field: &Field) -> Option<FieldRef> {
    let is_integer = field.data_type().is_integer();
    is_integer.then(|| Arc::new(field.clone().with_data_type(WIDE)))
}

/// An accumulator of wide numbers whose result is narrow.
#[derive(Debug)]
struct Narrowed<A> {
    wide: A,
    narrow: DataType,
}

impl<A> Narrowed<A> {
    fn widen(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let wide = values.iter().map(|values| cast(values, &WIDE));
        Ok(wide.collect::<std::result::Result<_, _>>()?)
    }

    fn narrow(&self, sums: &ArrayRef) -> Result<ArrayRef> {
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        Ok(cast_with_options(sums, &self.narrow, &options)?)
    }
}

impl Accumulator for Narrowed<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.wide.update_batch(&Self::widen(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.wide.evaluate()?.to_array()?;
        ScalarValue::try_from_array(&self.narrow(&sum)?, 0)
    }

    fn size(&self) -> usize {
        size_of::<DataType>() + self.wide.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.wide.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.wide.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.wide.retract_batch(&Self::widen(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.wide.supports_retract_batch()
    }
}

impl GroupsAccumulator for Narrowed<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        count: usize,
    ) -> Result<()> {
        self.wide
            .update_batch(&Self::widen(values)?, groups, filter, count)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = self.wide.evaluate(emit_to)?;
        self.narrow(&sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.wide.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], count: usize) -> Result<()> {
        self.wide.merge_batch(values, groups, count)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.wide.convert_to_state(&Self::widen(values)?, filter)
    }

    fn size(&self) -> usize {
        self.wide.size()
    }
}
