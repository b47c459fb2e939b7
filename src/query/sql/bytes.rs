//! `octet_length` of bytes, too: that of DataFusion takes text alone.

use arrow::array::ArrayRef;
use arrow::compute::{cast, kernels::length::length};
use arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Returns all functions.
pub(super) fn all() -> impl Iterator<Item = ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    std::iter::once(ScalarUDF::new_from_impl(OctetLength { signature }))
}

/// The number of bytes of a text in UTF-8, or of bytes such as an image's `png`.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OctetLength {
    signature: Signature,
}

fn has_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => has_bytes(values),
        DataType::Null | DataType::FixedSizeBinary(_) => true,
        other => other.is_string() || other.is_binary(),
    }
}

impl ScalarUDFImpl for OctetLength {
    fn name(&self) -> &str {
        "octet_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [argument] if has_bytes(argument) => Ok(DataType::Int64),
            [argument] => plan_err!("octet_length takes text or bytes, not {argument}"),
            _ => plan_err!("octet_length takes one argument"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let lengths = |array: &ArrayRef| -> Result<ArrayRef> {
            Ok(match array.data_type() {
                DataType::Null => cast(array, &DataType::Int64)?,
                _ => cast(&length(array)?, &DataType::Int64)?,
            })
        };
        match args.args.as_slice() {
            [ColumnarValue::Array(array)] => Ok(ColumnarValue::Array(lengths(array)?)),
            [ColumnarValue::Scalar(one)] => {
                let one = lengths(&one.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&one, 0)?))
            }
            _ => exec_err!("octet_length takes one argument"),
        }
    }
}
