//! The tensors of a model's part, wherever they lie: in one safetensors file, in several, in a pickle of
//! PyTorch's, under the names of diffusers or those of the original code. Each is checked for shape, type and
//! finiteness as it is taken.
//!
//! A tensor is read from its file when it is asked for and converted to f32 on the way, through small buffers
//! side by side. What a layer packs it reads into one scratch for all layers. So loading a model needs the
//! memory of the finished model, one tensor, and no more.

mod pickle;
mod safetensors;
mod tensor_file;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use self::pickle::PickleFile;
use self::safetensors::SafetensorsFile;
pub(crate) use self::tensor_file::TensorFile;
use super::compvis::Names;
use super::error::{DiffusionError, Result};
use crate::content::Content;
use crate::engine::Engine;

/// Opens a file, whose format its first bytes say, or where they do not, its name: `.safetensors`, or else
/// PyTorch's own (`.bin`, `.ckpt`, `.pt`, `.pth`).
pub(crate) fn open(path: &Path) -> Result<Box<dyn TensorFile>> {
    let named = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
    let content = Content::at(path).map_err(DiffusionError::read(path))?;
    let is_safetensors = match content {
        Content::Safetensors => true,
        Content::Zip | Content::Pickle => false,
        _ if content.stands_in() && content != Content::Empty => {
            let path = path.to_path_buf();
            return Err(DiffusionError::Other { path, content });
        }
        _ => named,
    };
    match is_safetensors {
        true => Ok(Box::new(SafetensorsFile::open(path)?)),
        false => Ok(Box::new(PickleFile::open(path)?)),
    }
}

/// The files of a part, opened.
pub(crate) struct Weights<'a> {
    /// What a missing tensor is said to be missing from: the file, or the index of several.
    label: &'a Path,
    files: &'a [Box<dyn TensorFile>],
    /// Name in the file, and which file it is in.
    tensors: BTreeMap<String, usize>,
    names: Names,
    engine: Engine,
    /// Names in the files of the tensors that were asked for.
    taken: Mutex<BTreeSet<String>>,
    scratch: Mutex<Scratch>,
}

/// Memory for numbers on their way into another form, used again for every layer: what is new must first be
/// given out by the system, page by page.
#[derive(Default)]
pub(crate) struct Scratch(Vec<f32>);

impl Scratch {
    /// Returns memory for `count` numbers, whatever is in it.
    pub(crate) fn numbers(&mut self, count: usize) -> &mut [f32] {
        if self.0.len() < count {
            self.0 = vec![0.0; count];
        }
        &mut self.0[..count]
    }
}

impl<'a> Weights<'a> {
    /// `names`: how the names that the networks use become those of the files.
    pub(crate) fn new(
        label: &'a Path,
        files: &'a [Box<dyn TensorFile>],
        engine: &Engine,
        names: Names,
    ) -> Self {
        let each = files.iter().enumerate();
        let tensors = each
            .flat_map(|(i, file)| file.names().map(move |name| (name.to_owned(), i)))
            .collect();
        Self {
            label,
            files,
            tensors,
            names,
            engine: engine.clone(),
            taken: Mutex::default(),
            scratch: Mutex::default(),
        }
    }

    /// The names' root.
    pub(crate) fn root(&self) -> Scope<'_> {
        Scope {
            weights: self,
            prefix: String::new(),
        }
    }

    /// Refuses tensors that nobody asked for and that are not known to be harmless: the configuration
    /// describes a smaller network than the one whose weights these are.
    pub(crate) fn finish(self) -> Result<()> {
        let taken = self.taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        let names = self.names;
        refuse_leftovers(self.label, self.files, |name| {
            !names.owns(name) || taken.contains(name) || names.is_harmless(name)
        })
    }

    /// The tensor's name in the files, and its file.
    fn find(&self, name: &str) -> Option<(String, &'a dyn TensorFile)> {
        self.names.candidates(name).into_iter().find_map(|name| {
            let file = self.files.get(*self.tensors.get(&name)?)?;
            Some((name, file.as_ref()))
        })
    }
}

