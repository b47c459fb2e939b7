//! The few types that columns have: from values to an Arrow column and back, nulls checked at every depth.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    ListArray, StringArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, UInt64Type};

use crate::SchemaError;
use crate::columns::Columns;

/// A Rust type that a column can have.
pub trait Value: Sized {
    /// Returns the Arrow type of the column; of a vector, for this width.
    fn data_type(width: usize) -> DataType;

    /// Returns the values as a column of `table`.
    ///
    /// # Errors
    /// If they are vectors of different widths.
    fn write<'a>(
        table: &'static str,
        values: impl Iterator<Item = &'a Self>,
    ) -> Result<ArrayRef, SchemaError>
    where
        Self: 'a;

    /// Returns the values of a column.
    ///
    /// # Errors
    /// If it is missing, of another type, or null where this type cannot be.
    fn read(columns: &Columns<'_>, column: &'static str) -> Result<Vec<Self>, SchemaError>;
}

/// Makes a number a [`Value`], and the same number that may be null.
macro_rules! number {
    ($Number:ty as $Arrow:ty, $Array:ty, $to:expr, $from:expr) => {
        impl Value for $Number {
            fn data_type(_width: usize) -> DataType {
                <$Arrow as arrow::datatypes::ArrowPrimitiveType>::DATA_TYPE
            }

            fn write<'a>(
                _table: &'static str,
                values: impl Iterator<Item = &'a Self>,
            ) -> Result<ArrayRef, SchemaError> {
                Ok(Arc::new(<$Array>::from_iter_values(
                    values.copied().map($to),
                )))
            }

            fn read(columns: &Columns<'_>, column: &'static str) -> Result<Vec<Self>, SchemaError> {
                Ok(columns
                    .numbers::<$Arrow>(column)?
                    .into_iter()
                    .map($from)
                    .collect())
            }
        }

        impl Value for Option<$Number> {
            fn data_type(width: usize) -> DataType {
                <$Number>::data_type(width)
            }

            fn write<'a>(
                _table: &'static str,
                values: impl Iterator<Item = &'a Self>,
            ) -> Result<ArrayRef, SchemaError> {
                Ok(Arc::new(
                    values.map(|value| value.map($to)).collect::<$Array>(),
                ))
            }

            fn read(columns: &Columns<'_>, column: &'static str) -> Result<Vec<Self>, SchemaError> {
                let values = columns.optional_numbers::<$Arrow>(column)?.into_iter();
                Ok(values.map(|value| value.map($from)).collect())
            }
        }
    };
    ($Number:ty as $Arrow:ty, $Array:ty) => {
        number!(
            $Number as $Arrow,
            $Array,
            std::convert::identity,
            std::convert::identity
        );
    };
}

number!(i32 as Int32Type, Int32Array);
number!(i64 as Int64Type, Int64Array);
number!(u64 as UInt64Type, UInt64Array);
number!(f32 as Float32Type, Float32Array);
number!(f64 as Float64Type, Float64Array);
// Classes are counted from 0; other programs prefer signed numbers.
number!(u32 as Int32Type, Int32Array, |class| class as i32, |class| class
    as u32);

impl Value for String {
    fn data_type(_width: usize) -> DataType {
        DataType::Utf8
    }

    fn write<'a>(
        _table: &'static str,
        values: impl Iterator<Item = &'a Self>,
    ) -> Result<ArrayRef, SchemaError> {
        Ok(Arc::new(StringArray::from_iter_values(values)))
    }

    fn read(columns: &Columns<'_>, column: &'static str) -> Result<Vec<Self>, SchemaError> {
        columns.text(column)
    }
}

impl Value for Option<String> {
    fn data_type(_width: usize) -> DataType {
        DataType::Utf8
    }

    fn write<'a>(
        _table: &'static str,
        values: impl Iterator<Item = &'a Self>,
    ) -> Result<ArrayRef, SchemaError> {
        Ok(Arc::new(values.map(Option::as_deref).collect::<StringArray>()))
    }

    fn read(columns: &Columns<'_>, column: &'static str) -> Result<Vec<Self>, SchemaError> {
        columns.optional_text(column)
    }
}

/// Bytes: a picture, the numbers of a latent.
impl Value for Vec<u8> {
    fn data_type(_width: usize) -> DataType {
        DataType::Binary
    }

