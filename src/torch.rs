//! Files of PyTorch's `torch.save` (1.6 and later): a zip archive, not compressed, of a pickle that describes the tensors and one
//! file of numbers for each storage.
//!
//! candle's machine runs the pickle. It builds values and calls nothing, so that what a pickle names is never executed. Numbers are
//! read from their places in the archive when they are asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::pickle::{Object, Stack};
use rayon::prelude::*;
use zip::{CompressionMethod, ZipArchive};

use crate::floats::{Format, read_floats};

/// Under these keys training programs keep the state dict, beside their own state.
const KEYS: [&str; 3] = ["state_dict", "model_state_dict", "model"];
/// Numbers of a tensor that a task reads.
const NUMBERS: usize = 1 << 20;

/// A file whose pickle has been read.
pub(crate) struct TorchFile {
    path: PathBuf,
    tensors: BTreeMap<String, TorchTensor>,
}

/// Where a tensor's numbers are.
pub(crate) struct TorchTensor {
    shape: Vec<usize>,
    /// Numbers from one to the next along each axis.
    strides: Vec<usize>,
    /// PyTorch's name of the storage's type, such as `HalfStorage`.
    kind: String,
    /// The storage's name in the archive.
    storage: String,
    /// Numbers of the storage before the tensor's first.
    offset: usize,
    /// Byte of the file at which the storage begins, and its bytes.
    place: (u64, u64),
}

impl TorchFile {
    /// Reads the description of the tensors: of the state dict under one of [`KEYS`] where there is one, else of the whole.
    /// The error is in words.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|e| e.to_string())?;
        let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| e.to_string())?;
        let mut names = archive.file_names().filter_map(Result::ok);
        let pickle = names.find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"));
        let pickle = pickle.ok_or("there is no data.pkl in the archive")?.into_owned();
        drop(names);
        let root = pickle.strip_suffix("data.pkl").unwrap_or_default().to_owned();
        if let Ok(mut order) = archive.by_name(&format!("{root}byteorder")) {
            let mut text = String::new();
            order.read_to_string(&mut text).map_err(|e| e.to_string())?;
            if text.trim() != "little" {
                return Err(format!("its numbers are in the byte order {text:?}"));
            }
        }
        let mut stack = Stack::empty();
        let mut reader = BufReader::new(archive.by_name(&pickle).map_err(|e| e.to_string())?);
        stack.read_loop(&mut reader).map_err(|e| e.to_string())?;
        drop(reader);
        let mut tensors = state_dict(stack.finalize().map_err(|e| e.to_string())?)?;
        for (name, tensor) in &mut tensors {
            let wrong = |reason: String| format!("tensor `{name}`: {reason}");
            let storage = archive
                .by_name(&format!("{root}data/{}", tensor.storage))
                .map_err(|e| wrong(e.to_string()))?;
            match (storage.compression(), storage.data_start()) {
                (CompressionMethod::Stored, Some(start)) => tensor.place = (start, storage.size()),
                _ => {
                    return Err(wrong(
                        "its numbers are compressed, which PyTorch does not do".into(),
                    ));
                }
            }
        }
        Ok(Self {
            path: path.to_owned(),
            tensors,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors by name.
    pub(crate) fn tensors(&self) -> &BTreeMap<String, TorchTensor> {
        &self.tensors
    }

    /// Fills `out`, which has the tensor's length, with its numbers, the last axis fastest. The error is in words.
    pub(crate) fn read(&self, tensor: &TorchTensor, out: &mut [f32]) -> Result<(), String> {
        let format = tensor
            .format()
            .ok_or_else(|| format!("numbers of {}", tensor.kind))?;
        let size = format.size();
        let (start, length) = tensor.place;
        let end = (tensor.offset + tensor.reach()) as u64 * size as u64;
        if end > length {
            return Err(format!("it would end at byte {end} of a storage of {length}"));
        }
        let read = |first: usize, out: &mut [f32]| {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(start + ((tensor.offset + first) * size) as u64))?;
            read_floats(&mut file, format, out)
        };
        if tensor.is_contiguous() {
            let parts = out.par_chunks_mut(NUMBERS).enumerate();
            return parts
                .try_for_each(|(i, part)| read(i * NUMBERS, part))
                .map_err(|e| e.to_string());
        }
        let mut numbers = vec![0.0; tensor.reach()];
        read(0, &mut numbers).map_err(|e| e.to_string())?;
        for (i, out) in out.iter_mut().enumerate() {
            *out = numbers[tensor.at(i)]; // at most the reach
        }
        Ok(())
    }
}

