//! What a pickle says of tensors, held against the storages that are in the file.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use super::{Place, Result, TorchError, TorchTensor};
use crate::floats::Format;
use crate::pickle::{List, Node};

/// Under these keys training programs keep the state dict, beside their own state.
const KEYS: [&str; 3] = ["state_dict", "model_state_dict", "model"];
/// Calls within each other that make one tensor: a parameter of a subclass of a tensor is three.
const DEPTH: usize = 8;
/// Containers within each other that are looked into: modules nest two at a time.
const NESTED: usize = 64;
/// Bytes of the longest name with all that it is in.
const LONGEST: usize = 1000;
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

    /// The bytes of an integer, and whether it has a sign, where these are integers.
    pub(super) fn integer(&self) -> Option<(usize, bool)> {
        match self {
            Self::Floats(_) => None,
            Self::Other(name, _) => match name.as_str() {
                "LongStorage" => Some((8, true)),
                "IntStorage" => Some((4, true)),
                "ShortStorage" => Some((2, true)),
                "CharStorage" => Some((1, true)),
                "ByteStorage" => Some((1, false)),
                _ => None,
            },
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

/// A tensor of a file, and where it was found.
#[derive(Debug)]
pub(crate) struct Named {
    /// The path to the dictionary that holds it: empty where that is the whole.
    pub(crate) container: String,
    /// Its name there.
    pub(crate) name: String,
    pub(crate) tensor: TorchTensor,
}

/// What a pickle holds.
pub(super) struct Found {
    /// The path to the state dict.
    pub(super) main: String,
    pub(super) tensors: Vec<Named>,
    /// Lists beside them.
    pub(super) lists: Vec<List>,
}

/// All tensors in what a pickle holds, and the container that is the state dict: one of [`KEYS`], else the
/// whole, else where most are. Those of the state dict must be sound, others are left out where they are not.
/// `place` finds storages.
pub(super) fn described(root: Node<'_>, mut place: impl FnMut(&str) -> Result<Place>) -> Result<Found> {
    let walked = Walk::over(root)?;
    if walked.is_empty() && root.entries().is_none() {
        let reason = "it holds no dictionary of tensors; save the `state_dict()` of the model";
        return Err(TorchError::Layout(reason.into()));
    }
    let main = main(&walked).to_owned();
    let mut found = Vec::with_capacity(walked.len());
    for Walked {
        container,
        name,
        value,
    } in walked
    {
        let wrong = |reason: String| TorchError::Tensor {
            name: name.clone(),
            reason,
        };
        let described = Described::of(value).ok_or_else(|| wrong("it is described in an unknown way".into()));
        let tensor = described.and_then(|described| {
            let place = place(&described.storage.name).map_err(|e| wrong(e.to_string()))?;
            described.tensor(place).map_err(wrong)
        });
        match tensor {
            Ok(tensor) => found.push(Named {
                container,
                name,
                tensor,
            }),
            Err(error) if container == main => return Err(error),
            Err(_) => {}
        }
    }
    Ok(Found {
        main,
        tensors: found,
        lists: root.lists(),
    })
}

/// The path to the state dict.
fn main<'w>(walked: &'w [Walked<'_>]) -> &'w str {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for tensor in walked {
        *counts.entry(&tensor.container).or_default() += 1;
    }
    let usual = KEYS.into_iter().chain([""]).find(|key| counts.contains_key(key));
    let most = counts.iter().rev().max_by_key(|(_, count)| **count);
    usual
        .or(most.map(|(container, _)| *container))
        .unwrap_or_default()
}

/// A tensor that was come upon.
struct Walked<'p> {
    container: String,
    name: String,
    value: Node<'p>,
}

/// A walk over all that a pickle holds, each value once: values may hold each other in circles.
struct Walk<'p> {
    seen: HashSet<u32>,
    found: Vec<Walked<'p>>,
}

/// Where a walk is: the path, and how much of it is that of the container.
#[derive(Clone)]
struct Path {
    text: String,
    container: usize,
    /// Whether this is one of the dictionaries in which a module keeps what it holds.
    of_module: bool,
    depth: usize,
}

impl<'p> Walk<'p> {
    fn over(root: Node<'p>) -> Result<Vec<Walked<'p>>> {
        let mut walk = Self {
            seen: HashSet::new(),
            found: Vec::new(),
        };
        let start = Path {
            text: String::new(),
            container: 0,
            of_module: false,
            depth: 0,
        };
        match is_tensor(root) {
            true => walk.come_upon(root, &start),
            false => walk.enter(root, &start)?,
        }
        Ok(walk.found)
    }

    /// Walks into a value. What a dictionary holds is a container of its own; what a module holds belongs to
    /// the container that it is in.
    fn enter(&mut self, value: Node<'p>, path: &Path) -> Result<()> {
        if path.depth > NESTED || !self.seen.insert(value.identity()) {
            return Ok(());
        }
        for (key, part) in value.parts() {
            let text = match &key {
                None => path.text.clone(),
                Some(key) if path.text.is_empty() => key.clone(),
                Some(key) => format!("{}.{key}", path.text),
            };
            if text.len() > LONGEST {
                let reason = format!("the name of a part is longer than {LONGEST} bytes");
                return Err(TorchError::Layout(reason));
            }
            let below = Path {
                container: path.container,
                of_module: key.is_none(),
                depth: path.depth + 1,
                text,
            };
            if is_tensor(part) {
                self.come_upon(part, &below);
                continue;
            }
            let container = match key.is_none() || path.of_module {
                true => path.container,
                false => below.text.len(),
            };
            self.enter(part, &Path { container, ..below })?;
        }
        Ok(())
    }

    fn come_upon(&mut self, value: Node<'p>, path: &Path) {
        let (container, name) = path.text.split_at(path.container);
        self.found.push(Walked {
            container: container.to_owned(),
            name: name.strip_prefix('.').unwrap_or(name).to_owned(),
            value,
        });
    }
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
                (Rebuild::Plain, [storage, offset, shape, strides, rest @ ..]) => {
                    // A view with the other sign, or conjugate: its numbers are not those that are stored.
                    let turned = |key: &str| rest.get(2)?.get(key)?.truth();
                    if turned("neg") == Some(true) || turned("conj") == Some(true) {
                        return None;
                    }
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
