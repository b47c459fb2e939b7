//! NumPy's arrays in a pickle. There are two ways to write one: `_reconstruct(ndarray, (0,), b"b")` with the
//! state (version, shape, type, whether the first axis is fastest, numbers), and in protocol 5
//! `_frombuffer(numbers, type, shape, order)`.

use std::borrow::Cow;

use super::Node;

/// An array of bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array<'a> {
    /// Its length along each axis.
    pub(crate) shape: Vec<usize>,
    /// Its numbers, the last axis fastest.
    pub(crate) bytes: Cow<'a, [u8]>,
}

impl<'a> Array<'a> {
    /// Reads an array whose numbers fill its shape; the error says what the value is instead.
    pub(crate) fn read(value: Node<'a>) -> Result<Self, String> {
        let raw = RawArray::read(value)?;
        if raw.descr != "|u1" {
            let code = &raw.descr;
            return Err(format!(
                "an array of type {code:.8}, of which only u1 (bytes) is read"
            ));
        }
        let (shape, bytes) = (raw.shape, raw.bytes);
        let bytes = match (raw.first_fastest, shape.as_slice()) {
            (true, &[rows, columns]) => {
                let at = |i: usize| bytes[i % columns * rows + i / columns];
                (0..bytes.len()).map(at).collect::<Vec<u8>>().into()
            }
            (false, _) | (true, [] | [_]) => bytes,
            (true, _) => return Err("an array in Fortran's order of more than two axes".into()),
        };
        Ok(Self { shape, bytes })
    }
}

/// An array as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawArray<'a> {
    /// NumPy's word for the type of its numbers: `<f4`.
    pub(crate) descr: String,
    /// Its length along each axis.
    pub(crate) shape: Vec<usize>,
    /// Its numbers.
    pub(crate) bytes: Cow<'a, [u8]>,
    /// Whether the first axis is the fastest, and not the last.
    pub(crate) first_fastest: bool,
}

impl<'a> RawArray<'a> {
    /// Reads an array of numbers which fill its shape; the error says what the value is instead.
    pub(crate) fn read(value: Node<'a>) -> Result<Self, String> {
        let parts = Parts::of(value)?;
        let descr = descr(parts.kind).ok_or("an array without a type")?;
        let shape = parts.shape.tuple().ok_or("an array without a shape")?;
        let shape = shape.map(Node::size).collect::<Option<Vec<usize>>>();
        let shape = shape.ok_or("an array without a shape")?;
        // Objects are a list.
        let bytes = parts.numbers.bytes().ok_or("an array without its numbers")?;
        let size: usize = descr[2..]
            .parse()
            .map_err(|_| format!("an array of type {descr:.8}"))?;
        let length = shape.iter().try_fold(size, |a, b| a.checked_mul(*b));
        if length != Some(bytes.len()) {
            return Err(format!("an array of shape {shape:?} in {} bytes", bytes.len()));
        }
        Ok(Self {
            descr,
            shape,
            bytes,
            first_fastest: parts.first_fastest,
        })
    }
}

impl RawArray<'_> {
    /// Its integers, if it is a row of little-endian ones.
    pub(crate) fn integers(&self) -> Option<Vec<i64>> {
        let (order, kind) = self.descr.split_at_checked(1)?;
        let (kind, size) = kind.split_at_checked(1)?;
        let signed = match kind {
            "i" => true,
            "u" => false,
            _ => return None,
        };
        let size = size.parse().ok().filter(|size| matches!(size, 1 | 2 | 4 | 8))?;
        let is_row = order != ">" && self.shape.len() == 1;
        is_row.then(|| crate::floats::integers(&self.bytes, size, signed))
    }
}

/// An integer, Python's or one of NumPy's own: `scalar(dtype, bytes)`.
pub(crate) fn integer(value: Node<'_>) -> Option<i64> {
    if let Some(integer) = value.integer() {
        return Some(integer);
    }
    let (module, name) = value.function().and_then(Node::name)?;
    let is_scalar = matches!(module, "numpy.core.multiarray" | "numpy._core.multiarray") && name == "scalar";
    let mut arguments = value.arguments().filter(|_| is_scalar)?;
    let descr = descr(arguments.next()?)?;
    let raw = RawArray {
        descr,
        shape: vec![1],
        bytes: arguments.next()?.bytes()?,
        first_fastest: false,
    };
    let size: usize = raw.descr.get(2..)?.parse().ok()?;
    raw.integers().filter(|_| size == raw.bytes.len())?.pop()
}

/// NumPy's word for a type, with its order of bytes first: `dtype("f4", ..)` has that in its state.
fn descr(kind: Node<'_>) -> Option<String> {
    let is_type = kind.function().and_then(Node::name) == Some(("numpy", "dtype"));
    let code = kind.arguments().filter(|_| is_type)?.next()?.text()?;
    let state = kind
        .state()
        .and_then(Node::tuple)
        .and_then(|mut state| state.nth(1)?.text());
    let bare = code.trim_start_matches(['|', '<', '>', '=']);
    // What is cut below: a letter and a size.
    if bare.len() < 2 || !bare.is_ascii() {
        return None;
    }
    let order = match (code.chars().next(), state.as_deref()) {
        _ if bare.ends_with('1') && bare.len() == 2 => '|',
        (Some('>'), _) | (_, Some(">")) => '>',
        _ => '<',
    };
    Some(format!("{order}{bare}"))
}

/// What an array is made of.
struct Parts<'a> {
    numbers: Node<'a>,
    kind: Node<'a>,
    shape: Node<'a>,
    /// Whether the numbers follow the first axis: Fortran's order.
    first_fastest: bool,
}

impl<'a> Parts<'a> {
    fn of(value: Node<'a>) -> Result<Self, String> {
        let Some((module, name)) = value.function().and_then(Node::name) else {
            return Err("a value that is no array".into());
        };
        // numpy.core became numpy._core in NumPy 2.
        let inner = module
            .strip_prefix("numpy.core.")
            .or(module.strip_prefix("numpy._core."));
        match (inner, name) {
            (Some("multiarray"), "_reconstruct") => {
                let state = value.state().and_then(Node::tuple).map(Vec::from_iter);
                let Some([_, shape, kind, order, numbers]) = state.as_deref() else {
                    return Err("an array without its numbers".into());
                };
                Ok(Self {
                    numbers: *numbers,
                    kind: *kind,
                    shape: *shape,
                    first_fastest: order.truth().ok_or("an array without an order")?,
                })
            }
            (Some("numeric"), "_frombuffer") => {
                let arguments = value.arguments().map(Vec::from_iter);
                let Some([numbers, kind, shape, order]) = arguments.as_deref() else {
                    return Err("an array without its numbers".into());
                };
                Ok(Self {
                    numbers: *numbers,
                    kind: *kind,
                    shape: *shape,
                    first_fastest: order.text().is_some_and(|order| order == "F"),
                })
            }
            _ => Err(format!("what {module}.{name} makes, which is no array")),
        }
    }
}