    fn write<'a>(
        _table: &'static str,
        values: impl Iterator<Item = &'a Self>,
    ) -> Result<ArrayRef, SchemaError> {
        Ok(Arc::new(BinaryArray::from_iter_values(values)))
    }

    fn read(columns: &Columns<'_>, column: &'static str) -> Result<Vec<Self>, SchemaError> {
        columns.bytes(column)
    }
}

/// The shape of a tensor.
impl Value for Vec<i64> {
    fn data_type(_width: usize) -> DataType {
        DataType::List(Arc::new(Field::new("item", DataType::Int64, true)))
    }

    fn write<'a>(
        _table: &'static str,
        values: impl Iterator<Item = &'a Self>,
    ) -> Result<ArrayRef, SchemaError> {
        let shapes = values.map(|shape| Some(shape.iter().copied().map(Some)));
        Ok(Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
            shapes,
        )))
    }

    fn read(columns: &Columns<'_>, column: &'static str) -> Result<Vec<Self>, SchemaError> {
        columns.lists::<Int64Type>(column, &Self::data_type(0))
    }
}

/// Numbers of a row, as many as that row has.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers(pub Vec<f32>);

impl Value for Numbers {
    fn data_type(_width: usize) -> DataType {
        DataType::List(Arc::new(Field::new("item", DataType::Float32, true)))
    }

    fn write<'a>(
        _table: &'static str,
        values: impl Iterator<Item = &'a Self>,
    ) -> Result<ArrayRef, SchemaError> {
        let (mut flat, mut ends) = (Vec::new(), vec![0_i32]);
        for Self(row) in values {
            flat.extend_from_slice(row);
            // The rows of a batch are a commit's: far below two thousand million numbers.
            ends.push(flat.len() as i32);
        }
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let numbers = Arc::new(Float32Array::from(flat));
        let ends = OffsetBuffer::new(ends.into());
        Ok(Arc::new(ListArray::try_new(item, ends, numbers, None)?))
    }

    fn read(columns: &Columns<'_>, column: &'static str) -> Result<Vec<Self>, SchemaError> {
        let lists = columns.lists::<Float32Type>(column, &Self::data_type(0))?;
        Ok(lists.into_iter().map(Self).collect())
    }
}

/// A vector, as wide as the others of its run.
impl Value for Vec<f32> {
    fn data_type(width: usize) -> DataType {
        vector_type(width)
    }

    fn write<'a>(
        table: &'static str,
        values: impl Iterator<Item = &'a Self>,
    ) -> Result<ArrayRef, SchemaError> {
        let mut values = values.enumerate().peekable();
        let expected = values.peek().map_or(0, |(_, first)| first.len());
        let (mut flat, mut rows) = (Vec::with_capacity(expected * values.size_hint().0), 0);
        for (row, vector) in values {
            let actual = vector.len();
            if actual != expected {
                return Err(SchemaError::Width {
                    table,
                    row,
                    expected,
                    actual,
                });
            }
            flat.extend_from_slice(vector);
            rows += 1;
        }
        Ok(Arc::new(vector_array(flat.into(), expected, rows)?))
    }

    fn read(columns: &Columns<'_>, column: &'static str) -> Result<Vec<Self>, SchemaError> {
        columns.vectors(column)
    }
}

/// Returns the Arrow type of a vector of `width` numbers.
pub fn vector_type(width: usize) -> DataType {
    // Widths are those of text encoders (hundreds); i32 is Arrow's own type for them.
    DataType::FixedSizeList(
        Arc::new(Field::new("item", DataType::Float32, true)),
        width as i32,
    )
}

/// Returns the flat `[rows, width]` numbers as a column of vectors.
///
/// # Errors
/// If they are not as many.
pub fn vector_array(
    flat: Float32Array,
    width: usize,
    rows: usize,
) -> Result<FixedSizeListArray, SchemaError> {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let numbers = Arc::new(flat);
    Ok(FixedSizeListArray::try_new_with_length(
        item,
        width as i32,
        numbers,
        None,
        rows,
    )?)
}

/// Returns the width of the vectors among the columns; 0 where there are none.
pub(crate) fn width(columns: &[ArrayRef]) -> usize {
    let mut lists = columns
        .iter()
        .filter_map(|column| column.as_fixed_size_list_opt());
    lists.next().map_or(0, |vectors| vectors.value_length() as usize)
}
