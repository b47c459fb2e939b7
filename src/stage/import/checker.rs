//! What is checked of every row before the first is stored.

use std::collections::{BTreeMap, HashSet};

use super::row::{Vectored, named};
use super::vectors::VectorFile;
use crate::exchange::VectorRows;
use crate::stage::StageError;

/// Checks rows before they are stored.
pub(super) struct Checker<'a> {
    file: &'a VectorFile<'a>,
    width: Option<usize>,
    seen: HashSet<(u32, u64)>,
    names: BTreeMap<u32, String>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(file: &'a VectorFile<'a>) -> Self {
        Self {
            file,
            width: file.classes.width,
            seen: HashSet::new(),
            names: BTreeMap::new(),
        }
    }

    pub(super) fn check<A: Vectored>(&mut self, rows: &VectorRows<A>) -> Result<(), StageError> {
        for (row, vector) in rows.iter() {
            let file = self.file;
            let wrong = |what: String| file.wrong(format!("{}: {what}", named(row)));
            let (id, name, index) = row.key();
            let width = *self.width.get_or_insert(vector.len());
            if vector.len() != width {
                let whose = if self.file.classes.width.is_some() {
                    "the class embeddings"
                } else {
                    "others"
                };
                return Err(wrong(format!(
                    "its vector is {} wide, {whose} are {width}",
                    vector.len()
                )));
            }
            if let Some(place) = vector.iter().position(|number| !number.is_finite()) {
                let number = vector[place];
                return Err(wrong(match number.is_infinite() {
                    true => format!("its vector has {number} at {place} (numbers are kept as f32)"),
                    false => format!("its vector has {number} at {place}"),
                }));
            }
            if !self.seen.insert((id, index)) {
                return Err(wrong("it is there twice".into()));
            }
            if A::ONE_EACH && index != 0 {
                return Err(wrong("a class has one embedding".into()));
            }
            let known = self.names.entry(id).or_insert_with(|| name.to_owned());
            if known != name {
                return Err(wrong(format!("class {id} is also called `{known}`")));
            }
        }
        Ok(())
    }

    /// Checks what only all rows tell: that there are some, and of class embeddings one of each class.
    pub(super) fn finish<A: Vectored>(&self) -> Result<(), StageError> {
        if self.seen.is_empty() {
            return Err(self.file.wrong("there is no row in it".into()));
        }
        let missing = self
            .file
            .classes
            .iter()
            .find(|(id, _)| !self.names.contains_key(id));
        match missing {
            Some((_, name)) if A::ONE_EACH => Err(self
                .file
                .wrong(format!("there is no vector of the class `{name}`"))),
            _ => Ok(()),
        }
    }
}
