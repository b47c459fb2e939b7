//! What a pickle says of tensors, held against the storages that are in the file.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{Place, Result, TorchError, TorchTensor};
use crate::floats::Format;
use crate::pickle::Node;

/// Under these keys training programs keep the state dict, beside their own state.
const KEYS: [&str; 3] = ["state_dict", "model_state_dict", "model"];
/// Calls within each other that make one tensor: a parameter of a subclass of a tensor is three.
const DEPTH: usize = 8;
/// Axes of a tensor: as many as PyTorch has.
const AXES: usize = 64;

/// The types of storages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    Floats(Format),
    /// Numbers that are not read, of so many bytes each where that is known; the start of the type's name.
    Other(String, Option<u64>),
}

impl Numbers {
    pub(super) fn of(name: &str) -> Self {
        let size = match name {
            "DoubleStorage" => return Self::Floats(Format::F64),
            "FloatStorage" => return Self::Floats(Format::F32),
            "HalfStorage" => return Self::Floats(Format::F16),
            "BFloat16Storage" => return Self::Floats(Format::Bf16),
            "ComplexDoubleStorage" => Some(16),
            "ComplexFloatStorage" | "LongStorage" => Some(8),
            "IntStorage" | "QInt32Storage" => Some(4),
            "ShortStorage" => Some(2),
            "CharStorage" | "ByteStorage" | "BoolStorage" | "QInt8Storage" | "QUInt8Storage" => Some(1),
            _ => None,
        };
        Self::Other(name.chars().take(40).collect(), size)
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Floats(Format::F64) => "DoubleStorage",
            Self::Floats(Format::F32) => "FloatStorage",
            Self::Floats(Format::F16) => "HalfStorage",
            Self::Floats(Format::Bf16) => "BFloat16Storage",
            Self::Other(name, _) => name,
        }
    }

    pub(super) fn format(&self) -> Option<Format> {
        match self {
            Self::Floats(format) => Some(*format),
            Self::Other(..) => None,
        }
    }

    /// Bytes of a number.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::Floats(format) => Some(format.size() as u64),
            Self::Other(_, size) => *size,
        }
    }
}

/// A storage, as the persistent ids of a pickle name it: ("storage", type, name, device, length, view).
pub(super) struct Storage<'p> {
    pub(super) numbers: Numbers,
    pub(super) name: Cow<'p, str>,
    /// Numbers of the storage that the one of this name begins after: before 0.4 a storage could be a part of
    /// another.
    skipped: usize,
}

impl<'p> Storage<'p> {
    pub(super) fn of(id: Node<'p>) -> Option<Self> {
        let mut parts = id.tuple()?.skip(1);
        let (_, kind) = parts.next()?.name()?;
        let name = parts.next()?.text()?;
        let view = parts.nth(2).and_then(Node::tuple);
        let skipped = match view {
            Some(mut view) => view.nth(1)?.size()?,
            None => 0,
        };
        Some(Self {
            numbers: Numbers::of(kind),
            name,
            skipped,
        })
    }
}

/// The tensors of the state dict in what a pickle holds: of the one under one of [`KEYS`] if there is one.
/// `place` finds storages.
pub(super) fn state_dict(
    root: Node<'_>,
    mut place: impl FnMut(&str) -> Result<Place>,
) -> Result<BTreeMap<String, TorchTensor>> {
    let inner = KEYS.iter().filter_map(|key| root.get(key));
    let mut dicts = inner.filter(|dict| {
        dict.entries()
            .is_some_and(|all| all.iter().any(|(_, v)| is_tensor(*v)))
    });
    let dict = dicts.next().unwrap_or(root);
    let Some(entries) = dict.entries() else {
        let reason = "it holds no dictionary of tensors; save the `state_dict()` of the model";
        return Err(TorchError::Layout(reason.into()));
    };
    let mut tensors = BTreeMap::new();
    for (name, value) in entries {
        let Some(name) = name.text().filter(|_| is_tensor(value)) else {
            continue;
        };
        let wrong = |reason: String| TorchError::Tensor {
            name: name.to_string(),
            reason,
        };
        let described =
            Described::of(value).ok_or_else(|| wrong("it is described in an unknown way".into()))?;
        let place = place(&described.storage.name).map_err(|e| wrong(e.to_string()))?;
        tensors.insert(name.to_string(), described.tensor(place).map_err(wrong)?);
    }
    Ok(tensors)
}