impl TorchTensor {
    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// PyTorch's name of the storage's type.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// The format of the numbers, if they are floating point.
    pub(crate) fn format(&self) -> Option<Format> {
        match self.kind.as_str() {
            "DoubleStorage" => Some(Format::F64),
            "FloatStorage" => Some(Format::F32),
            "HalfStorage" => Some(Format::F16),
            "BFloat16Storage" => Some(Format::Bf16),
            _ => None,
        }
    }

    fn axes(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> + '_ {
        self.shape.iter().copied().zip(self.strides.iter().copied())
    }

    /// Numbers of the storage from the tensor's first to behind its last.
    fn reach(&self) -> usize {
        if self.shape.contains(&0) {
            return 0;
        }
        1 + self
            .axes()
            .map(|(side, stride)| (side - 1) * stride)
            .sum::<usize>()
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        self.axes().rev().all(|(side, stride)| {
            let fits = side == 1 || stride == expected;
            expected *= side;
            fits
        })
    }

    /// Where in the storage, from the tensor's first number, its `i`th is.
    fn at(&self, mut i: usize) -> usize {
        let mut at = 0;
        for (side, stride) in self.axes().rev() {
            at += i % side * stride;
            i /= side;
        }
        at
    }
}

/// The tensors of the state dict in what a pickle holds.
fn state_dict(whole: Object) -> Result<BTreeMap<String, TorchTensor>, String> {
    let Object::Dict(mut entries) = whole else {
        return Err("it holds no dictionary of tensors; save the `state_dict()` of the model".into());
    };
    for key in KEYS {
        let key = Object::Unicode(key.to_owned());
        let Some(place) = entries.iter().rposition(|(k, _)| *k == key) else {
            continue;
        };
        if matches!(&entries[place].1, Object::Dict(inner) if inner.iter().any(|(_, v)| is_tensor(v)))
            && let Object::Dict(inner) = entries.swap_remove(place).1
        {
            entries = inner;
            break;
        }
    }
    let mut tensors = BTreeMap::new();
    for (name, value) in entries {
        if let Object::Unicode(name) = name
            && is_tensor(&value)
        {
            let tensor =
                tensor(value).ok_or_else(|| format!("tensor `{name}` is described in an unknown way"))?;
            tensors.insert(name, tensor);
        }
    }
    Ok(tensors)
}

const REBUILD: [(&str, &str); 3] = [
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._tensor", "_rebuild_from_type_v2"),
];

/// Which of [`REBUILD`] a value calls.
fn rebuilt(value: &Object) -> Option<usize> {
    let Object::Reduce { callable, .. } = value else {
        return None;
    };
    let Object::Class {
        module_name,
        class_name,
    } = callable.as_ref()
    else {
        return None;
    };
    REBUILD
        .iter()
        .position(|(module, class)| module_name == module && class_name == class)
}

fn is_tensor(value: &Object) -> bool {
    rebuilt(value).is_some()
}

/// Takes a tensor's description apart.
fn tensor(value: Object) -> Option<TorchTensor> {
    let kind = rebuilt(&value)?;
    let (_, args) = value.reduce().ok()?;
    let mut args = args.tuple().ok()?.into_iter();
    match kind {
        // A parameter: the tensor comes first.
        1 => return tensor(args.next()?),
        // A tensor of some class: (function, class, arguments, state).
        2 => {
            let callable = Box::new(args.next()?);
            let args = Box::new(args.nth(1)?);
            return tensor(Object::Reduce { callable, args });
        }
        _ => {}
    }
    // (storage, offset, shape, strides, ...)
    let storage = args.next()?.persistent_load().ok()?.tuple().ok()?;
    let mut whole = || {
        args.next()?
            .int_or_long()
            .ok()
            .and_then(|n| usize::try_from(n).ok())
    };
    let offset = whole()?;
    let mut list = || {
        let items = args.next()?.tuple().ok()?.into_iter();
        items
            .map(|n| n.int_or_long().ok().and_then(|n| usize::try_from(n).ok()))
            .collect::<Option<Vec<usize>>>()
    };
    let (shape, strides) = (list()?, list()?);
    // ("storage", type, name, device, length)
    let mut storage = storage.into_iter().skip(1);
    let (_, kind) = storage.next()?.class().ok()?;
    let name = storage.next()?.unicode().ok()?;
    let too_far = |(side, stride): (&usize, &usize)| side.checked_mul(*stride).is_none_or(|n| n > 1 << 48);
    if shape.len() != strides.len() || offset > 1 << 48 || shape.iter().zip(&strides).any(too_far) {
        return None;
    }
    Some(TorchTensor {
        shape,
        strides,
        kind,
        storage: name,
        offset,
        place: (0, 0),
    })
}
