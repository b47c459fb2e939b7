//! Functions whose result can be much larger than what they are given.
//!
//! What an expression gives is outside the memory that sorting, grouping and joining share. So the functions
//! that make much of little are DataFusion's own, called only after the size of the result has been found
//! from the arguments.

mod size;

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::resources_err;
use datafusion::error::Result;
use datafusion::logical_expr::udf_eq::UdfEq;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use size::Arguments;

/// The largest constant that is computed when a query is planned: it may stand in every row of a batch.
const CONSTANT: u64 = 128 << 10;

/// Whether a query is still being planned. Constants are computed then, before it is known in how many rows
/// they stand.
#[derive(Clone, Debug, Default)]
pub(super) struct Planned(Arc<AtomicBool>);

impl Planned {
    /// Says that it is planned from now on.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// How the result of a function grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// A text several times.
    Repeat,
    /// A text made that long.
    Pad,
    /// The numbers or times between two, the last with them or not.
    Range,
    /// A value several times, in a list.
    List,
    /// A list made that long.
    Resize,
    /// A text with another in place of a third, wherever that is in it.
    Replace,
    /// The same by a pattern.
    ReplacePattern,
    /// The items of a list as text, with another between them.
    Join,
    /// All texts, with the first between them.
    JoinAll,
    /// All arguments, so many times.
    All(u64),
    /// All arguments, with other characters.
    Characters,
}

/// Returns how the result of a function grows, if it does.
fn growth(name: &str) -> Option<Growth> {
    Some(match name {
        "repeat" => Growth::Repeat,
        "lpad" | "rpad" => Growth::Pad,
        "range" | "generate_series" => Growth::Range,
        "array_repeat" => Growth::List,
        "array_resize" => Growth::Resize,
        "replace" => Growth::Replace,
        "regexp_replace" => Growth::ReplacePattern,
        "array_to_string" => Growth::Join,
        "concat_ws" => Growth::JoinAll,
        // Named sub-queries double them as often as they are long.
        "concat" | "array_concat" | "array_append" | "array_prepend" | "make_array" | "struct"
        | "named_struct" | "map" | "overlay" | "arrays_zip" | "array_union" => Growth::All(1),
        "encode" => Growth::All(2),
        "upper" | "lower" | "initcap" | "translate" => Growth::Characters,
        _ => return None,
    })
}

/// Returns those of the functions whose results can grow, bounded by half of `memory`: whatever takes a
/// result on makes a copy of it.
pub(super) fn bounded<'a>(
    functions: impl Iterator<Item = &'a Arc<ScalarUDF>>,
    memory: usize,
    planned: &Planned,
) -> Vec<ScalarUDF> {
    let of = |function: &Arc<ScalarUDF>| {
        Some(ScalarUDF::new_from_impl(Bounded {
            growth: growth(function.name())?,
            function: function.inner().clone().into(),
            largest: memory as u64 / 2,
            planned: planned.clone(),
        }))
    };
    functions.filter_map(of).collect()
}

/// A function of DataFusion's with a bound to its result.
#[derive(Debug)]
struct Bounded {
    function: UdfEq<Arc<dyn ScalarUDFImpl>>,
    growth: Growth,
    /// Bytes of the largest result.
    largest: u64,
    planned: Planned,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Bounded {}

impl Hash for Bounded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.function.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.function.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.function.is_strict()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.function.documentation()
    }

    // Not simplified: what becomes of it might be DataFusion's own function without the bound.

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arguments = Arguments::new(&args)?;
        let largest = match self.planned.get() {
            true => self.largest,
            // What fails now is computed with the rows.
            false => self.largest.min(CONSTANT),
        };
        let size = arguments.result(self.growth, largest)?;
        if size > largest {
            return resources_err!(
                "{} would make {} in {} rows at once, and what a function makes may take {}",
                self.name(),
                amount(size),
                args.number_rows,
                amount(largest)
            );
        }
        self.function.invoke_with_args(args)
    }
}

/// Returns a number of bytes in words.
fn amount(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|(shift, _)| bytes >> shift > 0);
    match unit {
        _ if bytes == u64::MAX => "more than can be counted".to_owned(),
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes} bytes"),
    }
}