/// Refuses the tensors of `files` that are not `known`.
pub(crate) fn refuse_leftovers(
    label: &Path,
    files: &[Box<dyn TensorFile>],
    known: impl Fn(&str) -> bool,
) -> Result<()> {
    let mut names: Vec<String> = files
        .iter()
        .flat_map(|file| file.names())
        .filter(|name| !known(name))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    if names.is_empty() {
        return Ok(());
    }
    Err(DiffusionError::UnexpectedTensors {
        path: label.to_path_buf(),
        names,
    })
}

/// A dotted prefix of tensor names.
#[derive(Clone)]
pub(crate) struct Scope<'a> {
    weights: &'a Weights<'a>,
    prefix: String,
}

impl Scope<'_> {
    /// Returns the scope below `name`.
    pub(crate) fn child(&self, name: impl std::fmt::Display) -> Self {
        Self {
            weights: self.weights,
            prefix: format!("{}{name}.", self.prefix),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.weights.engine
    }

    /// Whether the tensor is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.weights.find(&format!("{}{name}", self.prefix)).is_some()
    }

    /// The scratch of all layers. A layer that holds it must not ask for it again, nor may layers be loaded
    /// in rayon's tasks: who holds it waits for such tasks.
    pub(crate) fn scratch(&self) -> MutexGuard<'_, Scratch> {
        self.weights
            .scratch
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the tensor `name` of `shape` as f32.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.expect(name, &[shape])?;
        let mut values = vec![0.0; shape.iter().product()];
        self.read(name, &[shape], &mut values)?;
        Ok(values)
    }

    /// Finds the tensor `name`, which may have any of `shapes`: its name in the files, and its file. To be
    /// asked before memory is set aside for it: the shapes come from a configuration that may be wrong.
    pub(crate) fn expect(&self, name: &str, shapes: &[&[usize]]) -> Result<(String, &dyn TensorFile)> {
        let weights = self.weights;
        let name = format!("{}{name}", self.prefix);
        let expected = shapes.first().map(|s| s.to_vec()).unwrap_or_default();
        let Some((found_name, file)) = weights.find(&name) else {
            let theirs = weights.names.candidates(&name).into_iter().next();
            return Err(DiffusionError::MissingTensor {
                path: weights.label.to_path_buf(),
                name: theirs.unwrap_or(name),
                expected,
            });
        };
        let found = file.shape(&found_name).unwrap_or_default();
        if !shapes.contains(&found) {
            return Err(DiffusionError::TensorShape {
                path: file.path().to_path_buf(),
                name: found_name,
                expected,
                found: found.to_vec(),
            });
        }
        Ok((found_name, file))
    }

    /// Takes the tensor `name`, which may have any of `shapes`, all of as many numbers as `out` has room for.
    pub(crate) fn read(&self, name: &str, shapes: &[&[usize]], out: &mut [f32]) -> Result<()> {
        let (name, file) = self.expect(name, shapes)?;
        file.read(&name, out)?;
        if let Some((position, value)) = not_finite(out) {
            return Err(DiffusionError::NonFiniteWeight {
                path: file.path().to_path_buf(),
                name,
                position,
                value,
            });
        }
        let mut taken = self.weights.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(name);
        Ok(())
    }
}

/// The first number that is not finite, and where it is.
fn not_finite(values: &[f32]) -> Option<(usize, f32)> {
    const EXPONENT: u32 = 0x7F80_0000;
    // Without an early end, so that the compiler compares many at once.
    let bad = |part: &[f32]| {
        part.iter()
            .fold(false, |bad, v| bad | (v.to_bits() & EXPONENT == EXPONENT))
    };
    let part = values.par_chunks(1 << 14).position_first(bad)?;
    let from = part << 14;
    let (position, value) = (from..).zip(&values[from..]).find(|(_, v)| !v.is_finite())?;
    Some((position, *value))
}

/// The files of one part on disk.
pub(crate) struct PartFiles {
    /// The file itself, or the index that names several.
    pub(crate) label: PathBuf,
    pub(crate) files: Vec<Box<dyn TensorFile>>,
}