/// What makes a tensor.
#[derive(Clone, Copy, PartialEq)]
enum Rebuild {
    /// Storage, offset, shape, strides.
    Plain,
    /// A parameter: the tensor comes first.
    Parameter,
    /// A tensor of some class: (function, class, arguments, state).
    Class,
}

fn rebuild(function: Node<'_>) -> Option<Rebuild> {
    match function.name()? {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Rebuild::Plain),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Rebuild::Parameter),
        ("torch._tensor", "_rebuild_from_type_v2") => Some(Rebuild::Class),
        _ => None,
    }
}

fn is_tensor(value: Node<'_>) -> bool {
    value.function().and_then(rebuild).is_some()
}

/// A tensor's description, taken apart.
struct Described<'p> {
    storage: Storage<'p>,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl<'p> Described<'p> {
    fn of(value: Node<'p>) -> Option<Self> {
        let mut function = value.function()?;
        let mut arguments: Vec<Node<'p>> = value.arguments()?.take(AXES).collect();
        for _ in 0..DEPTH {
            match (rebuild(function)?, arguments.as_slice()) {
                (Rebuild::Plain, [storage, offset, shape, strides, ..]) => {
                    let storage = Storage::of(storage.persistent()?)?;
                    let (shape, strides) = (sizes(*shape)?, sizes(*strides)?);
                    let offset = offset.size()?.checked_add(storage.skipped)?;
                    return (shape.len() == strides.len()).then_some(Self {
                        storage,
                        offset,
                        shape,
                        strides,
                    });
                }
                (Rebuild::Parameter, [tensor, ..]) => {
                    function = tensor.function()?;
                    arguments = tensor.arguments()?.take(AXES).collect();
                }
                (Rebuild::Class, [inner, _, inner_arguments, ..]) => {
                    function = *inner;
                    arguments = inner_arguments.tuple()?.take(AXES).collect();
                }
                _ => return None,
            }
        }
        None
    }

    /// The tensor, whose numbers are all in the storage at `place`; else what is wrong.
    fn tensor(self, (start, length): Place) -> std::result::Result<TorchTensor, String> {
        let (shape, strides, offset) = (&self.shape, &self.strides, self.offset as u64);
        // Without the zeros, so that no product of some of the sides overflows later.
        let sides = shape.iter().filter(|side| **side > 0);
        let count = sides.copied().try_fold(1, usize::checked_mul);
        let Some(count) = count else {
            return Err(format!(
                "its shape {shape:?} is of more numbers than there can be"
            ));
        };
        let mut start = start;
        // Numbers of unknown size are not read.
        if let Some(size) = self.storage.numbers.size() {
            let end = reach(shape, strides).and_then(|reach| offset.checked_add(reach)?.checked_mul(size));
            if end.is_none_or(|end| end > length) {
                return Err(format!(
                    "its shape {shape:?} and strides {strides:?}, from number {offset} on, need more than \
                     the {length} bytes of its storage"
                ));
            }
            start += offset * size;
        }
        Ok(TorchTensor {
            count: if shape.contains(&0) { 0 } else { count },
            shape: self.shape,
            strides: self.strides,
            numbers: self.storage.numbers,
            start,
        })
    }
}

/// Numbers of a storage from a tensor's first to behind its last, if they can be counted.
fn reach(shape: &[usize], strides: &[usize]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    let mut last = shape
        .iter()
        .zip(strides)
        .map(|(side, stride)| (*side as u64 - 1).checked_mul(*stride as u64));
    last.try_fold(1, |sum: u64, last| sum.checked_add(last?))
}

/// The sizes in a tuple, one for each of no more axes than a tensor may have.
fn sizes(tuple: Node<'_>) -> Option<Vec<usize>> {
    let sizes = tuple.tuple().filter(|sizes| sizes.len() <= AXES)?;
    sizes.map(Node::size).collect()
}
