//! `+`, `-` and `*` of integers that fail where the result does not fit its type: the engine's own go on at
//! the type's other end.

use arrow::array::{ArrayRef, Datum};
use arrow::compute::kernels::numeric;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::FunctionRewrite;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable as _, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

/// Puts a checked function in the place of operators on integers.
///
/// A chain of operators of one rank, as `a - b + c`, becomes one function: deriving the types of functions
/// that nest takes far longer than those of operators.
#[derive(Debug)]
pub(super) struct Checked;

impl FunctionRewrite for Checked {
    fn name(&self) -> &str {
        "checked"
    }

    fn rewrite(&self, expr: Expr, schema: &DFSchema, _: &ConfigOptions) -> Result<Transformed<Expr>> {
        match expr {
            Expr::BinaryExpr(binary) => match result(&binary.left, binary.op, &binary.right, schema) {
                Some(result) => Ok(chained(*binary.left, binary.op, *binary.right, result)),
                None => Ok(Transformed::no(Expr::BinaryExpr(binary))),
            },
            Expr::Negative(negated) => match type_of(&negated, schema) {
                Some(result) if result.is_signed_integer() => {
                    let zero = Expr::Literal(ScalarValue::new_zero(&result)?, None);
                    Ok(chained(zero, Operator::Minus, *negated, result))
                }
                _ => Ok(Transformed::no(Expr::Negative(negated))),
            },
            other => Ok(Transformed::no(other)),
        }
    }
}

/// Returns the type of an operation on integers, if it is one of those here.
fn result(left: &Expr, op: Operator, right: &Expr, schema: &DFSchema) -> Option<DataType> {
    kernel(op)?;
    let integer = |expr| type_of(expr, schema).filter(DataType::is_integer);
    let (left, right) = (integer(left)?, integer(right)?);
    let result = BinaryTypeCoercer::new(&left, &op, &right).get_result_type();
    // Signed and unsigned numbers of 64 bits make decimal ones.
    result.ok().filter(DataType::is_integer)
}

/// Returns the type of an expression. What cannot be typed is for the engine to complain of.
fn type_of(expr: &Expr, schema: &DFSchema) -> Option<DataType> {
    if let Expr::ScalarFunction(call) = expr
        && let Some(chain) = call.func.inner().downcast_ref::<Chain>()
    {
        return Some(chain.result.clone());
    }
    expr.get_type(schema).ok()
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError>;

fn kernel(op: Operator) -> Option<Kernel> {
    match op {
        Operator::Plus => Some(numeric::add),
        Operator::Minus => Some(numeric::sub),
        Operator::Multiply => Some(numeric::mul),
        _ => None,
    }
}

/// Returns an operation; where its left side is a chain that it continues, that with one link more.
fn chained(left: Expr, op: Operator, right: Expr, result: DataType) -> Transformed<Expr> {
    let (mut operands, mut ops) = match left {
        Expr::ScalarFunction(call) => match links(&call, op, &result) {
            Some(ops) => (call.args, ops),
            None => (vec![Expr::ScalarFunction(call)], Vec::new()),
        },
        other => (vec![other], Vec::new()),
    };
    operands.push(right);
    ops.push(op);
    let signs: String = ops.iter().map(Operator::to_string).collect();
    let chain = Chain {
        name: format!("checked {signs}"),
        ops,
        result,
        signature: Signature::user_defined(Volatility::Immutable),
    };
    Transformed::yes(ScalarUDF::new_from_impl(chain).call(operands))
}

/// Returns the operators of a call that `op` continues.
fn links(call: &ScalarFunction, op: Operator, result: &DataType) -> Option<Vec<Operator>> {
    let chain = call.func.inner().downcast_ref::<Chain>()?;
    let is_product = |op: &Operator| *op == Operator::Multiply;
    let continues = chain.ops.iter().all(|own| is_product(own) == is_product(&op));
    (continues && chain.result == *result).then(|| chain.ops.clone())
}

/// Operators of one rank between operands, from the left.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Chain {
    /// Tells it from chains of other operators: expressions of one name are one to the engine.
    name: String,
    ops: Vec<Operator>,
    result: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Chain {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, operands: &[DataType]) -> Result<Vec<DataType>> {
        Ok(vec![self.result.clone(); operands.len()])
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut operands = args.args.into_iter();
        let mut value = operands
            .next()
            .unwrap_or(ColumnarValue::Scalar(ScalarValue::Null));
        for (operand, op) in operands.zip(&self.ops) {
            if let Some(kernel) = kernel(*op) {
                value = apply(&value, &operand, kernel)?;
            }
        }
        Ok(value)
    }
}
