//! Arrays of NumPy's in a Python pickle, which are held in memory.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::super::ExchangeError;
use super::{Array, Held, Kind, Numbers, Source, npy, turned};
use crate::floats;
use crate::input;
use crate::pickle::numpy::{self, RawArray};
use crate::pickle::{List, Node, Pickle};

/// Containers within each other that are looked into.
const NESTED: usize = 8;

/// The arrays of a pickle, by name.
pub(super) struct Pickled {
    floats: BTreeMap<String, Vec<f32>>,
    integers: BTreeMap<String, Vec<i64>>,
}

pub(super) fn open(path: &Path) -> Result<(Vec<Array>, Vec<List>, Pickled), ExchangeError> {
    let bytes = input::whole(path, input::ANY).map_err(ExchangeError::io(path))?;
    let pickle = Pickle::parse(&bytes)
        .map_err(|error| ExchangeError::format(path, "the file", "a whole pickle", error.to_string()))?;
    let mut found = Vec::new();
    let mut seen = std::collections::HashSet::new();
    walk(pickle.root(), "", 0, &mut seen, &mut found);
    // Arrays may share their numbers, and are held apart: no more of them than there is in the file.
    let size = |(_, array): &(String, RawArray<'_>)| array.bytes.len();
    if found.iter().map(size).fold(0, usize::saturating_add) > bytes.len() {
        let (what, expected) = ("the arrays", "numbers of its own for each");
        return Err(ExchangeError::format(
            path,
            what,
            expected,
            "more than the file has",
        ));
    }
    let (arrays, held) = hold(found);
    let mut lists = pickle.root().lists();
    lists.retain(|list| arrays.iter().all(|array| array.name != list.name));
    Ok((arrays, lists, held))
}

/// Takes in arrays with their names.
pub(super) fn hold(found: Vec<(String, RawArray<'_>)>) -> (Vec<Array>, Pickled) {
    let mut held = Pickled {
        floats: BTreeMap::new(),
        integers: BTreeMap::new(),
    };
    let mut arrays = Vec::with_capacity(found.len());
    for (name, mut raw) in found {
        let kind = npy::kind(&raw.descr);
        if npy::is_big_endian(&raw.descr) {
            floats::swap(raw.bytes.to_mut(), kind.size());
        }
        match kind {
            Kind::Floats(format) => {
                let numbers = floats::from_bytes(format, &raw.bytes);
                let numbers = match raw.first_fastest {
                    true => turned(&numbers, &raw.shape),
                    false => numbers,
                };
                held.floats.insert(name.clone(), numbers);
            }
            Kind::Integers(size, signed) => {
                held.integers
                    .insert(name.clone(), floats::integers(&raw.bytes, size, signed));
            }
            Kind::Other => {}
        }
        arrays.push(Array {
            name,
            shape: raw.shape,
            dtype: raw.descr,
            kind,
        });
    }
    (arrays, held)
}

fn walk<'p>(
    value: Node<'p>,
    path: &str,
    depth: usize,
    seen: &mut std::collections::HashSet<u32>,
    found: &mut Vec<(String, RawArray<'p>)>,
) {
    // Each once: what a small file names a thousand times is not held as often.
    if depth > NESTED || !seen.insert(value.identity()) {
        return;
    }
    if let Ok(array) = numpy::RawArray::read(value) {
        found.push((path.to_owned(), array));
        return;
    }
    for (key, part) in value.parts() {
        let name = match (key, path) {
            (None, path) => path.to_owned(),
            (Some(key), "") => key,
            (Some(key), path) => format!("{path}.{key}"),
        };
        if name.len() <= LONGEST {
            walk(part, &name, depth + 1, seen, found);
        }
    }
}

/// Bytes of the longest name with all that it is in.
const LONGEST: usize = 1000;

impl Source for Pickled {
    fn numbers(&self, array: &Array) -> io::Result<Box<dyn Numbers>> {
        let numbers = self.floats.get(&array.name).cloned();
        Ok(Box::new(Held {
            numbers: numbers.ok_or(io::ErrorKind::NotFound)?,
            next: 0,
        }))
    }

    fn integers(&self, array: &Array) -> io::Result<Vec<i64>> {
        let integers = self.integers.get(&array.name).cloned();
        integers.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
